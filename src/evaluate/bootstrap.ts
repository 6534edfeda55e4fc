import { quantile } from '../calibrate/quantile.js'
import { createRandomStream } from '../engine/random-stream.js'
import { InputError } from '../errors.js'

export interface Interval {
  /** The figure of the sample itself. */
  readonly mean: number
  readonly low: number
  readonly high: number
}

export interface BootstrapOptions {
  /** Default 0.95. */
  readonly confidence?: number
  /** Samples drawn with replacement; default 2,000. */
  readonly draws?: number
  /** Default 0. */
  readonly seed?: number
}

/** Mean of the values with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13). */
export function bootstrapMean(values: ArrayLike<number>, options: BootstrapOptions = {}): Interval {
  const { confidence = 0.95, draws = 2000, seed = 0 } = options
  const n = values.length
  if (n === 0) throw new InputError('a mean of no values has no interval')
  if (!(confidence > 0 && confidence < 1)) throw new InputError('the confidence must be between 0 and 1')
  const random = createRandomStream(seed)
  const means = new Float64Array(draws)
  for (let draw = 0; draw < draws; draw++) {
    let sum = 0
    for (let i = 0; i < n; i++) sum += values[Math.floor(random() * n)]!
    means[draw] = sum / n
  }
  means.sort()
  let total = 0
  for (let i = 0; i < n; i++) total += values[i]!
  return {
    mean: total / n,
    low: quantile(means, (1 - confidence) / 2),
    high: quantile(means, (1 + confidence) / 2),
  }
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
 * A figure of sums over units, such as BLEU of a corpus, with its bootstrap interval: units are drawn with replacement
 * (Koehn 2004). Where a unit holds what two systems gave, the interval of their difference is paired.
 *
 * @param units [n][k]: what each unit adds to the sums
 */
export function bootstrapSums(
  units: readonly (readonly number[])[],
  figure: (sums: readonly number[]) => number,
  options: BootstrapOptions = {},
): Interval {
  const { confidence = 0.95, draws = 2000, seed = 0 } = options
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
  return {
    mean: figure(sums),
    low: quantile(drawn, (1 - confidence) / 2),
    high: quantile(drawn, (1 + confidence) / 2),
  }
}
