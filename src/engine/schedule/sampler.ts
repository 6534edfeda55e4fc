import { createTopTwo, sumExp, topTwo } from '../../depth/features.js'
import { InputError, ShoalError } from '../../errors.js'
import type { SamplingOptions, SamplingSettings } from '../api.js'
import { repeatingIds } from './no-repeat-ngram.js'
import { createRandomStream, randomSeed } from './random-stream.js'

export interface SampledToken {
  readonly id: number
  /**
   * ln P(id) of the model itself: softmax at temperature 1 of the logits as they came, before penalty, temperature and
   * filters.
   */
  readonly logprob: number
}

/** What is drawn from: the ids that all filters left, ascending, and their probabilities, which sum to 1. */
export interface Distribution {
  readonly ids: Int32Array
  readonly probabilities: Float64Array
}

/** What is known of a row of logits: the largest, its index, and the log-sum-exp. */
export interface KnownOfLogits {
  readonly top: number
  readonly topValue: number
  readonly logSumExp: number
}

/** Chooses the tokens of one sequence. It remembers them for repetition penalty and n-grams and owns the sequence's random stream. */
export interface Sampler {
  /** The seed in use, given or random. */
  readonly seed: number
  /** All other settings in use. */
  readonly settings: SamplingSettings
  /**
   * Chooses the next token from logits [V], which stay untouched, and remembers it.
   * @param known what the head has told of the logits already: finding it takes longer than the choice
   */
  sample(logits: Float32Array, known?: KnownOfLogits): SampledToken
  /**
   * The distribution that `sample` would draw from; draws and remembers nothing. One id at temperature 0.
   * @param drafted ids that count as generated for the repetition penalty, though they are not remembered
   * @param known what the head has told of the logits already
   */
  distribution(logits: Float32Array, drafted?: readonly number[], known?: KnownOfLogits): Distribution
  /** Draws from a distribution; remembers nothing. */
  readonly draw: (distribution: Distribution) => number
  /** The next number of the sequence's random stream, from 0 to 1, 1 excluded. */
  readonly random: () => number
  /** Takes a token that was chosen elsewhere as the next one. */
  remember(id: number): void
}

/**
 * Filters in transformers' order: repetition penalty over prompt and generated ids (a positive logit is divided, a
 * negative one multiplied), no repeated n-gram, temperature, top-k, top-p (the fewest tokens that reach p), min-p (relative to the most
 * probable one); what ties with the last token that a filter keeps stays too. Temperature 0 takes the largest logit
 * after the penalty, the lowest id of equals. Throws InputError for options out of range, and ShoalError `file_invalid`
 * for logits that are not finite numbers.
 */
export function createSampler(options: SamplingOptions = {}, promptIds: readonly number[] = []): Sampler {
  const {
    temperature = 0,
    topK = 0,
    topP = 1,
    minP = 0,
    repetitionPenalty = 1,
    noRepeatNgram = 0,
    seed = randomSeed(),
  } = options
  inRange('temperature', temperature, temperature >= 0 && temperature < Number.POSITIVE_INFINITY, 'a number >= 0')
  inRange('topK', topK, Number.isSafeInteger(topK) && topK >= 0, 'a whole number >= 0 (0 turns it off)')
  inRange('topP', topP, topP >= 0 && topP <= 1, 'a number from 0 to 1')
  inRange('minP', minP, minP >= 0 && minP <= 1, 'a number from 0 to 1')
  const penalised = repetitionPenalty > 0 && repetitionPenalty < Number.POSITIVE_INFINITY
  inRange('repetitionPenalty', repetitionPenalty, penalised, 'a number > 0')
  checkNoRepeatNgram(noRepeatNgram)
  const random = createRandomStream(seed)

  const seen = new Set<number>(repetitionPenalty === 1 ? [] : promptIds)
  const tokens = noRepeatNgram === 0 ? [] : [...promptIds]
  const best = createTopTwo()
  let scratch = new Float32Array(0)
  let weights = emptyDistribution(0)

  /** The logits after repetition penalty and n-grams: themselves where there is nothing to change, else a copy. */
  function penalise(logits: Float32Array, drafted: readonly number[] = []): Float32Array {
    const said = noRepeatNgram === 0 || drafted.length === 0 ? tokens : [...tokens, ...drafted]
    const forbidden = repeatingIds(said, noRepeatNgram)
    if (repetitionPenalty === 1 && forbidden.size === 0) return logits
    if (scratch.length !== logits.length) scratch = new Float32Array(logits.length)
    scratch.set(logits)
    for (const id of drafted.length === 0 ? seen : new Set([...seen, ...drafted])) {
      const logit = scratch[id]
      // An id of the prompt that the head has no row for cannot be penalised.
      if (logit !== undefined) scratch[id] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty
    }
    if (forbidden.size === 0) return scratch
    for (const id of forbidden) if (id < scratch.length) scratch[id] = Number.NEGATIVE_INFINITY
    if (scratch.every((logit) => logit === Number.NEGATIVE_INFINITY)) throw noTokenLeft(noRepeatNgram)
    return scratch
  }

  /** The result is good until the next call. */
  function filter(scores: Float32Array, known?: KnownOfLogits): Distribution {
    const { top, topValue } = known ?? topTwo(scores, best)
    if (!Number.isFinite(topValue)) throw notNumbers()
    if (temperature === 0) return { ids: Int32Array.of(top), probabilities: Float64Array.of(1) }

    if (weights.ids.length !== scores.length) weights = emptyDistribution(scores.length)
    const floor = topK > 0 && topK < scores.length ? kthLargest(scores, topK) : Number.NEGATIVE_INFINITY
    let kept = weigh(scores, topValue, floor, temperature, weights)
    const cut = Math.max(topP < 1 ? topPWeight(kept.probabilities, topP) : 0, minP)
    if (cut > 0) kept = keepFrom(kept, cut)
    normalise(kept.probabilities)
    return kept
  }

  function remember(id: number): void {
    if (repetitionPenalty !== 1) seen.add(id)
    if (noRepeatNgram !== 0) tokens.push(id)
  }

  return {
    seed,
    settings: { temperature, topK, topP, minP, repetitionPenalty, noRepeatNgram },
    distribution(logits, drafted, known) {
      const scores = penalise(logits, drafted)
      const { ids, probabilities } = filter(scores, scores === logits ? known : undefined)
      return { ids: ids.slice(), probabilities: probabilities.slice() }
    },
    draw({ ids, probabilities }) {
      return temperature === 0 ? ids[0]! : draw(ids, probabilities, random())
    },
    random,
    remember,
    sample(logits, known) {
      const scores = penalise(logits)
      const { ids, probabilities } = filter(scores, scores === logits ? known : undefined)
      const id = temperature === 0 ? ids[0]! : draw(ids, probabilities, random())

      const logprob = logProbability(logits, id, known?.logSumExp ?? logSumExpOf(logits, topTwo(logits, best).topValue))
      remember(id)
      return { id, logprob }
    },
  }
}

/** ln P(id) of a row of logits at temperature 1. */
export function logProbability(logits: Float32Array, id: number, logSumExp: number): number {
  const logprob = logits[id]! - logSumExp
  if (Number.isNaN(logprob)) throw notNumbers()
  return logprob
}

function logSumExpOf(logits: Float32Array, max: number): number {
  return max + Math.log(sumExp(logits, max))
}

function emptyDistribution(length: number): Distribution {
  return { ids: new Int32Array(length), probabilities: new Float64Array(length) }
}

/** Weights exp((score - max) / temperature) of the scores that reach `floor`, written into `out`: the largest weighs 1. */
function weigh(scores: Float32Array, max: number, floor: number, temperature: number, out: Distribution): Distribution {
  const { ids, probabilities } = out
  let n = 0
  for (let id = 0; id < scores.length; id++) {
    const score = scores[id]!
    if (score < floor) continue
    const weight = Math.exp((score - max) / temperature)
    // What cannot be drawn is left out: ids that a mask gave -Infinity, or far below the largest.
    if (weight === 0) continue
    if (Number.isNaN(weight)) throw notNumbers()
    ids[n] = id
    probabilities[n] = weight
    n++
  }
  return firstOf(out, n)
}

function firstOf({ ids, probabilities }: Distribution, n: number): Distribution {
  return { ids: ids.subarray(0, n), probabilities: probabilities.subarray(0, n) }
}

/** The smallest weight that top-p keeps: the largest weights, until their share of the sum reaches `topP`. */
function topPWeight(weights: Float64Array, topP: number): number {
  let total = 0
  for (const weight of weights) total += weight
  // Weights so small that all of them together hold less than 1 - p are out; only the others need an order.
  const negligible = ((1 - topP) * total) / weights.length
  const candidates = new Float64Array(weights.length)
  let n = 0
  for (const weight of weights) if (weight >= negligible) candidates[n++] = weight
  const ascending = candidates.subarray(0, n).sort()
  let first = n - 1
  for (let sum = ascending[first]!; first > 0 && sum < topP * total; sum += ascending[first]!) first--
  return ascending[first]!
}

/** The ids that weigh `cut` or more, moved to the front. */
function keepFrom(distribution: Distribution, cut: number): Distribution {
  const { ids, probabilities } = distribution
  let n = 0
  for (let i = 0; i < ids.length; i++) {
    if (probabilities[i]! < cut) continue
    ids[n] = ids[i]!
    probabilities[n] = probabilities[i]!
    n++
  }
  return firstOf(distribution, n)
}

function normalise(weights: Float64Array): void {
  let sum = 0
  for (const weight of weights) sum += weight
  for (let i = 0; i < weights.length; i++) weights[i]! /= sum
}

function draw(ids: Int32Array, probabilities: Float64Array, u: number): number {
  let left = u
  for (let i = 0; i < ids.length; i++) {
    left -= probabilities[i]!
    if (left < 0) return ids[i]!
  }
  // Rounding left the sum a hair under u.
  return ids.at(-1)!
}

/** The k-th largest score, by a heap of the k largest so far with the smallest of them on top. */
function kthLargest(scores: Float32Array, k: number): number {
  const heap = scores.slice(0, k).sort()
  for (let i = k; i < scores.length; i++) {
    const score = scores[i]!
    if (!(score > heap[0]!)) continue
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= k) break
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++
      if (heap[child]! >= score) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = score
  }
  return heap[0]!
}

function inRange(name: string, value: number, holds: boolean, expected: string): void {
  if (typeof value !== 'number' || !holds) throw new InputError(`${name} must be ${expected}, not ${value}`)
}

/** Throws InputError for what is no length of an n-gram. */
export function checkNoRepeatNgram(n: number): void {
  inRange('noRepeatNgram', n, Number.isSafeInteger(n) && n >= 0, 'a whole number >= 0 (0 turns it off)')
}

export function noTokenLeft(noRepeatNgram: number): InputError {
  return new InputError(`noRepeatNgram ${noRepeatNgram} leaves no token to go on with`)
}

export function notNumbers(): ShoalError {
  return new ShoalError('file_invalid', 'the logits are not finite numbers; the weights may be damaged')
}
