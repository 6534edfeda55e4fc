import type { Depth, Policy } from '../../depth/policy.js'
import { ShoalError } from '../../errors.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { PlanLosses, TextRows, TextStart, TracedLayer } from '../known-text.js'
import { loadHere } from '../load-here.js'
import type { LocalService } from '../local-service.js'
import { thrown } from '../run/attempt.js'
import type { GenerationSink } from '../schedule/generation-stream.js'
import type { Calls, WireDepth, WirePackage, WireRows, WrittenRows } from './calls.js'
import type { Answer, FromRunner, ToRunner } from './messages.js'
import { SpacedSink } from './spaced-sink.js'
import { CallerError, fromWire, toWire } from './wire-errors.js'
import { type PolicyInquiry, policyOfWire } from './wire-policy.js'

/** How a host reaches its caller. */
export interface Channel {
  post(message: FromRunner, transfer?: readonly ArrayBuffer[]): void
  /** Waits for the reply, standing still. */
  inquire(message: FromRunner & { readonly kind: 'inquiry' }): Answer
}

/** What a call may do with its caller meanwhile. */
interface Caller {
  /** Aborted where the caller wants no more. */
  readonly signal: AbortSignal
  readonly tell: (name: string, value: unknown, transfer?: readonly ArrayBuffer[]) => void
  /** Tells something and goes on when the caller has dealt with it. */
  readonly ask: (name: string, value: unknown, transfer?: readonly ArrayBuffer[]) => Promise<unknown>
  /** Asks, standing still: for what the engine must know at once. */
  readonly inquire: (name: string, value: unknown) => unknown
}

interface Running {
  readonly stop: AbortController
  readonly questions: Map<number, (answer: Answer) => void>
}

/** A service that is asked by messages. */
export class Host {
  private readonly running = new Map<number, Running>()
  private readonly losses = new Map<number, PlanLosses>()
  /** Rows of visits that last. */
  private readonly visited = new Map<number, TextRows>()
  private service: LocalService | null = null
  private tokenizer: Tokenizer | null = null
  private questions = 0

  constructor(private readonly channel: Channel) {}

  take(message: ToRunner): void {
    if (message.kind === 'abort') this.running.get(message.id)?.stop.abort()
    else if (message.kind === 'answer') this.running.get(message.id)?.questions.get(message.question)?.(message.answer)
    else void this.run(message.id, message.method as keyof Calls, message.args as never)
  }

  private async run<Method extends keyof Calls>(
    id: number,
    method: Method,
    args: Calls[Method]['args'],
  ): Promise<void> {
    const running: Running = { stop: new AbortController(), questions: new Map() }
    this.running.set(id, running)
    try {
      const value = await this.methods[method](args, this.callerOf(id, running))
      this.channel.post({ kind: 'end', id, answer: { value } }, buffersOf(value))
    } catch (error) {
      this.channel.post({ kind: 'end', id, answer: { error: toWire(thrown(error)) } })
    } finally {
      this.running.delete(id)
    }
  }

  private callerOf(id: number, { stop, questions }: Running): Caller {
    return {
      signal: stop.signal,
      tell: (name, value, transfer) => this.channel.post({ kind: 'event', id, name, value }, transfer),
      ask: (name, value, transfer) =>
        new Promise((resolve, reject) => {
          const question = this.questions++
          questions.set(question, (answer) => {
            questions.delete(question)
            if ('error' in answer) reject(errorOf(answer))
            else resolve(answer.value)
          })
          this.channel.post({ kind: 'question', id, question, name, value }, transfer)
        }),
      inquire: (name, value) => {
        const answer = this.channel.inquire({ kind: 'inquiry', id, name, value })
        if ('error' in answer) throw errorOf(answer)
        return answer.value
      },
    }
  }

  private get loaded(): LocalService {
    if (this.service === null) throw new ShoalError('disposed', 'the runner has no model')
    return this.service
  }

  private lossesOf(number: number): PlanLosses {
    const losses = this.losses.get(number)
    if (losses === undefined) throw new ShoalError('runner_lost', 'the texts were lost with the runner that held them')
    return losses
  }

  private readonly methods: {
    readonly [Method in keyof Calls]: (
      args: Calls[Method]['args'],
      caller: Caller,
    ) => Promise<Calls[Method]['result']> | Calls[Method]['result']
  } = {
    load: async ({ model, options, wantsProgress }, { signal, tell }) => {
      const loaded = await loadHere(
        model,
        { ...options, signal, ...(wantsProgress ? { progress: (info) => tell('progress', info) } : {}) },
        ({ gguf: _gguf, ...p }) => tell('package', p satisfies WirePackage),
      )
      this.service = loaded.service
      this.tokenizer = loaded.text.tokenizer
      const { package: _package, ...facts } = loaded.facts
      return facts
    },
    generate: ({ request, depth, chat }, caller) =>
      new Promise((resolve, reject) => {
        const sink: GenerationSink = {
          begun: (start) => caller.tell('begun', start),
          said: (tokens, progress) => caller.tell('said', { tokens, progress }),
          ended: (error) => (error === undefined ? resolve(undefined) : reject(error)),
        }
        const wanted = { ...request, depth: depthOf(depth, caller) }
        this.loaded.generate(wanted, new SpacedSink(sink), caller.signal, chat)
      }),
    releaseChat: (chat) => {
      this.loaded.releaseChat(chat)
      return undefined
    },
    beamSearch: ({ ids, depth, options }, caller) =>
      this.loaded.beamSearch(ids, { ...options, depth: depthOf(depth, caller), signal: caller.signal }),
    trace: ({ ids, options, wantsLayers }, { signal, ask }) => {
      const onLayer = async (layer: TracedLayer): Promise<void> => {
        // The last layer's logits are the trace's own.
        await ask('layer', layer)
      }
      return this.loaded.trace(ids, { ...options, signal, ...(wantsLayers ? { onLayer } : {}) })
    },
    score: ({ ids, depth, options, wantsProgress }, caller) => {
      const onProgress = (fed: number, total: number): void => caller.tell('fed', { fed, total })
      return this.loaded.score(ids, {
        ...options,
        depth: depthOf(depth, caller),
        signal: caller.signal,
        ...(wantsProgress ? { onProgress } : {}),
      })
    },
    predict: ({ ids, depth, options }, caller) =>
      this.loaded.predict(ids, { ...options, depth: depthOf(depth, caller), signal: caller.signal }),
    measure: ({ measurement, anew }, { signal, tell }) =>
      this.loaded.measured(measurement, { anew, signal, onMeasure: (progress) => tell('measure', progress) }),
    openLosses: ({ losses, texts, options }) => {
      this.losses.set(losses, this.loaded.planLosses(texts, options))
      return undefined
    },
    lossesOf: ({ losses, plan, options, startLayer }, { signal, inquire }) => {
      const row = (index: number): Float32Array => inquire('startRow', index) as Float32Array
      const start: TextStart | null = startLayer === null ? null : { layer: startLayer, row }
      return this.lossesOf(losses).of(plan, { ...options, signal, ...(start === null ? {} : { start }) })
    },
    riseLosses: async ({ losses, rise }, { signal, ask }) => {
      await this.lossesOf(losses).rise({ ...rise, signal }, async (rows) => {
        this.visited.set(losses, rows)
        try {
          const shown = wireRows(rows, rise.mlpAfter?.includes(rows.layer) === true)
          for (const [index, row] of (await ask('rows', shown, buffersOf(shown))) as WrittenRows) rows.write(index, row)
        } finally {
          this.visited.delete(losses)
        }
      })
      return undefined
    },
    readHead: async ({ losses, rows, lens }, { tell }) => {
      const visited = this.visited.get(losses)
      const see = (index: number, logits: Float32Array, probabilities: Float32Array): void =>
        tell('row', { index, logits: logits.slice(), probabilities: probabilities.slice() })
      await visited?.head(rows, see, lens ?? undefined)
      return undefined
    },
    promptLosses: ({ losses }, { signal }) => this.lossesOf(losses).prompts(signal),
    closeLosses: async ({ losses }) => {
      await this.losses.get(losses)?.dispose()
      this.losses.delete(losses)
      return undefined
    },
    status: () => this.loaded.status(),
    dispose: async () => {
      await this.service?.dispose()
      this.tokenizer?.dispose()
      return undefined
    },
  }
}

function depthOf(depth: WireDepth, { inquire }: Caller): Depth {
  if (typeof depth === 'string') return depth
  return policyOfWire(depth, (inquiry: PolicyInquiry) => inquire('policy', inquiry)) satisfies Policy
}

function errorOf({ error }: { readonly error: Parameters<typeof fromWire>[0] }): unknown {
  return error.kind === 'caller' ? new CallerError(error.number) : fromWire(error)
}

function wireRows(rows: TextRows, withMlp: boolean): WireRows {
  const { layer, count } = rows
  const all = (of: (row: number) => Float32Array): Float32Array => {
    const width = of(0).length
    const joined = new Float32Array(count * width)
    for (let row = 0; row < count; row++) joined.set(of(row), row * width)
    return joined
  }
  return { layer, count, hidden: all((row) => rows.hidden(row)), mlp: withMlp ? all((row) => rows.mlp(row)) : null }
}

/** Memory of a result's arrays, which goes to the caller whole instead of being copied. */
function buffersOf(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>()
  const look = (one: unknown): void => {
    if (ArrayBuffer.isView(one)) {
      const { buffer, byteLength } = one
      if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength && byteLength > 0) found.add(buffer)
    } else if (Array.isArray(one)) one.forEach(look)
  }
  if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) Object.values(value).forEach(look)
  look(value)
  return [...found]
}
