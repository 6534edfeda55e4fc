import type { ShoalError } from '../errors.js'
import { abortedError } from './aborted.js'
import type { Engine } from './engine.js'
import type { Feed, StepResult } from './step.js'
import { nextTurn } from './turns.js'

/** A sequence that takes part in steps until it has nothing more to feed. */
export interface Job {
  /** Ends the job at once while it waits for a slot; once it runs, `feed` looks at it. */
  readonly signal?: AbortSignal | undefined
  /** What to feed in the next step; null ends the job. Called once per step; what it throws fails this job only. */
  feed(): Feed | null
  accept(result: StepResult): void
  /** The job has left the batch: with an error, or having fed all. Called once. */
  end(error?: unknown): void
}

/** The running batch of one engine: jobs join and leave between steps, and one step serves all of them. */
export class Batch {
  private readonly engine: Engine
  private readonly slots: number
  private readonly running = new Set<Job>()
  /** Jobs without a slot, each with what stops listening to its signal. */
  private readonly waiting = new Map<Job, () => void>()
  private readonly exclusive: (() => Promise<void>)[] = []
  private loop: Promise<void> | null = null
  private closed: ShoalError | null = null

  /** @param slots jobs that take part in a step at most */
  constructor(engine: Engine, slots: number) {
    this.engine = engine
    this.slots = slots
  }

  add(job: Job): void {
    if (this.closed) throw this.closed
    const { signal } = job
    if (signal?.aborted) {
      job.end(abortedError(signal.reason))
      return
    }
    const abort = () => {
      if (this.waiting.delete(job)) job.end(abortedError(signal?.reason))
    }
    signal?.addEventListener('abort', abort, { once: true })
    this.waiting.set(job, () => signal?.removeEventListener('abort', abort))
    this.start()
  }

  /** Runs an action between steps, with the engine to itself. */
  async alone<T>(action: (engine: Engine) => Promise<T>): Promise<T> {
    if (this.closed) throw this.closed
    return new Promise<T>((resolve, reject) => {
      this.exclusive.push(async () => {
        if (this.closed) reject(this.closed)
        else await action(this.engine).then(resolve, reject)
      })
      this.start()
    })
  }

  /** Ends every job with an error and waits for the step in progress. */
  async close(error: ShoalError): Promise<void> {
    this.closed = error
    while (this.loop !== null) await this.loop
  }

  private start(): void {
    // Calls made in the same turn of the event loop join the same first step.
    this.loop ??= nextTurn().then(async () => {
      try {
        await this.run()
      } finally {
        this.loop = null
        // What came after the last look at the queues would wait for ever.
        if (this.busy) this.start()
      }
    })
  }

  private get busy(): boolean {
    return this.running.size + this.waiting.size + this.exclusive.length > 0
  }

  private async run(): Promise<void> {
    while (this.busy) {
      for (const action of this.exclusive.splice(0)) await action()
      this.admit()
      await this.step()
    }
  }

  /** Gives free slots to the jobs that have waited longest. */
  private admit(): void {
    for (const [job, stopListening] of this.waiting) {
      if (this.running.size >= this.slots) return
      stopListening()
      this.waiting.delete(job)
      this.running.add(job)
    }
  }

  private async step(): Promise<void> {
    const jobs: Job[] = []
    const feeds: Feed[] = []
    for (const job of this.running) {
      try {
        if (this.closed) throw this.closed
        const feed = job.feed()
        if (feed === null) this.leave(job)
        else {
          jobs.push(job)
          feeds.push(feed)
        }
      } catch (error) {
        this.leave(job, error)
      }
    }
    if (feeds.length === 0) return
    try {
      const outcomes = await this.engine.step(feeds)
      jobs.forEach((job, i) => {
        const outcome = outcomes[i] as (typeof outcomes)[number]
        if ('error' in outcome) this.leave(job, outcome.error)
        else this.acceptSafely(job, outcome.result)
      })
    } catch (error) {
      for (const job of jobs) this.leave(job, error)
    }
  }

  private acceptSafely(job: Job, result: StepResult): void {
    try {
      job.accept(result)
    } catch (error) {
      this.leave(job, error)
    }
  }

  private leave(job: Job, error?: unknown): void {
    if (!this.running.delete(job)) return
    job.end(error)
  }
}
