import { Command } from 'commander'
import { createSafetensorsWriter } from '../checkpoint/safetensors-write.js'
import type { Policy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import type { Score } from '../engine/known-text.js'
import { type Cli, NOTHING_KEPT, printJson, tellWhenStopped, UsageError } from './cli.js'
import { announceDepth } from './generation-options.js'
import { noteOtherDepths } from './made-for.js'
import { addDepthOption, addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { encodeText, readGivenText } from './text-input.js'
import { tokenIds, wholeNumber } from './values.js'

interface ScoreCommandOptions extends ModelOptions {
  readonly depth?: string
  readonly tokens?: number[]
  readonly text?: string
  readonly promptLength: number
  readonly stride?: number
  readonly out?: string
}

const EXAMPLES = `
Examples:
  $ shoal score --text chapter.txt                       perplexity at full depth
  $ shoal score --text chapter.txt --depth unified:2x --prompt-length 64
  $ shoal score ./checkpoint --tokens 1,450,7483,310 --prompt-length 2 --depth gap:0.8 -o score.safetensors

The first --prompt-length tokens are prefilled at full depth (under prompt=plan by the plan), the others are fed one by one
under --depth. The file has
logits [n, V] float32 after each fed token, of the layer it stopped at, and depth [n] int32, the layers it had run.
Perplexity is exp of the mean loss of the fed tokens; the first is scored by the prompt's logits.

A text that is longer than --context is read in windows of that many tokens which move on by --stride. Each token counts
once, in the first window that holds it, and the tokens before it in that window are run as the prompt. With the default
of half the context every token after the first window is foreseen from half a context of text at least. No window but
the first begins with what the tokenizer puts before a text.`

export function buildScore(cli: Cli): Command {
  const command = new Command('score')
    .description('Feed known tokens one by one under a depth: logits, depths and perplexity.')
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] (--tokens IDS | --text FILE) [options]')
    .option('--tokens <ids>', 'token ids such as 2,5,7', tokenIds)
    .option('--text <file>', 'file with the text; - reads stdin')
    .option('--prompt-length <n>', 'tokens that are prefilled at full depth', wholeNumber(1), 1)
    .option(
      '--stride <n>',
      'of a text longer than the context: tokens that a window moves on by; default half the context',
      wholeNumber(1),
    )
    .option('-o, --out <file>', 'write logits and depths to this safetensors file')
  addModelOptions(addDepthOption(command)).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: ScoreCommandOptions) =>
    tellWhenStopped(
      cli,
      () => NOTHING_KEPT,
      () => score(cli, name, options),
    ),
  )
}

async function score(cli: Cli, name: string | undefined, options: ScoreCommandOptions): Promise<void> {
  if ((options.tokens === undefined) === (options.text === undefined)) {
    throw new UsageError('give either --tokens IDS or --text FILE; shoal score --help shows examples')
  }
  const text = options.text === undefined ? null : await readGivenText(cli, options.text)
  if (text === '') throw new UsageError(`the text of ${options.text} is empty: there is nothing to score`)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const ids = options.tokens ?? encodeText(cli, model, text ?? '')
      const policy = await announceDepth(cli, model, options.depth)
      await noteOtherDepths(cli, model, [policy])
      const line = createProgressLine(cli)
      const stride = ids.length > model.context ? (options.stride ?? Math.floor(model.context / 2)) : null
      const result = await model
        .score(ids, {
          promptLength: options.promptLength,
          depth: policy,
          ...(stride === null ? {} : { stride }),
          logits: options.out !== undefined,
          signal: cli.signal,
          onProgress: (fed, total) => line.show(`${bar(fed / total)} ${fed} of ${total} tokens`),
        })
        .finally(() => line.clear())
      if (options.out !== undefined) await saveScore(options.out, model, result)
      show(cli, model, policy, { tokens: ids.length, stride }, result, options)
    },
    { slots: 1 },
  )
}

function show(
  cli: Cli,
  model: Model,
  policy: Policy,
  { tokens, stride }: { readonly tokens: number; readonly stride: number | null },
  result: Score,
  options: ScoreCommandOptions,
): void {
  const { layers } = model.hyperparameters
  const n = result.depth.length
  if (options.json) {
    printJson(cli, {
      model: model.name,
      quantization: model.quantization,
      depth: policy.spec,
      plan: (policy.kind === 'skip' && policy.everyToken) || null,
      prompt_length: options.promptLength,
      tokens,
      windows: result.windows,
      stride,
      loss: result.loss,
      perplexity: result.perplexity,
      depths: Array.from(result.depth),
      mean_depth: result.meanDepth,
      layers,
      out: options.out ?? null,
    })
    return
  }
  if (n === 0) {
    cli.stdout.write(`the prompt takes all ${tokens} tokens: nothing was fed, so there is no perplexity\n`)
    return
  }
  cli.stdout.write(
    `perplexity ${result.perplexity.toPrecision(5)} · loss ${result.loss.toFixed(4)} nats · ${n} tokens · mean depth ${result.meanDepth.toFixed(1)} of ${layers} · ${model.quantization}${stride === null ? '' : ` · ${result.windows} windows of ${model.context}, stride ${stride}`}\n`,
  )
}

async function saveScore(path: string, model: Model, result: Score): Promise<void> {
  const n = result.depth.length
  const writer = await createSafetensorsWriter(
    path,
    [
      { name: 'logits', dtype: 'F32', shape: [n, model.hyperparameters.vocabulary] },
      { name: 'depth', dtype: 'I32', shape: [n] },
    ],
    { model: model.name, quantization: model.quantization },
  )
  try {
    await writer.append('logits', result.logits)
    await writer.append('depth', result.depth)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
