import type { Depth, GenerationResult, Model } from '../../engine/api.js'

/** What one run of a batch took. */
export interface DecodeSample {
  /** Prompt tokens per second. */
  readonly prefill: number
  /** New tokens after each sequence's first, per second of decoding, all sequences together. */
  readonly decode: number
  /** Prompt and new tokens per second of all time. */
  readonly all: number
  readonly meanDepth: number
  readonly rowLayersPerToken: number
  /** Of all time. */
  readonly checkShare: number
}

export interface DecodeOptions {
  /** Tokens of each prompt. */
  readonly promptLength: number
  /** New tokens of each sequence. */
  readonly maxTokens: number
  readonly signal?: AbortSignal
}

/** Decodes `batch` sequences together after prompts of random tokens, the same on every machine. */
export async function measureDecode(
  model: Model,
  depth: Depth,
  batch: number,
  { promptLength, ...options }: DecodeOptions,
): Promise<DecodeSample> {
  const start = performance.now()
  const results = await Promise.all(
    Array.from({ length: batch }, (_, i) => {
      const ids = randomIds(promptLength, model.hyperparameters.vocabulary, i + 1)
      return model.generate(ids, { ...options, depth, ignoreEos: true }).result
    }),
  )
  return toSample(results, performance.now() - start)
}

function toSample(results: readonly GenerationResult[], totalMs: number): DecodeSample {
  // Sequences of a batch share the wall clock: the prompts are done when the slowest is.
  const prefillMs = Math.max(...results.map(({ timing }) => timing.prefillMs))
  const decodeMs = Math.max(...results.map(({ timing }) => timing.decodeMs))
  const prompts = sum(results.map((result) => result.promptTokens.length))
  const tokens = sum(results.map((result) => result.tokens.length))
  // The prompt's own pass gives the first token of each sequence.
  const decoded = tokens - results.length
  const checkMs = sum(results.map((result) => result.checkMs))
  return {
    prefill: (prompts / prefillMs) * 1000,
    decode: (decoded / decodeMs) * 1000,
    all: ((prompts + tokens) / totalMs) * 1000,
    meanDepth: sum(results.map((result) => result.meanDepth * result.tokens.length)) / tokens,
    rowLayersPerToken: sum(results.map((result) => result.rowLayers)) / tokens,
    checkShare: checkMs / totalMs,
  }
}

/** Ids of a small linear congruential generator: the same prompt on every machine. */
export function randomIds(length: number, vocabulary: number, seed: number): number[] {
  let state = seed
  return Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * vocabulary)
  })
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
