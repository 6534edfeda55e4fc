import type { Depth, GenerationResult, Model } from '../../engine/api.js'
import type { Question } from '../../tasks/index.js'

/** One sequence of a turn. */
export interface Output {
  readonly tokens: readonly number[]
  readonly text: string
  readonly promptTokens: number
  /** Mean over the tokens. */
  readonly depth: number
  readonly rowLayers: number
}

/** Sequences that were decoded together. */
export interface Turn {
  readonly outputs: readonly Output[]
  /** From the first step to the end of the last sequence. */
  readonly ms: number
  /** The part of `ms` after the first new token. */
  readonly decodeMs: number
}

export interface TurnOptions {
  readonly maxTokens: number
  readonly stop: string
  /** Null for greedy decoding. */
  readonly beams: BeamSettings | null
  /** No n-gram of so many tokens comes twice; 0 is off. */
  readonly noRepeatNgram: number
  readonly signal?: AbortSignal
}

/** Beam search in place of greedy decoding. */
export interface BeamSettings {
  readonly beams: number
  readonly lengthPenalty?: number
}

/** Answers questions together, greedily or by the best of several beams. */
export async function generateTurn(
  model: Model,
  questions: readonly Question[],
  depth: Depth,
  { beams, stop, ...options }: TurnOptions,
): Promise<Turn> {
  const started = performance.now()
  const results = await Promise.all(
    questions.map(async ({ prompt }) => {
      if (beams === null) return await model.generate(prompt.ids, { ...options, stop, depth }).result
      // Beams know no stop strings: they go on to their end, and what follows a stop is cut off.
      const result = await model.beamSearch(prompt.ids, { ...options, ...beams, depth })
      return { ...result, text: result.text.trimStart().split(stop, 1)[0]! }
    }),
  )
  const ms = performance.now() - started
  return { outputs: results.map(toOutput), ms, decodeMs: Math.max(...results.map(({ timing }) => timing.decodeMs)) }
}

function toOutput({ tokens, text, promptTokens, meanDepth, rowLayers }: GenerationResult): Output {
  return { tokens, text: text.trim(), promptTokens: promptTokens.length, depth: meanDepth, rowLayers }
}
