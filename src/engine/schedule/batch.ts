import type { ShoalError } from '../../errors.js'
import { abortedError, onAbort } from '../run/aborted.js'
import { thrown } from '../run/attempt.js'
import type { Engine } from '../run/engine.js'
import { Pauses } from '../run/pauses.js'
import type { Feed, StepOutcome, StepResult } from '../run/step.js'
import { nextTurn } from '../run/turns.js'
import { type KeptCells, KvRoom } from './kv-room.js'

/** A sequence, or several that belong together, that take part in steps until there is nothing more to feed. */
export interface Job {
  /** Slots that it takes: the most feeds that it has in a step; default 1. */
  readonly width?: number
  /** Of those that wait, jobs with a greater one go first; default 0. */
  readonly priority?: number
  /** Whose job it is: of equal priority, those go first whose caller has fewer slots. */
  readonly client?: string | undefined
  /** Cells of the KV cache that it may come to need; default none. */
  readonly cells?: number
  /** What it has in the cache from before: counted as idle until the job runs. */
  readonly idle?: KeptCells | null
  /** Ends the job at once while it waits for a slot; once it runs, `feed` looks at it. */
  readonly signal?: AbortSignal | undefined
  /** What to feed in the next step; null ends the job. Called once per step; what it throws fails this job only. */
  feed(): readonly Feed[] | null
  /** @param results of the feeds, in their order */
  accept(results: readonly StepResult[]): void
  /** The job has left the batch: with an error, or having fed all. Called once. */
  end(error?: unknown): void
}

/** A job and what it wants to be fed. */
interface Fed {
  readonly job: Job
  readonly feeds: readonly Feed[]
}

/** Without work for so long, in ms, the engine gives back memory that only work needs. */
const IDLE_MS = 10_000

/** Rows of a sequence that decodes, at most: its token and drafts of others. */
const MOST_DECODING_ROWS = 8

/** A prompt goes before one that is under way where it has at most this share of its rows. */
const OVERTAKES = 0.25

/**
 * The running batch of one engine: jobs join and leave between steps, and one step serves all of them. Long prompts have a step of their own, which
 * pauses for the others' steps.
 */
export class Batch {
  private readonly engine: Engine
  private readonly slots: number
  private readonly running = new Set<Job>()
  /** Running jobs whose step is under way, and prompts that were asked for already and wait for the one under way. */
  private readonly climbing = new Set<Job>()
  private readonly held = new Map<Job, readonly Feed[]>()
  /** Cells that running jobs have reserved. */
  private readonly reserved = new Map<Job, number>()
  /** Jobs without a slot, each with what stops listening to its signal. */
  private readonly waiting = new Map<Job, () => void>()
  private readonly exclusive: (() => Promise<void>)[] = []
  private loop: Promise<void> | null = null
  private closed: ShoalError | null = null
  private idle: NodeJS.Timeout | undefined

  private readonly room: KvRoom
  private readonly idleMs: number | null

  constructor(
    engine: Engine,
    options: {
      /** Sequences that take part in a step at most. */
      readonly slots: number
      /** Default without bounds. */
      readonly room?: KvRoom
      /** Time without work after which the engine gives back memory; null in a batch beside the engine's own. */
      readonly idleMs?: number | null
    },
  ) {
    this.engine = engine
    this.slots = options.slots
    this.room = options.room ?? new KvRoom(Number.POSITIVE_INFINITY, 0)
    this.idleMs = options.idleMs === undefined ? IDLE_MS : options.idleMs
  }

  /** Slots that are in use, and jobs that wait for some. */
  get status(): { readonly running: number; readonly waiting: number } {
    return { running: this.slotsInUse, waiting: this.waiting.size }
  }

  add(job: Job): void {
    if (this.closed) throw this.closed
    const { signal } = job
    if (signal?.aborted) {
      job.end(abortedError(signal.reason))
      return
    }
    try {
      this.room.check(job.cells ?? 0)
    } catch (error) {
      job.end(error)
      return
    }
    const stopListening = onAbort(signal, () => {
      if (this.waiting.delete(job)) job.end(abortedError(signal?.reason))
    })
    this.waiting.set(job, stopListening)
    this.start()
  }

  /**
   * Runs an action between steps, with the engine to itself.
   * @param signal ends the wait for that; the action looks at it itself
   */
  async alone<T>(action: (engine: Engine) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.closed) throw this.closed
    if (signal?.aborted) throw abortedError(signal.reason)
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        stopListening()
        if (this.closed) reject(this.closed)
        else await action(this.engine).then(resolve, reject)
      }
      const stopListening = onAbort(signal, () => {
        const at = this.exclusive.indexOf(run)
        if (at < 0) return
        this.exclusive.splice(at, 1)
        reject(abortedError(signal?.reason))
      })
      this.exclusive.push(run)
      this.start()
    })
  }

  /** Ends every job with an error and waits for the step in progress. */
  async close(error: ShoalError): Promise<void> {
    this.closed = error
    clearTimeout(this.idle)
    while (this.loop !== null) await this.loop
  }

  private start(): void {
    // Calls made in the same turn of the event loop join the same first step.
    clearTimeout(this.idle)
    this.loop ??= nextTurn().then(async () => {
      try {
        await this.run()
      } finally {
        this.loop = null
        // What came after the last look at the queues would wait for ever.
        if (this.busy) this.start()
        else this.shrinkLater()
      }
    })
  }

  private shrinkLater(): void {
    if (this.closed !== null || this.idleMs === null) return
    this.idle = setTimeout(() => this.engine.shrink(), this.idleMs).unref()
  }

  private get busy(): boolean {
    return this.running.size + this.waiting.size + this.exclusive.length > 0
  }

  private async run(): Promise<void> {
    while (this.busy) {
      // As many as wait now: those that come meanwhile let a step go first.
      for (let left = this.exclusive.length; left > 0; left--) await this.exclusive.shift()?.()
      this.admit()
      await this.step()
    }
  }

  /** Takes a job's cells; false where there is no room. */
  private reserve(job: Job): boolean {
    const { cells = 0, idle = null } = job
    if (idle !== null) this.room.wake(idle)
    // A slot does not become smaller when its text does.
    const own = Math.max(cells, idle?.cells ?? 0)
    if (this.room.take(own)) {
      this.reserved.set(job, own)
      return true
    }
    if (idle !== null) this.room.keep(idle)
    if (own === cells || !this.room.take(cells)) return false
    // Without what it has in the cache there is room.
    idle?.forget()
    this.reserved.set(job, cells)
    return true
  }

  private get slotsInUse(): number {
    return [...this.running].reduce((sum, { width = 1 }) => sum + width, 0)
  }

  /**
   * Gives free slots and cells to the jobs that wait; what needs more slots than there are runs alone. Nobody passes one that comes before and does
   * not fit yet: it would wait for ever.
   */
  private admit(): void {
    for (let job = this.first(); job !== null; job = this.first()) {
      const { width = 1 } = job
      if ((this.running.size > 0 && this.slotsInUse + width > this.slots) || !this.reserve(job)) return
      this.waiting.get(job)?.()
      this.waiting.delete(job)
      this.running.add(job)
    }
  }

  /** Of the jobs that wait: by priority, then by how few slots the caller has, then by how long. */
  private first(): Job | null {
    const slots = new Map<string | undefined, number>()
    for (const { client, width = 1 } of this.running) slots.set(client, (slots.get(client) ?? 0) + width)
    const before = (a: Job, b: Job): boolean => {
      const [mine, other] = [a.priority ?? 0, b.priority ?? 0]
      return mine === other ? (slots.get(a.client) ?? 0) < (slots.get(b.client) ?? 0) : mine > other
    }
    let first: Job | null = null
    for (const job of this.waiting.keys()) if (first === null || before(job, first)) first = job
    return first
  }

  /**
   * Feeds what the running jobs want to be fed: the few rows of most of them together, then long prompts.
   * @param mostRows of prompts; longer ones wait
   */
  private async step(mostRows = Number.POSITIVE_INFINITY): Promise<void> {
    const few: Fed[] = []
    const long: Fed[] = []
    let together = 0
    for (const job of this.running) {
      if (this.climbing.has(job)) continue
      try {
        if (this.closed) throw this.closed
        // One that was stopped says so when it is asked again.
        const known = job.signal?.aborted ? undefined : this.held.get(job)
        const feeds = known ?? job.feed()
        if (feeds === null) {
          this.leave(job)
          continue
        }
        const rows = feeds.reduce((sum, feed) => sum + this.engine.rowsOf(feed), 0)
        // What decodes is never kept from a step; prompts are, where they are many together.
        if (rows <= MOST_DECODING_ROWS * feeds.length || !this.engine.takesLong(together + rows)) {
          few.push({ job, feeds })
          together += rows
        } else if (longest(feeds) <= mostRows) long.push({ job, feeds })
        else this.held.set(job, feeds)
      } catch (error) {
        this.leave(job, thrown(error))
      }
    }
    await this.climb(few, null)
    // One after the other: in the pauses of the first, shorter ones may go before the others.
    const [first, ...others] = long
    for (const { job, feeds } of others) this.held.set(job, feeds)
    if (first !== undefined) await this.climb([first], this.pausesOf(first))
  }

  private async climb(feds: readonly Fed[], pauses: Pauses | null): Promise<void> {
    if (feds.length === 0) return
    for (const { job } of feds) {
      this.held.delete(job)
      this.climbing.add(job)
    }
    const settle = (settled: (index: number) => void): void => {
      feds.forEach(({ job }, i) => {
        this.climbing.delete(job)
        settled(i)
      })
    }
    try {
      const outcomes = await this.engine.step(
        feds.flatMap(({ feeds }) => feeds),
        pauses,
      )
      let end = 0
      settle((i) => {
        const { job, feeds } = feds[i] as Fed
        const from = end
        end += feeds.length
        this.tell(job, outcomes.slice(from, end))
      })
    } catch (error) {
      settle((i) => this.leave((feds[i] as Fed).job, thrown(error)))
    }
  }

  /** In the pauses of a prompt all others have a step, those that want to feed more than a share of its rows left out. */
  private pausesOf({ feeds }: Fed): Pauses {
    const rows = longest(feeds)
    return new Pauses({
      wait: () => this.running.size > this.climbing.size + this.held.size,
      turn: async () => {
        this.admit()
        await this.step(rows * OVERTAKES)
      },
    })
  }

  /** Gives a job what came of its feeds. */
  private tell(job: Job, outcomes: readonly StepOutcome[]): void {
    const failed = outcomes.find((outcome) => 'error' in outcome)
    if (failed !== undefined) {
      this.leave(job, failed.error)
      return
    }
    try {
      job.accept(outcomes.map((outcome) => (outcome as { result: StepResult }).result))
    } catch (error) {
      this.leave(job, thrown(error))
    }
  }

  private leave(job: Job, error?: unknown): void {
    if (!this.running.delete(job)) return
    this.room.give(this.reserved.get(job) ?? 0)
    this.reserved.delete(job)
    // Where it never got to run, what it had in the cache is idle again.
    if (job.idle) this.room.keep(job.idle)
    this.held.delete(job)
    job.end(error)
  }
}

/** Rows of the longest feed. */
function longest(feeds: readonly Feed[]): number {
  return feeds.reduce((most, { ids }) => Math.max(most, ids.length), 0)
}
