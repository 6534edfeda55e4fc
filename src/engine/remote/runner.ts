import { ShoalError } from '../../errors.js'
import { abortedError, onAbort } from '../run/aborted.js'
import { thrown } from '../run/attempt.js'
import type { Calls } from './calls.js'
import { type Link, startProcess, startThread } from './link.js'
import type { Answer, FromRunner } from './messages.js'
import { fromWire } from './wire-errors.js'

/** Where a runner lives. */
export type Place = 'thread' | 'process'

/** What a call's caller does with what the runner tells and asks meanwhile, by name. */
export type Handlers = Readonly<Record<string, (value: never) => unknown>>

interface Pending {
  readonly handlers: Handlers
  readonly signal: AbortSignal | undefined
  /** What the caller's own code threw. */
  readonly thrown: unknown[]
  /** Where what it threw ends the call, though the runner does not wait for it. */
  failure: Answer | null
  readonly stopListening: () => void
  settle(answer: { readonly value: unknown } | { readonly error: unknown }): void
}

/** A runner as its caller has it: calls go in, and come to one end each, whatever becomes of the runner. */
export class Runner {
  private readonly link: Link
  private readonly pending = new Map<number, Pending>()
  private next = 0
  private lost: ShoalError | null = null

  constructor(place: Place) {
    const start = place === 'process' ? startProcess : startThread
    this.link = start({ message: (message) => this.take(message), exit: (why) => this.end(why) })
    this.link.hold(false)
  }

  /** False once it is gone. */
  get alive(): boolean {
    return this.lost === null
  }

  /** @throws ShoalError `aborted`; `runner_lost` where the runner ends before the call does */
  call<Method extends keyof Calls>(
    method: Method,
    args: Calls[Method]['args'],
    { handlers = {}, signal }: { handlers?: Handlers; signal?: AbortSignal | undefined } = {},
  ): Promise<Calls[Method]['result']> {
    return new Promise((resolve, reject) => {
      if (this.lost !== null) return reject(this.lost)
      if (signal?.aborted) return reject(abortedError(signal.reason))
      const id = this.next++
      const stopListening = onAbort(signal, () => this.link.post({ kind: 'abort', id }))
      this.pending.set(id, {
        handlers,
        signal,
        thrown: [],
        failure: null,
        stopListening,
        settle: (answer) => ('error' in answer ? reject(answer.error) : resolve(answer.value as never)),
      })
      if (this.pending.size === 1) this.link.hold(true)
      this.link.post({ kind: 'call', id, method, args })
    })
  }

  async terminate(): Promise<void> {
    await this.link.terminate()
  }

  private take(message: FromRunner): void {
    const call = this.pending.get(message.id)
    if (call === undefined) return
    switch (message.kind) {
      case 'event': {
        const told = this.handle(call, message.name, message.value)
        if ('value' in told) return
        call.failure ??= told
        this.link.post({ kind: 'abort', id: message.id })
        return
      }
      case 'inquiry':
        this.reply(call, this.handle(call, message.name, message.value))
        return
      case 'question':
        void this.answer(call, message)
        return
      case 'end':
        this.settle(message.id, call, message.answer)
    }
  }

  /** The runner stands still until it has a reply: what no message can carry is an error. */
  private reply(call: Pending, answer: Answer): void {
    try {
      this.link.reply(answer)
    } catch (error) {
      this.link.reply(threw(call, error))
    }
  }

  private async answer(call: Pending, { id, question, name, value }: FromRunner & { kind: 'question' }): Promise<void> {
    const first = this.handle(call, name, value)
    let answer: Answer = first
    try {
      if ('value' in first) answer = { value: await first.value }
    } catch (error) {
      answer = threw(call, error)
    }
    try {
      this.link.post({ kind: 'answer', id, question, answer })
    } catch (error) {
      this.link.post({ kind: 'answer', id, question, answer: threw(call, error) })
    }
  }

  private handle(call: Pending, name: string, value: unknown): Answer {
    try {
      return { value: call.handlers[name]?.(value as never) }
    } catch (error) {
      return threw(call, error)
    }
  }

  private settle(id: number, call: Pending, answer: Answer): void {
    this.remove(id, call)
    const end = call.failure ?? answer
    if ('value' in end) call.settle(end)
    else call.settle({ error: errorOf(call, end) })
  }

  private remove(id: number, call: Pending): void {
    call.stopListening()
    this.pending.delete(id)
    if (this.pending.size === 0) this.link.hold(false)
  }

  private end(why: string): void {
    this.lost = new ShoalError(
      'runner_lost',
      `what computes for the model is gone: ${why}; the next call starts it anew`,
    )
    for (const [id, call] of this.pending) {
      this.remove(id, call)
      call.settle({ error: this.lost })
    }
  }
}

/** What a caller's code threw stays here: the runner learns of it by number, and gives the number back. */
function threw(call: Pending, error: unknown): Answer {
  return { error: { kind: 'caller', number: call.thrown.push(thrown(error)) - 1 } }
}

function errorOf({ thrown, signal }: Pending, answer: { readonly error: Parameters<typeof fromWire>[0] }): unknown {
  const error = fromWire(answer.error, thrown)
  // Its cause is the caller's, who has it here.
  const stopped = signal?.aborted && error instanceof ShoalError && error.code === 'aborted'
  return stopped ? abortedError(signal.reason) : error
}
