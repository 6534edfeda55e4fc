import { readBridgeFile } from '../convert/bridge-file.js'
import type { Measurement, StepCosts } from '../depth/measurement.js'
import type { Depth, Policy } from '../depth/policy.js'
import { triedOn } from '../depth/raw-lens.js'
import { ShoalError } from '../errors.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import type { BeamSearchOptions, BeamSearchResult, CostsOptions, EngineStatus, PolicyOptions } from './api.js'
import type {
  ForcedText,
  PlanLosses,
  PlanLossOptions,
  Prediction,
  PredictOptions,
  Score,
  ScoreOptions,
  Trace,
  TraceOptions,
} from './known-text.js'
import { measureCosts } from './measure/costs.js'
import { firstCheck } from './measure/first-check.js'
import { keptCosts } from './measure/kept-costs.js'
import { layerOrder, type OrderParts } from './measure/layer-order.js'
import { Measurements, type MeasureWork } from './measure/measurements.js'
import { TextLosses } from './measure/text-losses.js'
import type { ModelText } from './model-text.js'
import { Policies } from './policies.js'
import { thrown } from './run/attempt.js'
import type { Engine } from './run/engine.js'
import { Batch } from './schedule/batch.js'
import { beamSearch } from './schedule/beam-search.js'
import { ChatSequence } from './schedule/chat-sequence.js'
import { Draftings } from './schedule/draftings.js'
import { GenerationJob, type GenerationParts } from './schedule/generation.js'
import type { GenerationRequest } from './schedule/generation-request.js'
import type { GenerationSink } from './schedule/generation-stream.js'
import type { KvRoom } from './schedule/kv-room.js'
import { predict } from './schedule/predict.js'
import { PrefixCache } from './schedule/prefix-cache.js'
import { score } from './schedule/score.js'
import { trace } from './schedule/trace.js'
import type { ModelService, WithDepth } from './service.js'
import type { WeightsIdentity } from './weights-identity.js'

/** The costs of a step, an order of layers, or a layer. */
export type MeasuredValue = StepCosts | readonly number[] | number

/** What a service is made of; it owns the engine and all below it. */
export interface ServiceParts {
  readonly text: ModelText
  readonly identity: WeightsIdentity
  readonly quantization: string
  /** Computes that had fewer threads than `machine` says. */
  gaveWay(): number
  readonly hyperparameters: Hyperparameters
  readonly context: number
  readonly slots: number
  readonly room: KvRoom
  /** Texts of generations that stay in the KV cache. */
  readonly prefixCache: number
  readonly engine: Engine
  /** Folder of what is measured once on this machine. */
  readonly cacheDir: string
  /** What measured times depend on beside the model: processor, libraries, threads, cache type. */
  readonly machine: string
  /** Frees what lies under the engine. */
  release(): Promise<void>
}

/** Computes in this thread: the running batch, policies and measurements of one loaded model. */
export class LocalService implements ModelService {
  private readonly batch: Batch
  private readonly prefixes: PrefixCache | null
  private readonly chats = new Map<number, ChatSequence>()
  private readonly draftings = new Draftings()
  private readonly measurements: Measurements
  private readonly policies: Policies
  private disposing: Promise<void> | null = null

  constructor(private readonly parts: ServiceParts) {
    const { engine, slots, room, prefixCache, hyperparameters, identity } = parts
    this.batch = new Batch(engine, { slots, room })
    this.prefixes = prefixCache > 0 ? new PrefixCache(engine, room, prefixCache) : null
    this.measurements = new Measurements({
      costs: (batch, work) => this.measureCosts(batch, work),
      order: (rule, data, work) => layerOrder(this.orderParts(), rule, data, work),
      bridges: (path) => readBridgeFile(path),
      firstCheck: (work) => firstCheck(this.orderParts(), work),
      // Thresholds in the documentation were tried on the bundled models, with checks after every layer; without a tokenizer there is no text.
      knownFirstCheck: () => (parts.text.tokenizer === null || triedOn(identity.fingerprint) ? 0 : null),
    })
    this.policies = new Policies(hyperparameters.layers, this.measurements, () => identity.fingerprint)
  }

  generate(request: GenerationRequest, sink: GenerationSink, signal: AbortSignal, chat: number | null): void {
    const policy = this.policies.resolve(request.depth, { signal })
    const { lossless } = request
    const drafts = typeof lossless === 'object' ? lossless.drafts : null
    const kept = chat === null ? (this.prefixes?.sequence() ?? null) : this.chat(chat)
    const job = new GenerationJob(this.generationParts(), request, sink, signal, kept)
    const join = (known: Policy): void => {
      const { layers } = this.parts.hyperparameters
      job.begin(known, lossless === false ? null : this.draftings.of(known, drafts, layers))
      this.batch.add(job)
    }
    if (policy instanceof Promise) policy.then(join).catch((error: unknown) => job.end(thrown(error)))
    else join(policy)
  }

  prepare(depth: Depth): void {
    const policy = this.policies.resolve(depth)
    // Whoever asks for it learns of an error, and there may be nobody.
    if (policy instanceof Promise) policy.catch(() => undefined)
  }

  releaseChat(chat: number): void {
    this.chats.get(chat)?.forget()
    this.chats.delete(chat)
  }

  async policy(depth: Depth, options: PolicyOptions): Promise<Policy> {
    return this.policies.resolve(depth, options)
  }

  async costs(batch: number, options: CostsOptions): Promise<StepCosts> {
    await this.measurements.measure({ kind: 'costs', batch }, options)
    return this.measurements.known.costs(batch)
  }

  /** What `Measurements` keeps of it. */
  async measured(
    measurement: Exclude<Measurement, { kind: 'bridges' }>,
    options: CostsOptions,
  ): Promise<MeasuredValue> {
    await this.measurements.measure(measurement, options)
    const { known } = this.measurements
    if (measurement.kind === 'costs') return known.costs(measurement.batch)
    if (measurement.kind === 'layer-order') return known.order(measurement.rule, measurement.data)
    return known.firstCheck() ?? 0
  }

  async beamSearch(
    ids: readonly number[],
    { depth, ...rest }: WithDepth<BeamSearchOptions>,
  ): Promise<BeamSearchResult> {
    const policy = await this.policies.resolve(depth, rest)
    return beamSearch({ ...this.generationParts(), policy }, this.batch, ids, rest)
  }

  trace(ids: readonly number[], options: TraceOptions): Promise<Trace> {
    const { hyperparameters } = this.parts
    return this.batch.alone((engine) => trace(engine, hyperparameters, ids, options), options.signal)
  }

  async score(ids: readonly number[], { depth, ...rest }: WithDepth<ScoreOptions>): Promise<Score> {
    const policy = await this.policies.resolve(depth, rest)
    const { context, hyperparameters } = this.parts
    const alone = <T>(action: (engine: Engine) => Promise<T>): Promise<T> => this.batch.alone(action, rest.signal)
    return score({ vocabulary: hyperparameters.vocabulary, context, alone }, ids, policy, rest)
  }

  async predict(ids: readonly number[], { depth, ...rest }: WithDepth<PredictOptions>): Promise<Prediction> {
    const policy = await this.policies.resolve(depth, rest)
    return this.batch.alone((engine) => predict(engine, ids, policy, rest), rest.signal)
  }

  planLosses(texts: readonly ForcedText[], { prompt = 'full' }: PlanLossOptions): PlanLosses {
    const losses = new TextLosses(this.parts.engine, texts, prompt)
    return {
      of: (plan, { from = 0, to = texts.length, ...options } = {}) =>
        this.batch.alone(() => losses.of(plan, from, to, options), options.signal),
      rise: ({ from = 0, to = texts.length, signal, ...rise }, visit) =>
        this.batch.alone(() => losses.rise({ from, to, ...rise }, visit, signal), signal),
      prompts: (signal) => this.batch.alone(() => losses.prompts(signal), signal),
      dispose: () => this.batch.alone(async () => losses.dispose()),
    }
  }

  async status(): Promise<EngineStatus> {
    const { slots, room, engine } = this.parts
    return {
      slots,
      ...this.batch.status,
      kv: {
        bytes: engine.cacheBytes,
        mostBytes: room.cells * room.cellBytes,
        reservedBytes: room.reserved * room.cellBytes,
        idleBytes: room.idle * room.cellBytes,
      },
    }
  }

  dispose(): Promise<void> {
    this.disposing ??= (async () => {
      const error = new ShoalError('disposed', 'the model was disposed')
      this.measurements.close(error)
      await this.batch.close(error)
      this.parts.engine.dispose()
      await this.parts.release()
    })()
    return this.disposing
  }

  private chat(number: number): ChatSequence {
    const known = this.chats.get(number) ?? new ChatSequence(this.parts.engine, this.parts.room)
    this.chats.set(number, known)
    return known
  }

  private generationParts(): GenerationParts {
    const { engine, context, text, hyperparameters } = this.parts
    const { tokenizer } = text
    const decode =
      tokenizer &&
      ((tokens: readonly number[]) => tokenizer.decode(tokens, { skipSpecialTokens: true, continues: true }))
    const spell = (id: number): string => tokenizer?.decode([id]) ?? ''
    return { engine, context, endIds: text.ends(hyperparameters.vocabulary), decode, spell }
  }

  /** From the cache, where this was measured before. */
  private async measureCosts(batch: number, work: MeasureWork): Promise<StepCosts> {
    const { machine, quantization, identity, cacheDir, hyperparameters } = this.parts
    const key = `${machine} | ${quantization} ${identity.fingerprint}`
    const kept = keptCosts(cacheDir, key, hyperparameters.layers)
    const known = work.anew ? null : await kept.recall(batch)
    if (known !== null) return known
    const before = this.parts.gaveWay()
    const costs = await this.batch.alone(() => measureCosts(this.generationParts(), batch, work), work.signal)
    // Beside a busy program other costs hold than on other days: for now they serve, and the next time measures again.
    if (this.parts.gaveWay() === before) await kept.keep(costs)
    return costs
  }

  private orderParts(): OrderParts {
    const { text, context, cacheDir, quantization, identity, hyperparameters } = this.parts
    return {
      tokenizer: text.tokenizer,
      vocabulary: hyperparameters.vocabulary,
      context,
      cacheDir,
      model: `${quantization} ${identity.fingerprint}`,
      alone: (action, signal) => this.batch.alone(action, signal),
    }
  }
}
