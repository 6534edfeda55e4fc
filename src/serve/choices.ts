import { randomBytes } from 'node:crypto'
import type { Policy } from '../depth/policy.js'
import type {
  GeneratedToken,
  GenerateOptions,
  Generation,
  GenerationResult,
  Model,
  PromptMessage,
} from '../engine/api.js'
import { ShoalError } from '../errors.js'
import { ApiError, refused } from './api-error.js'
import type { Metrics } from './metrics.js'
import type { CommonRequest } from './requests.js'

/** Where a client says nothing and the model recommends nothing: OpenAI's own. */
const TEMPERATURE = 1

export interface Asked {
  readonly model: Model
  /** Prompts in order; each is continued `n` times. */
  readonly prompts: readonly (string | readonly number[] | readonly PromptMessage[])[]
  readonly maxTokens: number
  readonly request: CommonRequest
  readonly policy: Policy
  readonly client: string
  readonly signal: AbortSignal
  readonly metrics: Metrics
}

/** One text that a request asked for, `index` counting prompt by prompt. */
export interface Choice {
  readonly index: number
  readonly tokens: AsyncIterable<GeneratedToken>
  readonly result: Promise<GenerationResult>
  readonly warnings: readonly string[]
}

/**
 * Begins all texts of a request. Where one fails, the others are stopped.
 * @throws what is wrong with the request, before anything has begun
 */
export function beginChoices(asked: Asked): Choice[] {
  const { model, prompts, request, policy, metrics } = asked
  const { n = 1 } = request
  const options = generateOptions(asked)
  const stop = new AbortController()
  const signal = AbortSignal.any([asked.signal, stop.signal])
  const asking = performance.now()
  const choices: Choice[] = []
  try {
    for (const prompt of prompts) {
      for (let i = 0; i < n; i++) {
        const { seed } = options
        const own = seed === undefined ? {} : { seed: seed + i }
        const generation = model.generate(prompt, { ...options, ...own, depth: policy, signal })
        choices.push(choiceOf(choices.length, generation, metrics, asking, () => stop.abort()))
      }
    }
  } catch (error) {
    stop.abort()
    for (const { result } of choices) result.catch(() => {})
    throw error
  }
  return choices
}

function choiceOf(index: number, generation: Generation, metrics: Metrics, asking: number, fail: () => void): Choice {
  const result = generation.result.then(
    (result) => {
      metrics.noteResult(result, finishReason(result), performance.now() - asking)
      return result
    },
    (error: unknown) => {
      if (error instanceof ShoalError && error.code === 'runner_lost') metrics.noteLost()
      fail()
      throw error
    },
  )
  // Told by whoever waits for it, be it later.
  result.catch(() => {})
  return { index, tokens: timed(generation, metrics, asking), result, warnings: generation.warnings }
}

async function* timed(
  tokens: AsyncIterable<GeneratedToken>,
  metrics: Metrics,
  asking: number,
): AsyncGenerator<GeneratedToken> {
  let last: number | null = null
  for await (const token of tokens) {
    const now = performance.now()
    metrics.noteToken(now - asking, last === null ? null : now - last)
    last = now
    yield token
  }
}

/** Waits for the whole text. Its tokens are taken as they come, so that their times are counted. */
export async function resultOf({ tokens, result }: Choice): Promise<GenerationResult> {
  for await (const _ of tokens);
  return result
}

function generateOptions({ model, request, maxTokens, client }: Asked): GenerateOptions {
  const { temperature, top_p, top_k, min_p, repetition_penalty, seed, stop, ignore_eos, priority, logit_bias } = request
  if (Object.keys(logit_bias ?? {}).length > 0) throw refused('logit_bias', 'there is nothing that applies it yet')
  const { sampling } = model.settings
  const given = <Name extends string, Value>(name: Name, value: Value | undefined) =>
    (value === undefined ? {} : { [name]: value }) as { readonly [N in Name]?: Value }
  return {
    temperature: TEMPERATURE,
    ...sampling,
    ...given('temperature', temperature),
    ...given('topP', top_p),
    ...given('topK', top_k),
    ...given('minP', min_p),
    ...given('repetitionPenalty', repetition_penalty),
    ...given('seed', seed === undefined ? undefined : seedOf(seed)),
    ...given('stop', stopsOf(stop)),
    ...given('ignoreEos', ignore_eos),
    ...given('priority', priority),
    maxTokens,
    client,
  }
}

/** Any whole number as one that the sampler takes. */
function seedOf(seed: number): number {
  return ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32
}

function stopsOf(stop: string | readonly string[] | undefined): readonly string[] | undefined {
  const all = typeof stop === 'string' ? [stop] : stop?.filter((text) => text !== '')
  return all?.length === 0 ? undefined : all
}

export function finishReason({ finishReason: reason }: GenerationResult): 'stop' | 'length' {
  return reason === 'length' ? 'length' : 'stop'
}

export interface Usage {
  readonly prompt_tokens: number
  readonly completion_tokens: number
  readonly total_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number }
  readonly completion_tokens_details?: {
    readonly accepted_prediction_tokens: number
    readonly rejected_prediction_tokens: number
  }
  readonly depth: {
    /** Canonical SPEC. */
    readonly policy: string
    readonly layers: number
    readonly mean_depth: number
    /** Evaluations of a layer for rows that gave new tokens. */
    readonly row_layers: number
    /** Share of full depth's that did not run. */
    readonly saved: number
  }
}

/** @param prompts how many of the results have prompts of their own: of `n` texts to one prompt it counts once */
export function usageOf(results: readonly GenerationResult[], n: number): Usage {
  const sum = (of: (result: GenerationResult) => number): number => results.reduce((all, result) => all + of(result), 0)
  const prompt = results.filter((_, i) => i % n === 0).reduce((all, { promptTokens }) => all + promptTokens.length, 0)
  const completion = sum(({ tokens }) => tokens.length)
  const [first] = results as readonly [GenerationResult]
  const rowLayers = sum((result) => result.rowLayers)
  const drafted = sum(({ lossless }) => lossless?.drafted ?? 0)
  const accepted = sum(({ lossless }) => lossless?.accepted ?? 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: sum(({ reusedTokens }) => reusedTokens) },
    ...(first.lossless === undefined
      ? {}
      : {
          completion_tokens_details: {
            accepted_prediction_tokens: accepted,
            rejected_prediction_tokens: drafted - accepted,
          },
        }),
    depth: {
      policy: first.depth,
      layers: first.layers,
      mean_depth:
        completion === 0 ? 0 : sum(({ depths }) => depths.reduce((all, depth) => all + depth, 0)) / completion,
      row_layers: rowLayers,
      saved: completion === 0 ? 0 : 1 - rowLayers / (first.layers * completion),
    },
  }
}

/** `cmpl-…`, `chatcmpl-…`. */
export function newId(kind: string): string {
  return `${kind}-${randomBytes(12).toString('hex')}`
}

/** The tokenizer of a model, for what a request wants of it. */
export function tokenizerOf(model: Model): NonNullable<Model['tokenizer']> {
  if (model.tokenizer !== null) return model.tokenizer
  throw new ApiError(400, 'this model has no tokenizer: prompts must be lists of token ids', { code: 'no_tokenizer' })
}
