import type { GenerationResult, Model } from '../engine/api.js'
import { refused } from './api-error.js'
import { type Choice, finishReason, newId, tokenizerOf, type Usage, usageOf } from './choices.js'
import { bounded } from './completions.js'
import type { ChatRequest } from './requests.js'

interface Logprobs {
  readonly content: readonly {
    readonly token: string
    readonly logprob: number
    readonly bytes: readonly number[]
    readonly top_logprobs: readonly never[]
  }[]
  readonly refusal: null
}

interface Details {
  readonly depths?: readonly number[]
}

/** OpenAI's `/v1/chat/completions`. */
export interface ChatCompletion {
  readonly id: string
  readonly object: 'chat.completion'
  readonly created: number
  readonly model: string
  readonly choices: readonly (Details & {
    readonly index: number
    readonly message: { readonly role: 'assistant'; readonly content: string; readonly refusal: null }
    readonly logprobs: Logprobs | null
    readonly finish_reason: 'stop' | 'length'
  })[]
  readonly usage: Usage
}

export interface ChatChunk {
  readonly id: string
  readonly object: 'chat.completion.chunk'
  readonly created: number
  readonly model: string
  readonly choices: readonly (Details & {
    readonly index: number
    readonly delta: { readonly role?: 'assistant'; readonly content?: string }
    readonly logprobs: Logprobs | null
    readonly finish_reason: 'stop' | 'length' | null
  })[]
  readonly usage?: Usage | null
}

/** Without a number of its own an answer may fill the context. */
export function chatMaxTokens(request: ChatRequest, context: number): number {
  const { top_logprobs = 0, response_format: format } = request
  if (top_logprobs > 0) throw refused('top_logprobs', 'only 0, the log-probability of the token itself')
  if (format !== undefined && format.type !== 'text') throw refused('response_format', 'only {"type": "text"}')
  return request.max_completion_tokens ?? request.max_tokens ?? context
}

/** Writes the answers to one request, whole or in chunks. */
export class ChatWriter {
  private readonly id = newId('chatcmpl')
  private readonly created = Math.floor(Date.now() / 1000)

  constructor(
    private readonly model: Model,
    private readonly name: string,
    private readonly request: ChatRequest,
  ) {}

  whole(results: readonly GenerationResult[]): ChatCompletion {
    const { id, created, name: model } = this
    const choices = results.map((result, index) => ({
      index,
      message: { role: 'assistant' as const, content: result.text, refusal: null },
      logprobs: this.logprobs(result.tokens, result.logprobs),
      finish_reason: finishReason(result),
      ...this.details(result.depths),
    }))
    return { id, object: 'chat.completion', created, model, choices, usage: usageOf(results, this.request.n ?? 1) }
  }

  async *chunks({ index, tokens, result }: Choice): AsyncGenerator<ChatChunk> {
    yield this.chunk(index, { role: 'assistant', content: '' })
    for await (const { text, id, logprob, depth } of tokens) {
      yield this.chunk(index, { content: text }, this.logprobs([id], [logprob]), [depth])
    }
    yield this.chunk(index, {}, null, [], finishReason(await result))
  }

  usage(results: readonly GenerationResult[]): ChatChunk {
    return { ...this.head(), choices: [], usage: usageOf(results, this.request.n ?? 1) }
  }

  private chunk(
    index: number,
    delta: { readonly role?: 'assistant'; readonly content?: string },
    logprobs: Logprobs | null = null,
    depths: readonly number[] = [],
    reason: 'stop' | 'length' | null = null,
  ): ChatChunk {
    const usage = this.request.stream_options?.include_usage ? { usage: null } : {}
    const choice = { index, delta, logprobs, finish_reason: reason, ...this.details(depths) }
    return { ...this.head(), choices: [choice], ...usage }
  }

  private head(): Pick<ChatChunk, 'id' | 'object' | 'created' | 'model'> {
    return { id: this.id, object: 'chat.completion.chunk', created: this.created, model: this.name }
  }

  private details(depths: readonly number[]): Details {
    return this.request.depth_details ? { depths } : {}
  }

  private logprobs(ids: readonly number[], logprobs: readonly number[]): Logprobs | null {
    if (!this.request.logprobs) return null
    const tokenizer = tokenizerOf(this.model)
    const content = ids.map((id, i) => {
      const token = tokenizer.decode([id], { continues: true })
      return { token, logprob: bounded(logprobs[i] as number), bytes: [...Buffer.from(token)], top_logprobs: [] }
    })
    return { content, refusal: null }
  }
}
