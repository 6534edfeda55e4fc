import type { Depth, SkipPolicy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import { FileError } from '../errors.js'
import { leadOf } from '../tokenizer/lead.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** Tokens of a window, and how many of them are its prompt. */
const WINDOW = 256
const PROMPT_SHARE = 0.25

export interface Loss {
  /** Mean negative log-likelihood in nats. */
  readonly loss: number
  /** exp(loss) */
  readonly perplexity: number
}

/** What leaving layers out costs on one text: the same tokens are predicted each time. */
export interface PlanPerplexity {
  readonly windows: number
  /** Tokens that were predicted. */
  readonly tokens: number
  /** Every layer. */
  readonly full: Loss
  /** Prompts run every layer, the tokens after them the plan (Unified Layer Skipping, arXiv 2404.06954, section 3). */
  readonly prompted: Loss
  /** The plan everywhere, as in a checkpoint without the other layers. */
  readonly plan: Loss
}

export interface PlanPerplexityOptions {
  /** The text's name, for messages. */
  readonly path: string
  /** Tokens of the text that are looked at. */
  readonly maxTokens: number
  readonly signal?: AbortSignal
  /** Share of the work that is done, 0 to 1. */
  readonly onProgress?: (done: number) => void
}

/**
 * Perplexity of a text under a policy with one plan, its bridges included, and without it. The text is cut into windows of up to 256 tokens, each with what the
 * tokenizer begins a text with; the first quarter of a window is its prompt.
 * @throws FileError where the text is too short
 */
export async function planPerplexity(
  model: Model,
  tokenizer: Tokenizer,
  text: string,
  policy: SkipPolicy,
  options: PlanPerplexityOptions,
): Promise<PlanPerplexity> {
  const windows = windowsOf(tokenizer, text, Math.min(WINDOW, model.context), options.maxTokens)
  if (windows.length === 0) throw new FileError(options.path, 'holds too little text for a perplexity')
  const { signal, onProgress } = options
  const depths: readonly Depth[] = ['full', { ...policy, prompt: 'full' }, { ...policy, prompt: 'plan' }]
  const sums = depths.map(() => 0)
  let tokens = 0
  for (const [w, ids] of windows.entries()) {
    const promptLength = Math.max(1, Math.floor(ids.length * PROMPT_SHARE))
    const predicted = ids.length - promptLength
    for (const [d, depth] of depths.entries()) {
      const { loss } = await model.score(ids, {
        promptLength,
        depth,
        ...(signal !== undefined && { signal }),
        onProgress: (fed, of) => onProgress?.((w + (d + fed / of) / depths.length) / windows.length),
      })
      sums[d] = (sums[d] as number) + loss * predicted
    }
    tokens += predicted
  }
  const lossOf = (sum: number): Loss => ({ loss: sum / tokens, perplexity: Math.exp(sum / tokens) })
  const [full, prompted, everywhere] = sums.map(lossOf) as [Loss, Loss, Loss]
  return { windows: windows.length, tokens, full, prompted, plan: everywhere }
}

/** A piece at the end is a window of its own where it is half as long as the others, or all there is. */
function windowsOf(tokenizer: Tokenizer, text: string, size: number, maxTokens: number): number[][] {
  const lead = leadOf(tokenizer)
  const ids = tokenizer.encode(text, { addSpecialTokens: false }).slice(0, maxTokens)
  const step = Math.max(2, size - lead.length)
  const windows: number[][] = []
  for (let from = 0; from < ids.length; from += step) {
    const window = [...lead, ...ids.slice(from, from + step)]
    if (window.length >= 8 && (from === 0 || window.length >= size / 2)) windows.push(window)
  }
  return windows
}
