import type { Question, Task } from '../../tasks/index.js'
import { bootstrapMean, bootstrapSums, ratioBootstrap, SHARE } from '../bootstrap.js'
import { bleuOfStatistics, bleuStatistics } from '../metrics/bleu.js'
import { chrfOfStatistics, chrfStatistics } from '../metrics/chrf.js'
import { pairRouge } from '../metrics/rouge.js'
import type { BleuTokenizer } from '../metrics/tokenize.js'
import type { GenerationCell, GenerationMetric, GenerationQuality, TextCell } from '../result.js'
import type { Output, Turn } from './turn.js'
import type { WindowScore } from './window.js'

export const GENERATION_METRICS = ['bleu', 'chrf', 'rouge'] as const
export type MetricFamily = (typeof GENERATION_METRICS)[number]

/** What a cell is about. */
export interface CellOf {
  readonly task: Task
  readonly shots: number
  readonly batch: number
  readonly depth: string
  readonly skipped: number
  readonly metrics: readonly MetricFamily[]
  readonly tokenize: BleuTokenizer
  readonly seed: number
}

/**
 * All figures of one cell. Intervals of quality and agreement are over sequences, those of times over turns.
 * @param questions in the order of the outputs, turn by turn
 * @param full full depth's turns on the same questions
 */
export function generationCell(
  of: CellOf,
  questions: readonly Question[],
  turns: readonly Turn[],
  full: readonly Turn[],
): GenerationCell {
  const { seed } = of
  const outputs = turns.flatMap((turn) => turn.outputs)
  const whole = full.flatMap((turn) => turn.outputs)
  const agreed = outputs.map((output, i) => agreedShare(output.tokens, whole[i]!.tokens))
  const lengths = outputs.map(({ tokens }) => tokens.length)
  const rate = (count: (turn: Turn) => number, ms: (turn: Turn) => number, of: readonly Turn[]) =>
    ratioBootstrap(
      of.map(count),
      of.map((turn) => ms(turn) / 1000),
      { seed },
    )
  const speedup = (count: (turn: Turn) => number, ms: (turn: Turn) => number) =>
    bootstrapSums(
      turns.map((turn, i) => [count(turn), ms(turn), count(full[i]!), ms(full[i]!)]),
      ([own, ownMs, base, baseMs]) => own! / ownMs! / (base! / baseMs!),
      { seed },
    )
  return {
    task: of.task.name,
    group: of.task.group,
    shots: of.shots,
    shotsUsed: questions.reduce((sum, { prompt }) => sum + prompt.shots, 0) / questions.length,
    batch: of.batch,
    depth: of.depth,
    sequences: outputs.length,
    skipped: of.skipped,
    tokenize: of.tokenize,
    quality: qualityOf(of, questions, outputs, whole),
    identical: bootstrapMean(
      agreed.map((share) => Number(share === 1)),
      { seed, range: SHARE },
    ),
    agreement: bootstrapMean(agreed, { seed, range: SHARE }),
    outputTokens: bootstrapMean(lengths, { seed }),
    depthMean: ratioBootstrap(
      outputs.map(({ depth, tokens }) => depth * tokens.length),
      lengths,
      { seed },
    ),
    rowLayersPerToken: ratioBootstrap(
      outputs.map(({ rowLayers }) => rowLayers),
      lengths,
      { seed },
    ),
    outputTokensPerSecond: rate(decoded, decodeMs, turns),
    allTokensPerSecond: rate(everyToken, allMs, turns),
    speedup: speedup(decoded, decodeMs),
    allSpeedup: speedup(everyToken, allMs),
  }
}

/** Tokens after each sequence's first: that one comes from the prompt's pass. */
function decoded({ outputs }: Turn): number {
  return outputs.reduce((sum, { tokens }) => sum + tokens.length - 1, 0)
}

function everyToken({ outputs }: Turn): number {
  return outputs.reduce((sum, { tokens, promptTokens }) => sum + tokens.length + promptTokens, 0)
}

function decodeMs(turn: Turn): number {
  return turn.decodeMs
}

function allMs(turn: Turn): number {
  return turn.ms
}

/** Length of what both begin with, over the longer length; 1 where they are the same. */
export function agreedShare(a: readonly number[], b: readonly number[]): number {
  const longer = Math.max(a.length, b.length)
  if (longer === 0) return 1
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n / longer
}

function qualityOf(
  { task, metrics, tokenize, seed }: CellOf,
  questions: readonly Question[],
  outputs: readonly Output[],
  full: readonly Output[],
): GenerationQuality[] {
  const references = questions.map(({ index }) => task.items[index]!.answers[0])
  const quality = (
    metric: GenerationMetric,
    statistics: (hypothesis: string, reference: string) => readonly number[],
    figure: (sums: readonly number[]) => number,
  ): GenerationQuality => {
    const own = outputs.map(({ text }, i) => statistics(text, references[i]!))
    const both = own.map((unit, i) => [...unit, ...statistics(full[i]!.text, references[i]!)])
    const width = own[0]!.length
    return {
      metric,
      score: bootstrapSums(own, figure, { seed }),
      difference: bootstrapSums(both, (sums) => figure(sums.slice(0, width)) - figure(sums.slice(width)), { seed }),
    }
  }
  const list: GenerationQuality[] = []
  if (metrics.includes('bleu'))
    list.push(
      quality(
        'bleu',
        (h, r) => bleuStatistics(h, r, { tokenize }),
        (sums) => bleuOfStatistics(sums).score,
      ),
    )
  if (metrics.includes('chrf')) list.push(quality('chrf', chrfStatistics, chrfOfStatistics))
  if (metrics.includes('rouge')) {
    for (const kind of ['rouge1', 'rouge2', 'rougeL'] as const) {
      // A second entry counts the pairs, so that the sum gives the mean.
      const mean = ([sum, pairs]: readonly number[]) => sum! / pairs!
      list.push(quality(kind, (h, r) => [pairRouge(h, r)[kind].f1, 1], mean))
    }
  }
  return list
}

/** All figures of a text under one depth; intervals are over windows. */
export function textCell(
  of: { readonly task: string; readonly depth: string; readonly seed: number },
  windows: readonly WindowScore[],
  full: readonly WindowScore[],
): TextCell {
  const { task, depth, seed } = of
  const counts = windows.map(({ tops }) => tops.length)
  const ratio = (values: readonly number[]) => ratioBootstrap(values, counts, { seed })
  return {
    task,
    depth,
    windows: windows.length,
    tokens: counts.reduce((sum, n) => sum + n, 0),
    perplexity: bootstrapSums(
      windows.map(({ loss }, i) => [loss, counts[i]!]),
      ([loss, n]) => Math.exp(loss! / n!),
      { seed },
    ),
    perplexityRatio: bootstrapSums(
      windows.map(({ loss }, i) => [loss - full[i]!.loss, counts[i]!]),
      ([loss, n]) => Math.exp(loss! / n!),
      { seed },
    ),
    agreement: ratio(windows.map(({ tops }, i) => tops.filter((top, k) => top === full[i]!.tops[k]).length)),
    depthMean: ratio(windows.map((window) => window.depth)),
  }
}
