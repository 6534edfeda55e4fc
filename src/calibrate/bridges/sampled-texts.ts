import type { Model } from '../../engine/api.js'
import type { ForcedText } from '../../engine/known-text.js'
import { createRandomStream } from '../../engine/schedule/random-stream.js'
import { leadOf } from '../../tokenizer/lead.js'

export interface SampledTextsOptions {
  readonly count: number
  /** Tokens of a text. */
  readonly window: number
  readonly promptShare: number
  readonly seed: number
  readonly signal?: AbortSignal
  readonly onText?: (done: number) => void
}

/**
 * Texts that the model samples itself, at temperature 1 from what it puts before every text, or from an end of text, or from
 * a token drawn at random: for a model of which no texts are at hand.
 */
export async function sampledTexts(model: Model, options: SampledTextsOptions): Promise<ForcedText[]> {
  const { count, promptShare, seed, signal, onText } = options
  const window = Math.min(options.window, model.context)
  const random = createRandomStream(seed)
  const lead = model.tokenizer === null ? [] : leadOf(model.tokenizer)
  const start = lead.length > 0 ? lead : model.endTokens.slice(0, 1)
  let done = 0
  const texts = await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const ids = start.length > 0 ? start : [Math.floor(random() * model.hyperparameters.vocabulary)]
      const { tokens } = await model.generate(ids, {
        maxTokens: window - ids.length,
        temperature: 1,
        topK: 0,
        topP: 1,
        seed: seed + i,
        ignoreEos: true,
        depth: 'full',
        ...(signal && { signal }),
      }).result
      onText?.(++done)
      const all = [...ids, ...tokens]
      return { ids: all, promptLength: Math.min(all.length - 1, Math.max(1, Math.round(all.length * promptShare))) }
    }),
  )
  return texts
}
