import type { Depth } from '../../depth/policy.js'
import { InputError } from '../../errors.js'
import type { GenerateOptions, SamplingOptions } from '../api.js'
import { refuseUnknownOptions } from '../known-options.js'
import { checkDrafts } from './drafting.js'
import { createSampler } from './sampler.js'

/** New tokens at most, where nobody says how many. */
export const DEFAULT_MAX_TOKENS = 128

/** A generation that is asked for, every default filled in: plain data beside a policy object. */
export interface GenerationRequest {
  readonly promptTokens: readonly number[]
  readonly depth: Depth
  readonly lossless: boolean | { readonly drafts: number }
  readonly maxTokens: number
  readonly stop: readonly string[]
  readonly ignoreEos: boolean
  readonly priority: number
  readonly client: string | undefined
  readonly sampling: Required<SamplingOptions>
}

/** What limits a request. */
export interface RequestLimits {
  /** Tokens that a sequence may hold. */
  readonly context: number
  /** False where the model has no tokenizer. */
  readonly hasText: boolean
  /** Where the options name no depth. */
  readonly depth: Depth
}

/** @throws InputError for options out of range, and `context_exceeded` for a prompt that is too long */
export function generationRequest(
  promptTokens: readonly number[],
  options: GenerateOptions,
  limits: RequestLimits,
): GenerationRequest {
  const {
    depth = limits.depth,
    lossless = false,
    maxTokens = DEFAULT_MAX_TOKENS,
    stop = [],
    ignoreEos = false,
    signal: _signal,
    literalContent: _literalContent,
    priority = 0,
    client,
    ...sampling
  } = options
  if (typeof lossless === 'object') {
    refuseUnknownOptions('lossless', lossless)
    checkDrafts(lossless.drafts)
  }
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1)
    throw new InputError('maxTokens must be a whole number of at least 1')
  if (!Number.isFinite(priority)) throw new InputError('priority must be a number')
  if (client !== undefined && typeof client !== 'string') throw new InputError('client must be a text')
  if (promptTokens.length === 0) throw new InputError('the prompt has no tokens')
  checkFits(promptTokens.length, limits.context)
  const { seed, settings } = createSampler(sampling)
  const stops = typeof stop === 'string' ? [stop] : stop
  if (!Array.isArray(stops) || !stops.every((text) => typeof text === 'string'))
    throw new InputError('stop must be a text or a list of texts')
  if (stops.includes('')) throw new InputError('a stop string must not be empty')
  if (stops.length > 0 && !limits.hasText)
    throw new InputError('stop strings need a tokenizer, and this model has none')
  return {
    promptTokens,
    depth,
    lossless,
    maxTokens,
    stop: [...stops],
    ignoreEos,
    priority,
    client,
    sampling: { ...settings, seed },
  }
}

/** @throws InputError `context_exceeded` */
export function checkFits(tokens: number, context: number): void {
  if (tokens <= context) return
  throw new InputError(`the prompt has ${tokens} tokens, and the context holds ${context}`, 'context_exceeded')
}
