import type { GenerationResult, Model } from '../engine/api.js'
import { ApiError, refused } from './api-error.js'
import { type Choice, finishReason, newId, tokenizerOf, type Usage, usageOf } from './choices.js'
import type { CompletionRequest } from './requests.js'

/** What a request without `max_tokens` gets: OpenAI's own. */
const MAX_TOKENS = 16

/** OpenAI's `/v1/completions`. */
export interface Completion {
  readonly id: string
  readonly object: 'text_completion'
  readonly created: number
  readonly model: string
  readonly choices: readonly CompletionChoice[]
  readonly usage?: Usage | null
}

interface CompletionChoice {
  readonly index: number
  readonly text: string
  readonly logprobs: CompletionLogprobs | null
  readonly finish_reason: 'stop' | 'length' | null
  /** With `depth_details`: layers that each token ran. */
  readonly depths?: readonly number[]
}

interface CompletionLogprobs {
  readonly tokens: readonly string[]
  readonly token_logprobs: readonly number[]
  readonly top_logprobs: null
  readonly text_offset: readonly number[]
}

/** The prompts of a request, each a text or ids. */
export function promptsOf({ prompt }: CompletionRequest): readonly (string | readonly number[])[] {
  if (prompt === undefined) throw new ApiError(400, 'prompt: is missing', { param: 'prompt' })
  if (typeof prompt === 'string') return [prompt]
  return typeof prompt[0] === 'number' ? [prompt as number[]] : (prompt as (string | number[])[])
}

export function maxTokensOf({ max_tokens = MAX_TOKENS, echo, logprobs }: CompletionRequest): number {
  if (echo && logprobs !== undefined) throw refused('logprobs', 'together with echo, prompts have none yet')
  if ((logprobs ?? 0) > 0) throw refused('logprobs', 'only 0, the log-probability of the token itself')
  if (max_tokens === 0 && !echo) throw new ApiError(400, 'max_tokens: 0 needs echo', { param: 'max_tokens' })
  return max_tokens
}

/** Writes the answers to one request, whole or in chunks. */
export class CompletionWriter {
  private readonly id = newId('cmpl')
  private readonly created = Math.floor(Date.now() / 1000)
  private readonly prompts: readonly (string | readonly number[])[]

  constructor(
    private readonly model: Model,
    private readonly name: string,
    private readonly request: CompletionRequest,
  ) {
    this.prompts = promptsOf(request)
  }

  whole(results: readonly GenerationResult[]): Completion {
    const choices = results.map((result, index): CompletionChoice => {
      const echo = this.echo(index)
      return {
        index,
        text: echo + result.text,
        logprobs: this.logprobs(result.tokens, result.logprobs, echo.length),
        finish_reason: finishReason(result),
        ...(this.request.depth_details ? { depths: result.depths } : {}),
      }
    })
    return { ...this.head(), choices, usage: usageOf(results, this.request.n ?? 1) }
  }

  async *chunks({ index, tokens, result }: Choice): AsyncGenerator<Completion> {
    const echo = this.echo(index)
    if (echo !== '') yield this.chunk(index, echo)
    let offset = echo.length
    for await (const { text, id, logprob, depth } of tokens) {
      yield this.chunk(index, text, this.logprobs([id], [logprob], offset), [depth])
      offset += text.length
    }
    yield this.chunk(index, '', null, [], finishReason(await result))
  }

  usage(results: readonly GenerationResult[]): Completion {
    return { ...this.head(), choices: [], usage: usageOf(results, this.request.n ?? 1) }
  }

  /** The prompt that a text begins with, where the request wants it. */
  private echo(index: number): string {
    if (!this.request.echo) return ''
    const prompt = this.prompts[Math.floor(index / (this.request.n ?? 1))] as string | readonly number[]
    return typeof prompt === 'string' ? prompt : tokenizerOf(this.model).decode(prompt)
  }

  private chunk(
    index: number,
    text: string,
    logprobs: CompletionLogprobs | null = null,
    depths: readonly number[] = [],
    reason: 'stop' | 'length' | null = null,
  ): Completion {
    const details = this.request.depth_details ? { depths } : {}
    const usage = this.request.stream_options?.include_usage ? { usage: null } : {}
    return { ...this.head(), choices: [{ index, text, logprobs, finish_reason: reason, ...details }], ...usage }
  }

  private head(): Pick<Completion, 'id' | 'object' | 'created' | 'model'> {
    return { id: this.id, object: 'text_completion', created: this.created, model: this.name }
  }

  private logprobs(ids: readonly number[], logprobs: readonly number[], from: number): CompletionLogprobs | null {
    if (this.request.logprobs === undefined) return null
    const tokenizer = tokenizerOf(this.model)
    const texts = ids.map((id) => tokenizer.decode([id], { continues: true }))
    let offset = from
    const offsets = texts.map((text) => {
      offset += text.length
      return offset - text.length
    })
    return { tokens: texts, token_logprobs: logprobs.map(bounded), top_logprobs: null, text_offset: offsets }
  }
}

/** JSON has no infinity. */
export function bounded(logprob: number): number {
  return Math.max(-9999, logprob)
}
