import type { Model } from '../../engine/api.js'
import { InputError } from '../../errors.js'
import {
  DEFAULT_TEMPLATE,
  parseTemplate,
  type Question,
  questionsOf,
  type Task,
  type TextTask,
  textWindows,
} from '../../tasks/index.js'
import type { DepthName } from '../cells.js'
import { depthNames } from '../depth-names.js'
import { machineName } from '../machine.js'
import type { BleuTokenizer } from '../metrics/tokenize.js'
import type { EvalReport, GenerationCell, TextCell } from '../result.js'
import { generationCell, type MetricFamily, textCell } from './cells.js'
import type { TurnKey, TurnsFile } from './kept-turns.js'
import { type BeamSettings, generateTurn, type Turn } from './turn.js'
import { scoreWindow, type WindowScore } from './window.js'

export interface GenerationOptions {
  readonly tasks: readonly Task[]
  readonly texts: readonly TextTask[]
  readonly shots: readonly number[]
  /** SPECs; full depth is always run beside them. */
  readonly depths: readonly string[]
  /** Sequences at once; the model must have as many slots. */
  readonly batches: readonly number[]
  readonly metrics: readonly MetricFamily[]
  /** Of BLEU; default zh where the target is Chinese, else 13a. */
  readonly tokenize?: BleuTokenizer
  readonly seed: number
  /** Items of a task, or windows of a text, at most. */
  readonly limit?: number
  /** Default: the task's own. */
  readonly template?: string
  readonly maxTokens: number
  /** Null for greedy decoding. */
  readonly beams: BeamSettings | null
  /** No n-gram of so many tokens comes twice, those of the prompt counted; 0 is off. */
  readonly noRepeatNgram: number
  /** Of texts: tokens of a window, and of its beginning, which runs at full depth and is not scored. */
  readonly window: number
  readonly promptLength: number
  readonly signal?: AbortSignal
  readonly kept?: TurnsFile
  /** Parts so far, of how many, and how many of them an earlier run had done. A part is a turn or a window, one depth each. */
  readonly onProgress?: (done: number, total: number, kept: number) => void
}

interface Group {
  readonly task: Task
  readonly shots: number
  readonly questions: readonly Question[]
  readonly skipped: number
  readonly stop: string
}

/**
 * Translations, summaries and texts under several depths, each beside full depth on the same items. Decoding is greedy unless
 * there are beams. The depths take turns on every batch, so that a change of the machine's pace meets all of them.
 */
export async function evaluateGeneration(model: Model, options: GenerationOptions): Promise<EvalReport> {
  const { tokenizer } = model
  if (tokenizer === null) throw new InputError(`${model.name} has no tokenizer files, and tasks are text`)
  const depths = await depthNames(model, options.depths, options.signal)
  const groups = options.tasks.flatMap((task) => options.shots.map((shots) => groupOf(model, task, shots, options)))
  const texts = options.texts.map((task) => ({ task, windows: textWindows(tokenizer, task, windowOptions(options)) }))
  const parts =
    groups.reduce((sum, { questions }) => sum + sumOf(options.batches, (b) => Math.ceil(questions.length / b)), 0) +
    sumOf(texts, ({ windows }) => windows.length)
  const tell = progress(options, parts * depths.length)
  const cells: GenerationCell[] = []
  for (const [g, group] of groups.entries()) {
    for (const batch of options.batches) {
      const turns = await runGroup(model, group, { kind: 'turn', group: g, batch }, depths, options, tell)
      if (turns === null) continue
      for (const { name } of depths) {
        const { task, shots, skipped, questions } = group
        const { metrics, seed } = options
        const tokenize = options.tokenize ?? (task.languages?.target === 'zh' ? 'zh' : '13a')
        const of = { task, shots, batch, depth: name, skipped, metrics, tokenize, seed }
        cells.push(generationCell(of, questions, turns.get(name)!, turns.get('full')!))
      }
    }
  }
  const textCells: TextCell[] = []
  for (const [t, { task, windows }] of texts.entries()) {
    const scores = await runText(model, windows, { kind: 'window', group: t, batch: 1 }, depths, options, tell)
    for (const { name } of depths) {
      const of = { task: task.name, depth: name, seed: options.seed }
      textCells.push(textCell(of, scores.get(name)!, scores.get('full')!))
    }
  }
  const { maxTokens, beams, noRepeatNgram, window, promptLength, seed } = options
  return {
    model: model.name,
    quantization: model.quantization,
    layers: model.hyperparameters.layers,
    parameters: model.parameters,
    score: 'generation',
    seed,
    date: new Date().toISOString(),
    machine: machineName(),
    cells: [],
    overall: [],
    curves: [],
    matrix: null,
    generation: {
      maxTokens,
      beams: beams?.beams ?? null,
      noRepeatNgram,
      window,
      promptLength,
      cells,
      texts: textCells,
    },
    notes: [],
  }
}

function groupOf(model: Model, task: Task, shots: number, options: GenerationOptions): Group {
  const { seed, limit, maxTokens } = options
  const template = options.template ?? task.template ?? DEFAULT_TEMPLATE
  const asked = questionsOf(model, task, {
    shots,
    seed,
    template,
    maxTokens,
    score: 'generate',
    ...(limit === undefined ? {} : { limit }),
  })
  return { task, shots, stop: parseTemplate(template).stop, ...asked }
}

function windowOptions({ window, promptLength, limit }: GenerationOptions) {
  return { window, promptLength, ...(limit === undefined ? {} : { limit }) }
}

type Tell = (parts: number, known: boolean) => void

/** Every depth's turns; null where no item fits the context. */
async function runGroup(
  model: Model,
  { questions, stop }: Group,
  key: Omit<TurnKey, 'index'>,
  depths: readonly DepthName[],
  { maxTokens, beams, noRepeatNgram, signal, kept }: GenerationOptions,
  tell: Tell,
): Promise<Map<string, Turn[]> | null> {
  if (questions.length === 0) return null
  const all = new Map<string, Turn[]>(depths.map(({ name }) => [name, []]))
  let warm = false
  for (let index = 0; index * key.batch < questions.length; index++) {
    const some = questions.slice(index * key.batch, (index + 1) * key.batch)
    const ask = () =>
      inTurn(depths, index, ({ policy }) =>
        generateTurn(model, some, policy ?? 'full', {
          maxTokens,
          stop,
          beams,
          noRepeatNgram,
          ...(signal && { signal }),
        }),
      )
    const before = kept?.turns({ ...key, index })
    const known = before?.get('full')?.outputs.length === some.length ? before : undefined
    // The first turn also builds graphs: it runs once more, and only the second time counts.
    if (known === undefined && !warm) await ask()
    warm ||= known === undefined
    const turns = known ?? (await ask())
    if (known === undefined) kept?.appendTurns({ ...key, index }, turns)
    for (const { name } of depths) all.get(name)!.push(turns.get(name)!)
    tell(depths.length, known !== undefined)
  }
  return all
}

async function runText(
  model: Model,
  windows: readonly (readonly number[])[],
  key: Omit<TurnKey, 'index'>,
  depths: readonly DepthName[],
  { promptLength, signal, kept }: GenerationOptions,
  tell: Tell,
): Promise<Map<string, WindowScore[]>> {
  const all = new Map<string, WindowScore[]>(depths.map(({ name }) => [name, []]))
  for (const [index, ids] of windows.entries()) {
    const before = kept?.windows({ ...key, index })
    const known = before?.get('full')?.tops.length === ids.length - promptLength ? before : undefined
    const scores =
      known ??
      (await inTurn(depths, index, ({ policy }) =>
        scoreWindow(model, ids, policy ?? 'full', { promptLength, ...(signal && { signal }) }),
      ))
    if (known === undefined) kept?.appendWindows({ ...key, index }, scores)
    for (const { name } of depths) all.get(name)!.push(scores.get(name)!)
    tell(depths.length, known !== undefined)
  }
  return all
}

/** Who goes first changes from turn to turn. */
async function inTurn<T>(
  depths: readonly DepthName[],
  turn: number,
  run: (depth: DepthName) => Promise<T>,
): Promise<Map<string, T>> {
  const results = new Map<string, T>()
  for (let i = 0; i < depths.length; i++) {
    const depth = depths[(i + turn) % depths.length]!
    results.set(depth.name, await run(depth))
  }
  return results
}

function progress({ onProgress }: GenerationOptions, total: number): Tell {
  let done = 0
  let before = 0
  return (parts, known) => {
    done += parts
    if (known) before += parts
    onProgress?.(done, total, before)
  }
}

function sumOf<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0)
}
