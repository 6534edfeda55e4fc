import { readBridgeFile } from '../../convert/bridge-file.js'
import type { StepCosts } from '../../depth/measurement.js'
import type { Depth, Policy } from '../../depth/policy.js'
import { ShoalError } from '../../errors.js'
import type {
  BeamSearchOptions,
  BeamSearchResult,
  CostsOptions,
  EngineStatus,
  GeneratedToken,
  PolicyOptions,
} from '../api.js'
import type {
  ForcedText,
  PlanLosses,
  PlanLossOptions,
  Prediction,
  PredictOptions,
  Score,
  ScoreOptions,
  Trace,
  TracedLayer,
  TraceOptions,
} from '../known-text.js'
import { Measurements, type MeasureWork } from '../measure/measurements.js'
import { Policies } from '../policies.js'
import type { GenerationRequest } from '../schedule/generation-request.js'
import type { GenerationProgress, GenerationSink, GenerationStart } from '../schedule/generation-stream.js'
import type { ModelService, WithDepth } from '../service.js'
import type { MadeMeasurement, WireDepth } from './calls.js'
import { RemoteLosses } from './remote-losses.js'
import type { Handlers, Runner } from './runner.js'
import { policyAnswers, wirePolicy } from './wire-policy.js'

/** What the caller's side knows of the model, to read SPECs. */
export interface RemoteModel {
  readonly layers: number
  fingerprint(): string
  /** The first check where nothing has to be measured for it, else null. */
  knownFirstCheck(): number | null
}

/** A service in another thread or process. Where that is lost, the next call starts another. */
export class RemoteService implements ModelService {
  private starting: Promise<Runner> | null = null
  private readonly measurements: Measurements
  private readonly policies: Policies
  private losses = 0
  private closed: ShoalError | null = null
  private disposing: Promise<void> | null = null

  /** @param load starts a runner with the model in it */
  constructor(
    private runner: Runner,
    model: RemoteModel,
    private readonly load: () => Promise<Runner>,
  ) {
    this.measurements = new Measurements({
      costs: async (batch, work) => (await this.measure({ kind: 'costs', batch }, work)) as StepCosts,
      order: async (rule, data, work) =>
        (await this.measure({ kind: 'layer-order', rule, data }, work)) as readonly number[],
      bridges: (path) => readBridgeFile(path),
      firstCheck: async (work) => (await this.measure({ kind: 'first-check' }, work)) as number,
      knownFirstCheck: () => model.knownFirstCheck(),
    })
    this.policies = new Policies(model.layers, this.measurements, () => model.fingerprint())
  }

  generate(
    { depth, ...request }: GenerationRequest,
    sink: GenerationSink,
    signal: AbortSignal,
    chat: number | null,
  ): void {
    if (this.closed !== null) throw this.closed
    this.checkDepth(depth)
    const { wire, handlers } = wireDepth(depth)
    const told: Handlers = {
      ...handlers,
      begun: (start: GenerationStart) => sink.begun(start),
      said: ({ tokens, progress }: Said) => sink.said(tokens, progress),
    }
    this.alive()
      .then((runner) => runner.call('generate', { request, depth: wire, chat }, { handlers: told, signal }))
      .then(() => sink.ended())
      .catch((error: unknown) => sink.ended(error))
  }

  prepare(depth: Depth): void {
    if (typeof depth === 'string') this.policy(depth, {}).catch(() => undefined)
    this.checkDepth(depth)
  }

  releaseChat(chat: number): void {
    // What a runner held that is gone is gone with it.
    if (this.closed === null && this.runner.alive) this.runner.call('releaseChat', chat).catch(() => undefined)
  }

  async beamSearch(
    ids: readonly number[],
    { depth, signal, ...options }: WithDepth<BeamSearchOptions>,
  ): Promise<BeamSearchResult> {
    const { wire, handlers } = wireDepth(depth)
    return (await this.alive()).call('beamSearch', { ids, depth: wire, options }, { handlers, signal })
  }

  async trace(ids: readonly number[], { onLayer, signal, ...options }: TraceOptions): Promise<Trace> {
    const handlers: Handlers = {
      layer: async (layer: TracedLayer) => {
        await onLayer?.(layer)
      },
    }
    const args = { ids, options, wantsLayers: onLayer !== undefined }
    return (await this.alive()).call('trace', args, { handlers, signal })
  }

  async score(
    ids: readonly number[],
    { depth, onProgress, signal, ...options }: WithDepth<ScoreOptions>,
  ): Promise<Score> {
    const { wire, handlers } = wireDepth(depth)
    const told: Handlers = {
      ...handlers,
      fed: ({ fed, total }: { readonly fed: number; readonly total: number }) => onProgress?.(fed, total),
    }
    const args = { ids, depth: wire, options, wantsProgress: onProgress !== undefined }
    return (await this.alive()).call('score', args, { handlers: told, signal })
  }

  async predict(ids: readonly number[], { depth, signal, ...options }: WithDepth<PredictOptions>): Promise<Prediction> {
    const { wire, handlers } = wireDepth(depth)
    return (await this.alive()).call('predict', { ids, depth: wire, options }, { handlers, signal })
  }

  planLosses(texts: readonly ForcedText[], options: PlanLossOptions): PlanLosses {
    return new RemoteLosses(this.losses++, () => this.alive(), texts, options)
  }

  async policy(depth: Depth, options: PolicyOptions): Promise<Policy> {
    return this.policies.resolve(depth, options)
  }

  async costs(batch: number, options: CostsOptions): Promise<StepCosts> {
    await this.measurements.measure({ kind: 'costs', batch }, options)
    return this.measurements.known.costs(batch)
  }

  async status(): Promise<EngineStatus> {
    return (await this.alive()).call('status', undefined)
  }

  dispose(): Promise<void> {
    this.disposing ??= (async () => {
      this.closed = new ShoalError('disposed', 'the model was disposed')
      this.measurements.close(this.closed)
      const runner = await this.starting?.catch(() => null)
      for (const one of new Set([this.runner, runner ?? this.runner])) {
        // One that is gone has given back all that it had.
        await one.call('dispose', undefined).catch(() => undefined)
        await one.terminate()
      }
    })()
    return this.disposing
  }

  private checkDepth(depth: Depth): void {
    if (typeof depth === 'string') this.policies.check(depth)
  }

  private async measure(
    measurement: MadeMeasurement,
    { anew, signal, progress }: MeasureWork,
  ): ReturnType<Runner['call']> {
    const handlers: Handlers = { measure: progress }
    return (await this.alive()).call('measure', { measurement, anew }, { handlers, signal })
  }

  private alive(): Promise<Runner> {
    if (this.closed !== null) return Promise.reject(this.closed)
    if (this.runner.alive) return Promise.resolve(this.runner)
    this.starting ??= this.load()
      .then((runner) => {
        this.runner = runner
        return runner
      })
      .finally(() => {
        this.starting = null
      })
    return this.starting
  }
}

interface Said {
  readonly tokens: readonly GeneratedToken[]
  readonly progress: GenerationProgress
}

function wireDepth(depth: Depth): { readonly wire: WireDepth; readonly handlers: Handlers } {
  if (typeof depth === 'string') return { wire: depth, handlers: {} }
  return { wire: wirePolicy(depth), handlers: { policy: policyAnswers(depth) } }
}
