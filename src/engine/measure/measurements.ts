import type { BridgeSet } from '../../depth/bridge.js'
import type { DepthModel } from '../../depth/definition.js'
import type { LayerOrderRule, Measurement, StepCosts } from '../../depth/measurement.js'
import type { CostsOptions, MeasureProgress } from '../api.js'
import { abortedError, onAbort } from '../run/aborted.js'

/** How one measurement is stopped and how it tells how far it is. */
export interface MeasureWork {
  /** True where what was measured before does not count. */
  readonly anew: boolean
  readonly signal: AbortSignal
  readonly progress: (progress: MeasureProgress) => void
}

/** What measures; each is asked once for the same thing. */
export interface Measures {
  costs(batch: number, work: MeasureWork): Promise<StepCosts>
  order(rule: LayerOrderRule, data: string | null, work: MeasureWork): Promise<readonly number[]>
  bridges(path: string): Promise<BridgeSet>
  firstCheck(work: MeasureWork): Promise<number>
  /** That layer where nothing has to be measured for it, else null. */
  knownFirstCheck(): number | null
}

interface Running {
  readonly done: Promise<void>
  readonly stop: AbortController
  readonly watchers: Set<(progress: MeasureProgress) => void>
  waiting: number
}

/** What was measured of one loaded model. Whoever asks for the same thing shares one measurement. */
export class Measurements {
  private readonly measures: Measures
  private readonly costs = new Map<string, StepCosts>()
  private readonly orders = new Map<string, readonly number[]>()
  private readonly bridges = new Map<string, { readonly stamp: string; readonly set: BridgeSet }>()
  private first: number | null = null
  private readonly running = new Map<string, Running>()
  private closed: unknown = null

  constructor(measures: Measures) {
    this.measures = measures
  }

  /** What `parseDepth` may look up. */
  readonly known: Required<Pick<DepthModel, 'costs' | 'order' | 'bridges' | 'firstCheck'>> = {
    costs: (batch) => found(this.costs.get(keyOf({ kind: 'costs', batch }))),
    order: (rule, data) => found(this.orders.get(keyOf({ kind: 'layer-order', rule, data }))),
    bridges: (path) => found(this.bridges.get(path)).set,
    firstCheck: () => this.firstCheck(),
  }

  has(measurement: Measurement): boolean {
    if (measurement.kind === 'bridges') return this.bridges.get(measurement.path)?.stamp === measurement.stamp
    if (measurement.kind === 'first-check') return this.firstCheck() !== null
    const key = keyOf(measurement)
    return this.costs.has(key) || this.orders.has(key)
  }

  /** Resolves when this is known. A caller that stops waiting ends the measurement where nobody else waits for it. */
  async measure(measurement: Measurement, { signal, onMeasure, anew = false }: CostsOptions): Promise<void> {
    if (this.closed !== null) throw this.closed
    if (signal?.aborted) throw abortedError(signal.reason)
    if (this.has(measurement) && !anew) return
    const running = this.running.get(runningKey(measurement, anew)) ?? this.start(measurement, anew)
    running.waiting++
    if (onMeasure !== undefined) running.watchers.add(onMeasure)
    let stopWaiting = (): void => undefined
    const aborted = new Promise<never>((_, reject) => {
      stopWaiting = onAbort(signal, () => reject(abortedError(signal?.reason)))
    })
    try {
      await Promise.race([running.done, aborted])
    } finally {
      stopWaiting()
      if (onMeasure !== undefined) running.watchers.delete(onMeasure)
      if (--running.waiting === 0) running.stop.abort(signal?.reason)
    }
  }

  /** Ends what is being measured; whoever waits gets this error. */
  close(error: unknown): void {
    this.closed = error
    for (const { stop } of this.running.values()) stop.abort(error)
  }

  private firstCheck(): number | null {
    this.first ??= this.measures.knownFirstCheck()
    return this.first
  }

  private start(measurement: Measurement, anew: boolean): Running {
    const key = runningKey(measurement, anew)
    const stop = new AbortController()
    const watchers = new Set<(progress: MeasureProgress) => void>()
    const work: MeasureWork = {
      anew,
      signal: stop.signal,
      progress: (progress) => {
        for (const watch of watchers) watch(progress)
      },
    }
    const done = this.run(measurement, work)
      .catch((error: unknown) => {
        throw this.closed ?? error
      })
      .finally(() => {
        if (this.running.get(key) === running) this.running.delete(key)
      })
    const running: Running = { done, stop, watchers, waiting: 0 }
    this.running.set(key, running)
    // Nobody may be left to hear of an error; and who comes after an end must not join what is ending.
    done.catch(() => undefined)
    stop.signal.addEventListener('abort', () => this.running.delete(key))
    return running
  }

  private async run(measurement: Measurement, work: MeasureWork): Promise<void> {
    const key = keyOf(measurement)
    if (measurement.kind === 'costs') this.costs.set(key, await this.measures.costs(measurement.batch, work))
    else if (measurement.kind === 'layer-order')
      this.orders.set(key, await this.measures.order(measurement.rule, measurement.data, work))
    else if (measurement.kind === 'first-check') this.first = await this.measures.firstCheck(work)
    else {
      const { path, stamp } = measurement
      this.bridges.set(path, { stamp, set: await this.measures.bridges(path) })
    }
  }
}

function keyOf(measurement: Measurement): string {
  switch (measurement.kind) {
    case 'costs':
      return `costs ${measurement.batch}`
    case 'layer-order':
      return `order ${measurement.rule} ${measurement.data ?? ''}`
    case 'first-check':
      return 'first check'
    case 'bridges':
      return `bridges ${measurement.path} ${measurement.stamp}`
  }
}

function runningKey(measurement: Measurement, anew: boolean): string {
  return `${keyOf(measurement)}${anew ? ' anew' : ''}`
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a policy asks for what its definition's needs() did not name")
  return value
}
