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
  readonly signal?: AbortSignal
}

/** Answers questions together, greedily. */
export async function generateTurn(
  model: Model,
  questions: readonly Question[],
  depth: Depth,
  options: TurnOptions,
): Promise<Turn> {
  const started = performance.now()
  const results = await Promise.all(
    questions.map(({ prompt }) => model.generate(prompt.ids, { ...options, depth }).result),
  )
  const ms = performance.now() - started
  return { outputs: results.map(toOutput), ms, decodeMs: Math.max(...results.map(({ timing }) => timing.decodeMs)) }
}

function toOutput({ tokens, text, promptTokens, meanDepth, rowLayers }: GenerationResult): Output {
  return { tokens, text: text.trim(), promptTokens: promptTokens.length, depth: meanDepth, rowLayers }
}
