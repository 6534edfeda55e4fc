import { binomialCdf } from '../calibrate/binomial.js'
import { quantile } from '../calibrate/quantile.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { InputError } from '../errors.js'
import { normalCdf, normalQuantile, studentQuantile } from './distributions.js'

export interface Interval {
  /** The figure of the sample itself. */
  readonly mean: number
  /** NaN where so few units give no interval. */
  readonly low: number
  readonly high: number
  /** Units that it is over: questions, windows, sequences, batches, rounds. */
  readonly n: number
}

export interface BootstrapOptions {
  /** Default 0.95. */
  readonly confidence?: number
  /** Samples drawn with replacement; default 2,000. */
  readonly draws?: number
  /** Default 0. */
  readonly seed?: number
  /** What the figure can be: shares are 0 to 1. An interval never goes beyond. */
  readonly range?: readonly [low: number, high: number]
}

/** Percentiles of fewer units than this are too narrow: of 5 normal values they hold the mean in five of six cases. */
export const FEW = 30

/** What a share can be, and what a difference of two can. */
export const SHARE = [0, 1] as const
export const SHARE_DIFFERENCE = [-1, 1] as const

/**
 * Mean of the values with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13), or Student's t interval
 * where they are fewer than 30.
 */
export function bootstrapMean(values: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  const n = values.length
  if (n === 0) throw new InputError('a mean of no values has no interval')
  const units = Array.from(values, (value) => [value, 1])
  if (n >= FEW) return bootstrapSums(units, ([sum, count]) => sum! / count!, options)
  const confidence = confidenceOf(options)
  const mean = Array.from(values).reduce((sum, value) => sum + value, 0) / n
  const squares = Array.from(values).reduce((sum, value) => sum + (value - mean) ** 2, 0)
  const reach = n === 1 ? Number.NaN : studentQuantile((1 + confidence) / 2, n - 1) * Math.sqrt(squares / (n - 1) / n)
  return within({ mean, low: mean - reach, high: mean + reach, n }, options)
}

/**
 * Mean of a[i] - b[i] with its paired bootstrap interval: pairs are drawn, so what both have in common (hard and easy
 * instances) does not widen it.
 */
export function pairedBootstrap(a: ArrayLike<number>, b: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  if (a.length !== b.length)
    throw new InputError(`pairs need as many values on both sides, not ${a.length} and ${b.length}`)
  return bootstrapMean(
    Float64Array.from(a, (value, i) => value - b[i]!),
    options,
  )
}

/** sum(a) / sum(b) with its bootstrap interval over pairs. */
export function ratioBootstrap(a: ArrayLike<number>, b: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  if (a.length === 0 || a.length !== b.length)
    throw new InputError('a ratio needs as many values on both sides, and one at least')
  const units = Array.from(a, (value, i) => [value, b[i]!])
  return bootstrapSums(units, ([above, below]) => above! / below!, options)
}

/**
 * The median with an interval of order statistics, which supposes nothing of their distribution. For the ratios of rounds that
 * repeat the same work; under six rounds there is no interval of 95%.
 */
export function medianInterval(values: readonly number[], options: BootstrapOptions = {}): Interval {
  const n = values.length
  const sorted = values.toSorted((a, b) => a - b)
  const most = (1 - confidenceOf(options)) / 2
  let out = 0
  while (binomialCdf(out, n, 0.5) <= most) out++
  const [low, high] = out === 0 ? [Number.NaN, Number.NaN] : [sorted[out - 1]!, sorted[n - out]!]
  return { mean: quantile(sorted, 0.5), low, high, n }
}

/**
 * A figure of sums over units, such as BLEU of a corpus, with its bootstrap interval: units are drawn with replacement
 * (Koehn 2004). Where a unit holds what two systems gave, the interval of their difference is paired. Of fewer than 30 units
 * it is the BCa interval (Efron and Tibshirani 1993, chapter 14).
 *
 * @param units [n][k]: what each unit adds to the sums
 */
export function bootstrapSums(
  units: readonly (readonly number[])[],
  figure: (sums: readonly number[]) => number,
  options: BootstrapOptions = {},
): Interval {
  const { draws = 2000, seed = 0 } = options
  const confidence = confidenceOf(options)
  const n = units.length
  const width = units[0]?.length ?? 0
  if (units.some((unit) => unit.length !== width)) throw new InputError('all units must have as many values')
  if (n === 0) throw new InputError('a figure of no units has no interval')
  const random = createRandomStream(seed)
  const values = Float64Array.from(units.flat())
  const sums = Array.from<number>({ length: width })
  const drawn = new Float64Array(draws)
  for (let draw = 0; draw < draws; draw++) {
    sums.fill(0)
    for (let i = 0; i < n; i++) {
      const from = Math.floor(random() * n) * width
      for (let k = 0; k < width; k++) sums[k]! += values[from + k]!
    }
    drawn[draw] = figure(sums)
  }
  drawn.sort()
  sums.fill(0)
  for (const unit of units) for (let k = 0; k < width; k++) sums[k]! += unit[k]!
  const mean = figure(sums)
  if (n === 1) return { mean, low: Number.NaN, high: Number.NaN, n }
  const tails = [(1 - confidence) / 2, (1 + confidence) / 2]
  const without = (unit: readonly number[]): number => figure(sums.map((sum, k) => sum - unit[k]!))
  const [low, high] = (n < FEW ? correctedTails(tails, drawn, mean, units.map(without)) : tails).map((q) =>
    quantile(drawn, q),
  )
  return within({ mean, low: low!, high: high!, n }, options)
}

/** BCa: quantiles that make up for bias and for a deviation that changes with the figure. */
function correctedTails(
  tails: readonly number[],
  drawn: Float64Array,
  mean: number,
  leftOut: readonly number[],
): readonly number[] {
  const below = drawn.reduce((count, value) => count + (value < mean ? 1 : value === mean ? 0.5 : 0), 0)
  const bias = normalQuantile(Math.min(Math.max(below, 0.5), drawn.length - 0.5) / drawn.length)
  const middle = leftOut.reduce((sum, value) => sum + value, 0) / leftOut.length
  const power = (exponent: number): number => leftOut.reduce((sum, value) => sum + (middle - value) ** exponent, 0)
  const squares = power(2)
  const acceleration = squares > 0 ? power(3) / (6 * squares ** 1.5) : 0
  return tails.map((tail) => {
    const z = bias + normalQuantile(tail)
    return normalCdf(bias + z / (1 - acceleration * z))
  })
}

function confidenceOf({ confidence = 0.95 }: BootstrapOptions): number {
  if (!(confidence > 0 && confidence < 1)) throw new InputError('the confidence must be between 0 and 1')
  return confidence
}

function within(interval: Interval, { range = [-Infinity, Infinity] }: BootstrapOptions): Interval {
  return { ...interval, low: Math.max(range[0], interval.low), high: Math.min(range[1], interval.high) }
}
