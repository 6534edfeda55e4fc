import { request as httpRequest } from 'node:http'
import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import type { Model } from '../engine/api.js'
import { FREE_KINDS } from './depth-request.js'
import { type ListenOptions, listen, type RunningServer } from './server.js'

const workspace = useWorkspace()
let model: Model
let server: RunningServer
let client: OpenAI
const others: RunningServer[] = []

const OPTIONS: ListenOptions = {
  host: '127.0.0.1',
  port: 0,
  name: 'ripple-8m',
  allowDepth: FREE_KINDS,
  mostTexts: 8,
  mostBytes: 100_000,
  apiKeys: [],
  origins: [],
}

async function serve(options: Partial<ListenOptions>): Promise<RunningServer> {
  const running = await listen(model, { ...OPTIONS, ...options })
  others.push(running)
  return running
}

function clientOf({ url }: RunningServer, apiKey = 'none'): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 })
}

beforeAll(async () => {
  model = await workspace.load('ripple-8m', { thread: true, slots: 4, prefixCache: 2 })
  server = await listen(model, OPTIONS)
  client = clientOf(server)
})
afterEach(async () => {
  for (const other of others.splice(0)) await other.close(0)
})
afterAll(async () => server.close(0))

/** Waits until nothing runs and nobody waits. */
async function idle(): Promise<void> {
  for (let status = await model.status(); status.running + status.waiting > 0; status = await model.status()) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Waits until so many texts are written or wait. */
async function busy(texts: number): Promise<void> {
  for (let status = await model.status(); status.running + status.waiting < texts; status = await model.status()) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function post(path: string, body: string | object, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

/** What a status and an error's body say. */
async function told(
  response: Response,
): Promise<{ status: number; code: string | null; param: string | null; message: string }> {
  const { error } = (await response.json()) as { error: { code: string | null; param: string | null; message: string } }
  return { status: response.status, ...error }
}

describe('completions for the openai client', () => {
  it('are what the model says, with what they cost', async () => {
    const alone = await model.generate('Once upon a time', { maxTokens: 12 }).result
    const answer = await client.completions.create({
      model: 'ripple-8m',
      prompt: 'Once upon a time',
      max_tokens: 12,
      temperature: 0,
    })
    expect(answer.choices).toMatchObject([{ index: 0, text: alone.text, finish_reason: 'length', logprobs: null }])
    expect(answer.usage).toMatchObject({
      prompt_tokens: alone.promptTokens.length,
      completion_tokens: 12,
      total_tokens: alone.promptTokens.length + 12,
      depth: { policy: 'full', layers: 16, mean_depth: 16, row_layers: 192, saved: 0 },
    })
    expect(answer.id).toMatch(/^cmpl-/)
  })

  it('take ids, several prompts, n, seeds and stop texts', async () => {
    const ids = model.tokenizer!.encode('The sea', { addSpecialTokens: false })
    const options = { maxTokens: 10, temperature: 0.8, stop: '.' }
    const alone = []
    for (const prompt of ['Once upon a time', 'A storm']) {
      for (const seed of [5, 6]) alone.push((await model.generate(prompt, { ...options, seed }).result).text)
    }
    const answer = await client.completions.create({
      model: 'ripple-8m',
      prompt: ['Once upon a time', 'A storm'],
      n: 2,
      seed: 5,
      max_tokens: 10,
      temperature: 0.8,
      stop: '.',
    })
    expect(answer.choices.map(({ text }) => text)).toEqual(alone)
    const two = await client.completions.create({
      model: 'ripple-8m',
      prompt: [ids, ids],
      max_tokens: 3,
      temperature: 0,
    })
    const one = await client.completions.create({
      model: 'ripple-8m',
      prompt: ids,
      max_tokens: 3,
      temperature: 0,
      echo: true,
    })
    expect(two.choices.map(({ text }) => text)).toEqual(
      [one.choices[0]!.text, one.choices[0]!.text].map((text) => text.slice('The sea'.length)),
    )
    expect(one.choices[0]!.text).toMatch(/^The sea/)
  })

  it('come in chunks that are the whole text together', async () => {
    const wanted = { model: 'ripple-8m', prompt: ['The sea', 'A storm'], max_tokens: 15, temperature: 0 }
    const whole = await client.completions.create({ ...wanted, logprobs: 0 })
    const texts = ['', '']
    const reasons: unknown[] = []
    let usage: OpenAI.CompletionUsage | null | undefined
    for await (const chunk of await client.completions.create({
      ...wanted,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      for (const { index, text, finish_reason } of chunk.choices) {
        texts[index] += text
        if (finish_reason !== null) reasons.push(finish_reason)
      }
      usage = chunk.usage
    }
    expect(texts).toEqual(whole.choices.map(({ text }) => text))
    expect(reasons).toEqual(['length', 'length'])
    expect(usage).toMatchObject({ completion_tokens: 30 })
    const { logprobs, text } = whole.choices[0]!
    expect(logprobs!.tokens!.join('')).toBe(text)
    expect(logprobs!.text_offset![1]).toBe(logprobs!.tokens![0]!.length)
  })
})

describe('chats for the openai client', () => {
  const messages = [{ role: 'user' as const, content: 'Hello there' }]

  it('are what the template and the model make of them, whole and streamed', async () => {
    const alone = await model.generate(messages, { maxTokens: 12 }).result
    const wanted = { model: 'ripple-8m', messages, max_completion_tokens: 12, temperature: 0 }
    const whole = await client.chat.completions.create({ ...wanted, logprobs: true })
    expect(whole.choices[0]).toMatchObject({
      message: { role: 'assistant', content: alone.text },
      finish_reason: 'length',
    })
    expect(whole.choices[0]!.logprobs!.content).toHaveLength(12)
    const stream = client.chat.completions.stream({ ...wanted, stream_options: { include_usage: true } })
    const final = await stream.finalChatCompletion()
    expect(final.choices[0]!.message.content).toBe(alone.text)
    expect(final.usage).toMatchObject({ completion_tokens: 12 })
  })

  it('take contents in parts', async () => {
    const parts = [
      {
        role: 'user' as const,
        content: [
          { type: 'text' as const, text: 'Hello ' },
          { type: 'text' as const, text: 'there' },
        ],
      },
    ]
    const [whole, parted] = await Promise.all(
      [messages, parts].map((messages) =>
        client.chat.completions.create({ model: 'ripple-8m', messages, max_tokens: 6, temperature: 0 }),
      ),
    )
    expect(parted!.choices[0]!.message).toEqual(whole!.choices[0]!.message)
  })

  it('that are left give their slot back', async () => {
    const stream = await client.chat.completions.create({
      model: 'ripple-8m',
      messages,
      max_tokens: 900,
      stream: true,
      ignore_eos: true,
    } as OpenAI.ChatCompletionCreateParamsStreaming)
    for await (const _ of stream) break
    await idle()
    const abort = new AbortController()
    const waiting = client.chat.completions.create(
      { model: 'ripple-8m', messages, max_tokens: 900 },
      { signal: abort.signal },
    )
    setTimeout(() => abort.abort(), 50)
    await expect(waiting).rejects.toThrow(/abort/i)
    await idle()
  })
})

describe('depth', () => {
  it('is asked for by body or header, told in the answer, and of tokens with depth_details', async () => {
    const body = { prompt: 'The sea', max_tokens: 8, temperature: 0, depth: 'exit:7', depth_details: true }
    const answer = (await (await post('/v1/completions', body)).json()) as {
      choices: { depths: number[] }[]
      usage: { depth: object }
    }
    expect(answer.choices[0]!.depths).toEqual(Array(8).fill(8))
    expect(answer.usage.depth).toMatchObject({ policy: 'exit:7', mean_depth: 8, saved: 0.5 })
    const { depth: _, ...plain } = body
    const byHeader = await post('/v1/completions', plain, { 'x-shoal-depth': 'layers:0,3,7,15' })
    expect(byHeader.headers.get('x-shoal-depth')).toBe('layers:0,3,7,15')
    const streamed = await post('/v1/completions', { ...body, stream: true })
    expect(streamed.headers.get('x-shoal-depth')).toBe('exit:7')
    await streamed.text()
  })

  it('is refused where it is not allowed or wrong', async () => {
    const ask = async (depth: unknown) => told(await post('/v1/completions', { prompt: 'a', depth }))
    expect(await ask('plan:/etc/passwd')).toMatchObject({ status: 400, code: 'depth_not_allowed', param: 'depth' })
    for (const spec of [
      'gap:0.8,lens=/a:b',
      'unified:2x,bridge=x.gguf',
      'unified:2x,batch=512',
      'gap:0.5,  lens = x',
    ]) {
      expect(await ask(spec)).toMatchObject({ status: 400, code: 'depth_not_allowed' })
    }
    expect(await ask('gap:9')).toMatchObject({ status: 400, code: 'invalid_depth', param: 'depth' })
    expect(await ask('exit:99')).toMatchObject({ status: 400, code: 'invalid_depth' })
    expect(await ask({ target: 0.5 })).toMatchObject({ status: 400, param: 'depth.target' })
    const narrow = clientOf(await serve({ allowDepth: ['exit:3'], depth: 'exit:7' }))
    const answer = await narrow.completions.create({ model: 'ripple-8m', prompt: 'a', max_tokens: 2 })
    expect(answer.usage).toMatchObject({ depth: { policy: 'exit:7' } })
    await expect(
      narrow.completions.create({
        model: 'ripple-8m',
        prompt: 'a',
        depth: 'exit:5',
      } as OpenAI.CompletionCreateParamsNonStreaming),
    ).rejects.toThrow(/not allowed: this server allows exit:3, exit:7/)
  })
})

describe('requests that cannot be answered', () => {
  it.each([
    ['{"prompt": ', 400, 'invalid_json', null],
    ['[]', 400, null, null],
    ['{}', 400, null, 'prompt'],
    [{ prompt: 'a', max_tokens: -1 }, 400, null, 'max_tokens'],
    [{ prompt: 'a', max_tokens: 'many' }, 400, null, 'max_tokens'],
    [{ prompt: 'a', suffix: 'b' }, 400, 'unsupported_parameter', 'suffix'],
    [{ prompt: 'a', best_of: 3 }, 400, 'unsupported_parameter', 'best_of'],
    [{ prompt: 'a', grammar: 'x' }, 400, 'unsupported_parameter', 'grammar'],
    [{ prompt: 'a', presence_penalty: 1 }, 400, 'unsupported_parameter', 'presence_penalty'],
    [{ prompt: 'a', logit_bias: { 5: 1 } }, 400, 'unsupported_parameter', 'logit_bias'],
    [{ prompt: [1, 99_999_999] }, 400, 'input_invalid', null],
    [{ prompt: Array(2000).fill(5) }, 400, 'context_length_exceeded', 'prompt'],
    [{ prompt: 'a', n: 20 }, 400, null, null],
    [{ prompt: 'a', model: 'gpt-4o' }, 404, 'model_not_found', 'model'],
    [{ prompt: 'x'.repeat(200_000) }, 413, 'request_too_large', null],
  ])('%#: are told why', async (body, status, code, param) => {
    expect(await told(await post('/v1/completions', body))).toMatchObject({ status, code, param })
  })

  it('ignore what says nothing of the answer', async () => {
    const body = {
      prompt: 'a',
      max_tokens: 1,
      user: 'u',
      metadata: { a: 1 },
      store: true,
      service_tier: 'auto',
      best_of: 1,
      suffix: null,
    }
    expect((await post('/v1/completions', body)).status).toBe(200)
  })

  it('are OpenAI errors for its client', async () => {
    await expect(client.completions.create({ model: 'other', prompt: 'a' })).rejects.toBeInstanceOf(
      OpenAI.NotFoundError,
    )
    await expect(client.embeddings.create({ model: 'ripple-8m', input: 'a' })).rejects.toThrow(
      /embeddings are not supported/,
    )
    expect(await told(await fetch(`${server.url}/v1/nothing`))).toMatchObject({ status: 404 })
  })

  it('are told to come later where too many wait', async () => {
    const many = Array.from({ length: 8 }, () =>
      client.completions.create({ model: 'ripple-8m', prompt: 'a', max_tokens: 200 }),
    )
    await busy(8)
    const response = await post('/v1/completions', { prompt: 'a' })
    expect(response.headers.get('retry-after')).toBe('2')
    expect(response.headers.get('x-should-retry')).toBe('true')
    expect(await told(response)).toMatchObject({ status: 429, code: 'queue_full' })
    await Promise.all(many)
    expect((await post('/v1/completions', { prompt: 'a', max_tokens: 1 })).status).toBe(200)
  })

  it('end at their deadline', async () => {
    const body = { prompt: 'a', max_tokens: 1000, ignore_eos: true, deadline_ms: 60 }
    expect(await told(await post('/v1/completions', body))).toMatchObject({ status: 408, code: 'deadline_exceeded' })
    const text = await (await post('/v1/completions', { ...body, stream: true })).text()
    expect(text).toMatch(/"code":"deadline_exceeded"[^\n]*\n\ndata: \[DONE\]\n\n$/)
    await idle()
  })
})

describe('the server', () => {
  it('wants a key where there is one, and none for its health', async () => {
    const guarded = await serve({ apiKeys: ['first', 'second'] })
    await expect(clientOf(guarded).models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
    expect((await clientOf(guarded, 'second').models.list()).data).toMatchObject([{ id: 'ripple-8m', object: 'model' }])
    expect((await fetch(`${guarded.url}/health`)).status).toBe(200)
    for (const path of ['/metrics', '/v1/models', '/v1/../v1/models', '/%2e/health/../v1/models']) {
      expect((await fetch(`${guarded.url}${path}`)).status).not.toBe(200)
    }
    await expect(listen(model, { ...OPTIONS, host: '0.0.0.0' })).rejects.toThrow(/give API keys/)
  })

  it('answers to its own name only', async () => {
    const { port } = new URL(server.url)
    const status = await new Promise((resolve) => {
      httpRequest({ port, host: '127.0.0.1', path: '/v1/models', headers: { host: 'evil.example' } }, (response) => {
        response.resume()
        resolve(response.statusCode)
      }).end()
    })
    expect(status).toBe(403)
  })

  it('tells tokens, and what it has done', async () => {
    const tokens = (await (await post('/tokenize', { prompt: 'The sea' })).json()) as {
      tokens: number[]
      count: number
    }
    expect(tokens.tokens).toEqual(model.tokenizer!.encode('The sea'))
    const text = await (await post('/v1/detokenize', { tokens: tokens.tokens })).json()
    expect(text).toEqual({ prompt: '<s>The sea' })
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toMatch(/shoal:generation_tokens_total [1-9]/)
    expect(metrics).toContain('shoal:num_requests_running 0')
    expect(metrics).toMatch(/shoal:time_to_first_token_seconds_count [1-9]/)
  })

  it('lets texts end when it closes, says so meanwhile, and begins no others', async () => {
    const closing = await serve({})
    const running = clientOf(closing).completions.create({ model: 'ripple-8m', prompt: 'a', max_tokens: 300 })
    await busy(1)
    const closed = closing.close(60_000)
    expect((await fetch(`${closing.url}/ready`)).status).toBe(503)
    expect((await fetch(`${closing.url}/health`)).status).toBe(200)
    const other = await fetch(`${closing.url}/v1/completions`, { method: 'POST', body: '{"prompt": "a"}' })
    expect(await told(other)).toMatchObject({ status: 503, code: 'shutting_down' })
    expect((await running).usage!.completion_tokens).toBeGreaterThan(0)
    await closed
    await expect(fetch(`${closing.url}/health`)).rejects.toThrow()
  })

  it('says what is wrong with an address', async () => {
    const port = Number(new URL(server.url).port)
    await expect(listen(model, { ...OPTIONS, port })).rejects.toThrow(/another program has that port/)
  })

  it('takes no larger body in pieces either', async () => {
    const piece = new TextEncoder().encode('x'.repeat(50_000))
    const body = new ReadableStream({
      start(stream) {
        for (let i = 0; i < 4; i++) stream.enqueue(piece)
        stream.close()
      },
    })
    const sent = { method: 'POST', body, duplex: 'half' } as RequestInit
    expect(await told(await fetch(`${server.url}/v1/completions`, sent))).toMatchObject({ status: 413 })
  })

  it('is not talked past its key by a Host', async () => {
    const guarded = await serve({ apiKeys: ['key'], host: '127.0.0.1' })
    const { port } = new URL(guarded.url)
    for (const host of ['127.0.0.1/health?', '127.0.0.1/health#', 'localhost/ready?x=', `127.0.0.1:${port}/health?`]) {
      const status = await new Promise((resolve) => {
        httpRequest({ port, host: '127.0.0.1', path: '/v1/models', headers: { host } }, (response) => {
          response.resume()
          resolve(response.statusCode)
        }).end()
      })
      expect([400, 401, 403], host).toContain(status)
    }
  })
})
