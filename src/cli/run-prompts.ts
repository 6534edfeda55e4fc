import type { TargetSpeedup } from '../depth/policy.js'
import type { GenerationResult, Model } from '../engine/api.js'
import { speedupOf } from '../engine/schedule/generation-stream.js'
import { printable } from '../errors.js'
import { type BeamOptions, beamsEndLine, beamsJson, searchBeams } from './beams.js'
import { refuseOutsideBound } from './bound-scope.js'
import { type Cli, note, printJson } from './cli.js'
import { announceDepth, type GenerationOptions, generateOptions, recommendedOptions } from './generation-options.js'
import { type ForceOption, refuseOtherDepth } from './made-for.js'
import { type ModelOptions, withModel } from './model-options.js'
import type { AllowEmptyOption } from './model-or-prompt.js'
import { bar, createProgressLine } from './progress-line.js'
import { type PromptLine, readPromptsFile } from './prompts-file.js'
import { endLine, resultJson, type Summary } from './result.js'
import { openResultsFile, samplingOf } from './results-file.js'

export interface PromptsOptions extends ModelOptions, GenerationOptions, BeamOptions, ForceOption, AllowEmptyOption {
  readonly prompts: string
  readonly batch?: number
  readonly out?: string
}

/** `shoal run --prompts`: many prompts, some at once, each result one JSON line. */
export async function runPromptsFile(cli: Cli, name: string | undefined, options: PromptsOptions): Promise<void> {
  const prompts = await readPromptsFile(options.prompts, options)
  // The beams of a search are a batch already: one search after another.
  const batch = options.beams === undefined ? (options.batch ?? 8) : 1
  await withModel(cli, name, options, (model) => runPrompts(cli, model, prompts, batch, options), { slots: batch })
}

async function runPrompts(
  cli: Cli,
  model: Model,
  prompts: readonly PromptLine[],
  batch: number,
  options: PromptsOptions,
): Promise<void> {
  const policy = await announceDepth(cli, model, options.depth, options.lossless)
  await refuseOtherDepth(cli, model, policy, options)
  const plan = (policy.kind === 'skip' && policy.everyToken) || null
  const lossless = options.lossless === true
  const settings = { model: model.name, quantization: model.quantization, depth: policy.spec, lossless }
  const beams = options.beams !== undefined
  const how = beams ? generateOptions(cli, options) : recommendedOptions(cli, model, options)
  refuseOutsideBound(cli, policy, { prompts: prompts.map(({ prompt }) => prompt), how, beams }, options)
  const sampling = samplingOf(how, options)
  const file =
    options.out === undefined
      ? null
      : await openResultsFile(options.out, prompts, { ...settings, beams: options.beams !== undefined, plan, sampling })
  const results: object[] = []
  // Targets are of texts that run their plan alone.
  const plain = !lossless && options.beams === undefined
  const total = new Totals((plain && policy.kind === 'skip' && policy.speedup) || null)
  const line = createProgressLine(cli)
  const start = performance.now()

  async function runOne(prompt: PromptLine): Promise<void> {
    let result: GenerationResult
    let json: object
    try {
      if (options.beams === undefined) {
        result = await model.generate(prompt.prompt, how).result
        json = resultJson(model, result)
      } else {
        const found = await searchBeams(model, prompt.prompt, options, how)
        result = found
        json = beamsJson(model, found)
      }
    } catch (error) {
      cli.signal.throwIfAborted()
      total.failed++
      line.clear()
      note(cli, `prompt ${prompt.index}: ${error instanceof Error ? error.message : String(error)}`)
      return
    }
    total.add(result)
    const record = {
      index: prompt.index,
      ...(prompt.id === undefined ? {} : { id: prompt.id }),
      ...(typeof prompt.prompt === 'string' ? { prompt: prompt.prompt } : {}),
      ...json,
      sampling,
    }
    if (file !== null) await file.append(record)
    else if (options.json) results.push(record)
    else cli.stdout.write(`${JSON.stringify(record)}\n`)
    const done = total.finished + total.failed
    line.show(`${bar(done / waiting.length)} ${done} of ${waiting.length} prompts`)
  }

  const waiting = prompts.filter(({ index }) => file?.finished.has(index) !== true)
  const queue = waiting.values()
  const worker = async (): Promise<void> => {
    for (const prompt of queue) {
      cli.signal.throwIfAborted()
      await runOne(prompt)
    }
  }
  try {
    const workers = await Promise.allSettled(Array.from({ length: batch }, worker))
    const broken = workers.find((outcome) => outcome.status === 'rejected')
    if (broken !== undefined && !cli.signal.aborted) throw broken.reason
  } finally {
    line.clear()
    await file?.close()
  }

  const seconds = (performance.now() - start) / 1000
  const summary = total.summary(model, seconds)
  if (options.json && !cli.signal.aborted) {
    printJson(cli, {
      ...settings,
      prompts: prompts.length,
      finished: total.finished,
      skipped: prompts.length - waiting.length,
      failed: total.failed,
      batch,
      tokens: total.tokens,
      layers: model.hyperparameters.layers,
      plan,
      speedup: summary.speedup,
      mean_depth: summary.meanDepth,
      row_layers: total.rowLayers,
      seconds,
      tokens_per_second: summary.tokensPerSecond,
      out: options.out ?? null,
      ...(file === null ? { results } : {}),
    })
  } else if (!options.json) {
    const kept = prompts.length - waiting.length
    const counted = `${total.finished} of ${waiting.length} prompts${kept > 0 ? ` (${kept} were finished before)` : ''}`
    const text = `${counted} · ${options.beams === undefined ? endLine(summary) : beamsEndLine(summary, options.beams)}${cli.signal.aborted ? ' · stopped' : ''}\n`
    // Without --out, stdout holds the results.
    if (file === null) cli.stderr.write(text)
    else cli.stdout.write(text)
  }
  if (cli.signal.aborted) {
    cli.exitCode = 130
    note(cli, `stopped; ${keptResults(options, prompts.length - waiting.length + total.finished)}`)
  } else if (total.failed > 0) cli.exitCode = 1
}

function keptResults({ out, json }: PromptsOptions, finished: number): string {
  if (finished === 0) return 'no prompt was finished: the same command begins anew'
  if (out !== undefined) return `${printable(out)} keeps the results so far, and the same command goes on`
  const kept = json ? 'nothing is kept' : 'finished prompts are the lines on stdout'
  return `${kept}: with --out FILE.jsonl the same command goes on where it was`
}

class Totals {
  finished = 0
  failed = 0
  tokens = 0
  rowLayers = 0
  private depths = 0
  private checkMs = 0
  private totalMs = 0
  private decodeMs = 0

  constructor(private readonly speedup: TargetSpeedup | null) {}

  add(result: GenerationResult): void {
    this.finished++
    this.tokens += result.tokens.length
    this.rowLayers += result.rowLayers
    this.depths += result.meanDepth * result.tokens.length
    this.checkMs += result.checkMs
    this.totalMs += result.timing.totalMs
    this.decodeMs += result.timing.decodeMs
  }

  summary(model: Model, seconds: number): Summary {
    const { tokens } = this
    return {
      tokens,
      layers: model.hyperparameters.layers,
      meanDepth: tokens === 0 ? 0 : this.depths / tokens,
      computedDepth: tokens === 0 ? 0 : this.rowLayers / tokens,
      checkShare: this.totalMs === 0 ? 0 : this.checkMs / this.totalMs,
      tokensPerSecond: seconds === 0 ? 0 : tokens / seconds,
      speedup: this.speedup && speedupOf(this.speedup, tokens - this.finished, this.decodeMs),
      quantization: model.quantization,
    }
  }
}
