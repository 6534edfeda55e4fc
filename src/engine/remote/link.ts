import { type ChildProcess, fork } from 'node:child_process'
import { MessageChannel, Worker } from 'node:worker_threads'
import type { Answer, FromRunner, ToRunner } from './messages.js'

/** The way to a runner: messages in order, and one end. */
export interface Link {
  post(message: ToRunner, transfer?: readonly ArrayBuffer[]): void
  /** Answers an inquiry: the runner stands still until then. */
  reply(answer: Answer): void
  /** Whether the program goes on for the runner's sake. */
  hold(held: boolean): void
  /** Ends the runner, whatever it does. */
  terminate(): Promise<void>
}

export interface LinkEvents {
  message(message: FromRunner): void
  /** The runner is gone. Called once. @param why for people */
  exit(why: string): void
}

/** What a runner's thread is given. */
export interface ThreadData {
  /** [number of replies]: counted up by whoever replies. */
  readonly replied: SharedArrayBuffer
}

/** A runner in a thread of this process. */
export function startThread(events: LinkEvents): Link {
  const replied = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  const flag = new Int32Array(replied)
  const { port1: replies, port2 } = new MessageChannel()
  const workerData: ThreadData & { readonly replies: typeof port2 } = { replied, replies: port2 }
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData, transferList: [port2] })
  let why = 'it ended'
  worker.on('message', (message: FromRunner) => events.message(message))
  worker.on('error', (error: Error) => {
    why = error.message
  })
  worker.on('exit', () => {
    replies.close()
    events.exit(why)
  })
  replies.unref()
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    reply(answer) {
      replies.postMessage(answer)
      Atomics.add(flag, 0, 1)
      Atomics.notify(flag, 0)
    },
    hold: (held) => (held ? worker.ref() : worker.unref()),
    async terminate() {
      // The program waits for that.
      worker.ref()
      await worker.terminate()
    },
  }
}

/** What goes to a runner's process: messages for the runner, and replies. */
export type ToProcess =
  | { readonly kind: 'post'; readonly message: ToRunner }
  | { readonly kind: 'reply'; readonly answer: Answer }

/** A runner in a process of its own. */
export function startProcess(events: LinkEvents): Link {
  const child: ChildProcess = fork(new URL('./process.js', import.meta.url), [], {
    serialization: 'advanced',
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const send = (message: ToProcess): void => {
    // A process that is gone has said so, or is about to.
    if (child.connected) child.send(message, () => undefined)
  }
  let over = false
  const exit = (why: string): void => {
    if (over) return
    over = true
    events.exit(why)
  }
  child.on('message', (message) => events.message(message as FromRunner))
  child.on('error', (error) => exit(error.message))
  child.on('exit', (code, signal) => exit(signal === null ? `it ended with code ${code}` : `it was ended by ${signal}`))
  return {
    post: (message) => send({ kind: 'post', message }),
    reply: (answer) => send({ kind: 'reply', answer }),
    hold(held) {
      if (held) {
        child.ref()
        child.channel?.ref()
      } else {
        child.unref()
        child.channel?.unref()
      }
    },
    async terminate() {
      if (over) return
      const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      child.ref()
      child.kill('SIGKILL')
      await ended
    },
  }
}
