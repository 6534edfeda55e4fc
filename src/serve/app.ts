import { randomUUID } from 'node:crypto'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { cors } from 'hono/cors'
import type { z } from 'zod'
import type { Model } from '../engine/api.js'
import { ApiError, toApiError } from './api-error.js'
import { ChatWriter, chatMaxTokens } from './chat.js'
import { beginChoices, type Choice, resultOf, tokenizerOf } from './choices.js'
import { CompletionWriter, maxTokensOf, promptsOf } from './completions.js'
import { DepthRequests } from './depth-request.js'
import { type ChunkWriter, streamChoices } from './event-stream.js'
import { ApiKeys } from './keys.js'
import { Metrics } from './metrics.js'
import {
  type ChatRequest,
  type CommonRequest,
  type CompletionRequest,
  chatRequest,
  completionRequest,
  detokenizeRequest,
  parseRequest,
  tokenizeRequest,
} from './requests.js'

export interface ServeOptions {
  /** How clients name the model. */
  readonly name: string
  /** Depth of requests that name none; default the model's own. */
  readonly depth?: string
  /** Kinds of policies and whole SPECs that requests may ask for. */
  readonly allowDepth: readonly string[]
  /** Texts that are written or wait at once, over all requests; more are told to come later. */
  readonly mostTexts: number
  /** Bytes of a request's body at most. */
  readonly mostBytes: number
  /** None where everybody may ask. */
  readonly apiKeys: readonly string[]
  /** Host names that requests may name; null for any. */
  readonly hosts: readonly string[] | null
  /** Origins that browsers may ask from. */
  readonly origins: readonly string[]
  /** Told what the server itself did wrong. */
  readonly onFault?: (thrown: unknown) => void
  /** Told every answer, without its text. */
  readonly log?: (line: RequestLine) => void
}

export interface RequestLine {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly status: number
  readonly ms: number
}

type Env = { Variables: { client: string } }

/** Who may ask without a key. */
const PUBLIC = new Set(['/', '/health', '/ready'])

/** Seconds until a queue that is full is worth another try. */
const RETRY_AFTER = 2

const BODY_ENDS = 'the body is larger than this server takes'

/** The routes of the server, for one model. */
export class ServeApp {
  readonly hono = new Hono<Env>()
  private readonly metrics = new Metrics()
  private readonly depths: DepthRequests
  private readonly keys: ApiKeys
  private readonly created = Math.floor(Date.now() / 1000)
  private texts = 0
  private draining = false

  constructor(
    private readonly model: Model,
    private readonly options: ServeOptions,
  ) {
    this.depths = new DepthRequests(options.allowDepth, options.depth)
    this.keys = new ApiKeys(options.apiKeys)
    this.route()
  }

  /** Texts that are being written or wait. */
  get active(): number {
    return this.texts
  }

  /** From now on nothing new is begun. */
  drain(): void {
    this.draining = true
  }

  private route(): void {
    const { hono, model, options } = this
    hono.use(async (c, next) => {
      const from = performance.now()
      const id = c.req.header('x-request-id')?.slice(0, 128) || randomUUID()
      c.header('x-request-id', id)
      await next()
      this.metrics.noteAnswer(c.res.status)
      options.log?.({ id, method: c.req.method, path: c.req.path, status: c.res.status, ms: performance.now() - from })
    })
    hono.use(async (c, next) => {
      const host = (c.req.header('host') ?? '').replace(/:\d+$/, '')
      if (options.hosts !== null && !options.hosts.includes(host))
        throw new ApiError(403, `this server is not ${JSON.stringify(host)}`, { type: 'permission_error' })
      await next()
    })
    if (options.origins.length > 0) hono.use(cors({ origin: [...options.origins] }))
    hono.use(async (c, next) => {
      const client = this.keys.clientOf(c.req.header('authorization'), c.req.header('x-api-key'))
      if (client === null && !PUBLIC.has(c.req.path)) {
        const message = 'this server wants an API key: Authorization: Bearer KEY'
        throw new ApiError(401, message, { type: 'authentication_error', code: 'invalid_api_key' })
      }
      c.set('client', client ?? 'nobody')
      await next()
    })
    hono.use(
      bodyLimit({
        maxSize: options.mostBytes,
        onError: () => {
          throw new ApiError(413, BODY_ENDS, { code: 'request_too_large' })
        },
      }),
    )
    hono.get('/', (c) => c.text(`Shoal serves ${options.name}. OpenAI's API is at /v1.\n`))
    hono.get('/health', (c) => c.json({ status: 'ok' }))
    hono.get('/ready', (c) =>
      this.draining ? c.json({ status: 'draining' }, 503) : c.json({ status: 'ready', model: options.name }),
    )
    hono.get('/metrics', async (c) => {
      const text = await this.metrics.text(await model.status())
      return c.body(text, 200, { 'content-type': this.metrics.contentType })
    })
    hono.get('/v1/models', (c) => c.json({ object: 'list', data: [this.modelObject()] }))
    hono.get('/v1/models/:id{.+}', (c) => {
      this.checkModel(c.req.param('id'))
      return c.json(this.modelObject())
    })
    hono.post('/v1/completions', (c) => this.completions(c))
    hono.post('/v1/chat/completions', (c) => this.chat(c))
    hono.post('/v1/embeddings', () => {
      throw new ApiError(400, 'embeddings are not supported: Shoal runs models that generate text', {
        code: 'unsupported',
      })
    })
    for (const base of ['', '/v1']) {
      hono.post(`${base}/tokenize`, async (c) => {
        const { prompt, add_special_tokens: add = true, model: name } = await this.body(c, tokenizeRequest)
        this.checkModel(name)
        const tokens = tokenizerOf(model).encode(prompt, { addSpecialTokens: add })
        return c.json({ count: tokens.length, max_model_len: model.context, tokens })
      })
      hono.post(`${base}/detokenize`, async (c) => {
        const { tokens, model: name } = await this.body(c, detokenizeRequest)
        this.checkModel(name)
        return c.json({ prompt: tokenizerOf(model).decode(tokens) })
      })
    }
    hono.notFound((c) => {
      const error = new ApiError(404, `there is no ${c.req.method} ${c.req.path} here`, { type: 'not_found_error' })
      return c.json(error.body, 404, error.headers)
    })
    hono.onError((thrown, c) => {
      const error = toApiError(thrown)
      if (error.status === 500) options.onFault?.(thrown)
      // The rest of the body is not read, so nothing else can come over this connection.
      if (error.status === 413) c.header('connection', 'close')
      return c.json(error.body, error.status, error.headers)
    })
  }

  private modelObject(): object {
    const { name } = this.options
    const { context, hyperparameters, quantization } = this.model
    const own = { max_model_len: context, layers: hyperparameters.layers, quantization }
    return { id: name, object: 'model', created: this.created, owned_by: 'shoal', ...own }
  }

  private checkModel(name: string | undefined): void {
    if (name === undefined || name === '' || name === this.options.name) return
    const message = `there is no model ${JSON.stringify(name)} here, only ${JSON.stringify(this.options.name)}`
    throw new ApiError(404, message, { code: 'model_not_found', param: 'model' })
  }

  private async body<T extends z.ZodType>(c: Context<Env>, schema: T): Promise<z.infer<T>> {
    const bytes = await c.req.arrayBuffer()
    let body: unknown
    try {
      body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    } catch {
      throw new ApiError(400, 'the body is not JSON in UTF-8', { code: 'invalid_json' })
    }
    return parseRequest(schema, body)
  }

  private async completions(c: Context<Env>): Promise<Response> {
    const request: CompletionRequest = await this.body(c, completionRequest)
    const writer = new CompletionWriter(this.model, this.options.name, request)
    const maxTokens = maxTokensOf(request)
    return this.answer(c, request, promptsOf(request), maxTokens, writer)
  }

  private async chat(c: Context<Env>): Promise<Response> {
    const request: ChatRequest = await this.body(c, chatRequest)
    const writer = new ChatWriter(this.model, this.options.name, request)
    return this.answer(c, request, [request.messages], chatMaxTokens(request, this.model.context), writer)
  }

  /** Takes texts into the queue, and answers when they are there or as they come. */
  private async answer(
    c: Context<Env>,
    request: CommonRequest,
    prompts: Parameters<typeof beginChoices>[0]['prompts'],
    maxTokens: number,
    writer: ChunkWriter & { whole(results: Awaited<Choice['result']>[]): object },
  ): Promise<Response> {
    this.checkModel(request.model)
    const depth = this.depths.spec(request.depth, c.req.header('x-shoal-depth'))
    const leave = this.enter(prompts.length * (request.n ?? 1))
    const gone = new AbortController()
    const deadline = request.deadline_ms === undefined ? [] : [AbortSignal.timeout(request.deadline_ms)]
    const signal = AbortSignal.any([c.req.raw.signal, gone.signal, ...deadline])
    try {
      const { model, metrics } = this
      const client = c.get('client')
      const policy = await model.policy(depth, { signal })
      c.header('x-shoal-depth', encodeURI(policy.spec))
      const choices = beginChoices({ model, prompts, maxTokens, request, policy, client, signal, metrics })
      if (request.stream) {
        const usage = request.stream_options?.include_usage ?? false
        return streamChoices(c, choices, writer, { usage, gone: () => gone.abort(), done: leave })
      }
      const results = await Promise.all(choices.map(resultOf))
      leave()
      return c.json(writer.whole(results))
    } catch (error) {
      gone.abort()
      leave()
      throw error
    }
  }

  /** Counts texts as being written. Returns what ends that. */
  private enter(texts: number): () => void {
    const retry = { code: 'shutting_down', retryAfter: RETRY_AFTER }
    if (this.draining) throw new ApiError(503, 'the server is shutting down', retry)
    const { mostTexts } = this.options
    if (texts > mostTexts)
      throw new ApiError(400, `${texts} texts in one request, and ${mostTexts} at once is the most`)
    if (this.texts + texts > mostTexts) {
      const message = `${this.texts} texts are being written or wait, and ${mostTexts} is the most: try again later`
      throw new ApiError(429, message, { type: 'rate_limit_error', code: 'queue_full', retryAfter: RETRY_AFTER })
    }
    this.texts += texts
    let left = false
    return () => {
      if (!left) this.texts -= texts
      left = true
    }
  }
}
