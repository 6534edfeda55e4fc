import { readBridgeFile } from '../convert/bridge-file.js'
import type { Package } from '../convert/package.js'
import { MOST_BATCH, type StepCosts } from '../depth/measurement.js'
import { checkPlan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { TRIED_ON } from '../depth/raw-lens.js'
import { InputError, ShoalError, UnsupportedError } from '../errors.js'
import type { Hyperparameters } from '../families/family.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { AdaptiveDrafting } from './adaptive-drafting.js'
import type {
  BeamSearchOptions,
  BeamSearchResult,
  ChatOptions,
  ChatSession,
  CostsOptions,
  Depth,
  EngineStatus,
  GenerateOptions,
  Generation,
  Model,
  PolicyOptions,
  PromptMessage,
  RenderChatOptions,
} from './api.js'
import { thrown } from './attempt.js'
import { Batch } from './batch.js'
import { beamSearch } from './beam-search.js'
import { createChat } from './chat.js'
import { checkDrafts, type Drafting, fixedDrafting } from './drafting.js'
import { endTokens } from './end-tokens.js'
import type { Engine } from './engine.js'
import { fingerprintOf, weightsDigest } from './fingerprint.js'
import { GenerationJob, type GenerationParts, type KeptSequence } from './generation.js'
import { refuseUnknownOptions } from './known-options.js'
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
import type { KvRoom } from './kv-room.js'
import { measureCosts } from './measure/costs.js'
import { firstCheck } from './measure/first-check.js'
import { keptCosts } from './measure/kept-costs.js'
import { layerOrder, type OrderParts } from './measure/layer-order.js'
import { Measurements, type MeasureWork } from './measure/measurements.js'
import { TextLosses } from './measure/text-losses.js'
import type { ModelText } from './model-text.js'
import { Policies } from './policies.js'
import { predict } from './predict.js'
import { PrefixCache } from './prefix-cache.js'
import { checkList, idsOfVocabulary, isMessages } from './prompt-ids.js'
import { promptTokens } from './prompt-tokens.js'
import { type ScoreParts, score } from './score.js'
import { trace } from './trace.js'

/** SPECs whose drafts are remembered: a server may be asked for any number of them. */
const MOST_DRAFTINGS = 32

/** What a model is made of; it owns the engine and all below it. */
export interface ModelParts {
  readonly package: Package
  readonly text: ModelText
  /** Computes that had fewer threads than `machine` says. */
  gaveWay(): number
  /** Beside those of the package. */
  readonly warnings: readonly string[]
  readonly hyperparameters: Hyperparameters
  readonly parameters: number
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

/** A loaded model: prompts in, tokens out. */
export class LoadedModel implements Model {
  readonly name: string
  readonly path: string
  readonly quantization: string
  readonly hyperparameters: Hyperparameters
  readonly parameters: number
  readonly context: number
  readonly tokenizer: Tokenizer | null
  readonly tokenizerError: ShoalError | null
  readonly settings: Model['settings']
  readonly warnings: readonly string[]
  private readonly parts: ModelParts
  private readonly batch: Batch
  private readonly prefixes: PrefixCache | null
  private readonly draftings = new Map<string, AdaptiveDrafting>()
  private readonly measurements: Measurements
  private readonly policies: Policies
  private disposing: Promise<void> | null = null
  private knownFingerprint: string | null = null
  private knownDigest: string | null = null
  private knownEnds: ReadonlySet<number> | null = null

  constructor(parts: ModelParts) {
    const { package: p } = parts
    this.parts = parts
    this.name = p.name
    this.path = p.path
    this.quantization = p.quantization
    this.hyperparameters = parts.hyperparameters
    this.parameters = parts.parameters
    this.context = parts.context
    this.settings = { ...p.settings, sampling: p.sampling }
    this.warnings = [...p.warnings, ...parts.warnings, ...parts.text.warnings]
    this.tokenizer = parts.text.tokenizer
    this.tokenizerError = parts.text.tokenizerError
    this.batch = new Batch(parts.engine, { slots: parts.slots, room: parts.room })
    this.prefixes = parts.prefixCache > 0 ? new PrefixCache(parts.engine, parts.room, parts.prefixCache) : null
    this.measurements = new Measurements({
      costs: (batch, work) => this.measureCosts(batch, work),
      order: (rule, data, work) => layerOrder(this.orderParts(), rule, data, work),
      bridges: (path) => readBridgeFile(path),
      firstCheck: (work) => firstCheck(this.orderParts(), work),
      // Thresholds in the documentation were tried on the bundled models, with checks after every layer; without a tokenizer there is no text.
      knownFirstCheck: () => (this.tokenizer === null || TRIED_ON.includes(this.fingerprint) ? 0 : null),
    })
    this.policies = new Policies(parts.hyperparameters.layers, this.measurements, () => this.fingerprint)
  }

  /** Of the weights as they lie in the file: what is measured on them is theirs alone. */
  private get digest(): string {
    this.knownDigest ??= weightsDigest(this.parts.package.gguf)
    return this.knownDigest
  }

  get fingerprint(): string {
    this.knownFingerprint ??= fingerprintOf(this.parts.package.gguf)
    return this.knownFingerprint
  }

  get endTokens(): readonly number[] {
    return [...this.ends].sort((a, b) => a - b)
  }

  generate(prompt: string | readonly number[] | readonly PromptMessage[], options: GenerateOptions = {}): Generation {
    refuseUnknownOptions('generate', options)
    return this.start(prompt, options, this.resolve(options.depth, options), null)
  }

  async policy(depth?: Depth, options: PolicyOptions = {}): Promise<Policy> {
    refuseUnknownOptions('policy', options)
    return this.resolve(depth, options)
  }

  async costs(batch = 1, options: CostsOptions = {}): Promise<StepCosts> {
    refuseUnknownOptions('costs', options)
    if (!Number.isSafeInteger(batch) || batch < 1 || batch > MOST_BATCH)
      throw new InputError(`batch must be a whole number from 1 to ${MOST_BATCH}`)
    await this.measurements.measure({ kind: 'costs', batch }, options)
    return this.measurements.known.costs(batch)
  }

  async beamSearch(
    prompt: string | readonly number[] | readonly PromptMessage[],
    options: BeamSearchOptions = {},
  ): Promise<BeamSearchResult> {
    refuseUnknownOptions('beamSearch', options)
    const { depth, ...rest } = options
    const ids = this.checkedIds(this.tokens(prompt).ids)
    const policy = await this.resolve(depth, rest)
    return beamSearch({ ...this.generationParts(), policy }, this.batch, ids, rest)
  }

  async trace(ids: readonly number[], options: TraceOptions = {}): Promise<Trace> {
    refuseUnknownOptions('trace', options)
    const checked = this.checkedIds(ids)
    return this.batch.alone((engine) => trace(engine, this.hyperparameters, checked, options), options.signal)
  }

  async score(ids: readonly number[], options: ScoreOptions): Promise<Score> {
    refuseUnknownOptions('score', options)
    const { depth, ...rest } = options
    const checked =
      rest.stride === undefined ? this.checkedIds(ids) : idsOfVocabulary(ids, this.hyperparameters.vocabulary)
    const policy = await this.resolve(depth, rest)
    const { vocabulary } = this.hyperparameters
    const alone: ScoreParts['alone'] = (action) => this.batch.alone(action, rest.signal)
    return score({ vocabulary, context: this.context, alone }, checked, policy, rest)
  }

  planLosses(texts: readonly ForcedText[], options: PlanLossOptions = {}): PlanLosses {
    refuseUnknownOptions('planLosses', options)
    const { prompt = 'full' } = options
    const { layers } = this.hyperparameters
    const checked = texts.map(({ ids, promptLength }) => ({ ids: this.checkedIds(ids), promptLength }))
    const losses = new TextLosses(this.parts.engine, checked, prompt)
    return {
      of: async (plan, { from = 0, to = checked.length, ...options } = {}) => {
        checkPlan(plan, layers, 'plan')
        return this.batch.alone(() => losses.of(plan, from, to, options), options.signal)
      },
      rise: async ({ from = 0, to = checked.length, signal, ...rise }, visit) => {
        checkPlan(rise.layers, layers, 'plan')
        return this.batch.alone(() => losses.rise({ from, to, ...rise }, visit, signal), signal)
      },
      prompts: (signal) => this.batch.alone(() => losses.prompts(signal), signal),
      dispose: () => this.batch.alone(async () => losses.dispose()),
    }
  }

  async predict(ids: readonly number[], options: PredictOptions = {}): Promise<Prediction> {
    refuseUnknownOptions('predict', options)
    const { depth, continuation = [], ...rest } = options
    const prompt = this.checkedIds(ids)
    const fed = this.checkedIds([...prompt, ...continuation]).slice(prompt.length)
    const policy = await this.resolve(depth, rest)
    const action = (engine: Engine) => predict(engine, prompt, policy, { ...rest, continuation: fed })
    return this.batch.alone(action, rest.signal)
  }

  chat(given: ChatOptions = {}): ChatSession {
    refuseUnknownOptions('chat', given)
    const { system, ...options } = given
    const conversation = this.parts.text.requireConversation()
    const policy = this.resolve(options.depth, options)
    // Each message learns of an error itself, and there may be none.
    if (policy instanceof Promise) policy.catch(() => undefined)
    const session = createChat({
      engine: this.parts.engine,
      room: this.parts.room,
      start: (messages, own, kept) => {
        const stop = [this.settings.chatStop, options.stop, own.stop].flatMap((text) => text ?? [])
        const depth = own.depth === undefined ? policy : this.resolve(own.depth, own)
        return this.start(messages, { ...options, ...own, stop }, depth, kept)
      },
      countTokens: (messages, addGenerationPrompt) => {
        const { literalContent = false } = options
        return conversation.encode(messages, { addGenerationPrompt, literalContent }).length
      },
      checkSystem: () => {
        if (!conversation.takesSystem)
          throw new UnsupportedError(`${this.name}: its chat template has no place for a system message`)
      },
    })
    if (system !== undefined) session.setSystem(system)
    return session
  }

  renderChat(messages: readonly PromptMessage[], options: RenderChatOptions = {}): string {
    refuseUnknownOptions('renderChat', options)
    return this.parts.text.requireConversation().render(messages, options)
  }

  status(): EngineStatus {
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
      this.tokenizer?.dispose()
    })()
    return this.disposing
  }

  private start(
    prompt: string | readonly number[] | readonly PromptMessage[],
    options: GenerateOptions,
    policy: Policy | Promise<Policy>,
    kept: KeptSequence | null,
  ): Generation {
    const { ids: given, warnings } = this.tokens(prompt, options)
    const ids = this.checkedIds(given)
    const { lossless = false } = options
    if (typeof lossless === 'object') refuseUnknownOptions('lossless', lossless)
    const drafts = typeof lossless === 'object' ? lossless.drafts : null
    if (drafts !== null) checkDrafts(drafts)
    const held = kept ?? this.prefixes?.sequence() ?? null
    const job = new GenerationJob(this.generationParts(), this.specOf(options.depth), ids, options, held, warnings)
    const join = (known: Policy): void => {
      job.begin(known, lossless === false ? null : this.draftingOf(known, drafts))
      this.batch.add(job)
    }
    if (policy instanceof Promise) policy.then(join).catch((error: unknown) => job.end(thrown(error)))
    else join(policy)
    return job
  }

  private generationParts(): GenerationParts {
    const { tokenizer } = this
    const decode =
      tokenizer &&
      ((tokens: readonly number[]) => tokenizer.decode(tokens, { skipSpecialTokens: true, continues: true }))
    const spell = (id: number): string => tokenizer?.decode([id]) ?? ''
    const { engine, context } = this.parts
    return { engine, context, endIds: this.ends, decode, spell }
  }

  /** Asks the chat template, so not before it is needed. */
  private get ends(): ReadonlySet<number> {
    const { endIds: stated, specialTokens } = this.parts.package
    const { vocabulary } = this.hyperparameters
    const { conversation } = this.parts.text
    this.knownEnds ??= endTokens({
      stated,
      eos: specialTokens.eos,
      tokenizer: this.tokenizer,
      conversation,
      vocabulary,
    })
    return this.knownEnds
  }

  /** From the cache, where this was measured before. */
  private async measureCosts(batch: number, work: MeasureWork): Promise<StepCosts> {
    const key = `${this.parts.machine} | ${this.quantization} ${this.fingerprint}`
    const kept = keptCosts(this.parts.cacheDir, key, this.hyperparameters.layers)
    const known = work.anew ? null : await kept.recall(batch)
    if (known !== null) return known
    const before = this.parts.gaveWay()
    const measure = () => measureCosts(this.generationParts(), batch, work)
    const costs = await this.batch.alone(measure, work.signal)
    // Beside a busy program other costs hold than on other days: for now they serve, and the next time measures again.
    if (this.parts.gaveWay() === before) await kept.keep(costs)
    return costs
  }

  /** What is learned of a policy's drafts outlives a generation. */
  private draftingOf(policy: Policy, drafts: number | null): Drafting {
    const byDepth = !runsEveryLayer(policy, this.hyperparameters.layers)
    if (drafts !== null) return fixedDrafting(drafts, { byDepth })
    const drafting = this.draftings.get(policy.spec) ?? new AdaptiveDrafting({ byDepth })
    // Those that were asked for last stay.
    this.draftings.delete(policy.spec)
    this.draftings.set(policy.spec, drafting)
    const [oldest] = this.draftings.keys()
    if (this.draftings.size > MOST_DRAFTINGS && oldest !== undefined) this.draftings.delete(oldest)
    return drafting
  }

  private orderParts(): OrderParts {
    const { tokenizer, context, quantization, fingerprint } = this
    const { cacheDir } = this.parts
    return {
      tokenizer,
      vocabulary: this.hyperparameters.vocabulary,
      context,
      cacheDir,
      model: `${quantization} ${fingerprint} ${this.digest}`,
      alone: (action, signal) => this.batch.alone(action, signal),
    }
  }

  private tokens(
    prompt: string | readonly number[] | readonly PromptMessage[],
    { literalContent = false }: Pick<GenerateOptions, 'literalContent'> = {},
  ): { ids: readonly number[]; warnings: readonly string[] } {
    if (typeof prompt === 'string') return promptTokens(this.parts.text.requireTokenizer(), prompt)
    checkList(prompt)
    if (!isMessages(prompt)) return { ids: prompt, warnings: [] }
    return { ids: this.parts.text.requireConversation().encode(prompt, { literalContent }), warnings: [] }
  }

  private checkedIds(given: readonly number[]): readonly number[] {
    const ids = idsOfVocabulary(given, this.hyperparameters.vocabulary)
    if (ids.length > this.context) {
      throw new InputError(
        `the prompt has ${ids.length} tokens, and the context holds ${this.context}`,
        'context_exceeded',
      )
    }
    return ids
  }

  private resolve(depth: Depth = this.settings.depth ?? 'full', options: PolicyOptions = {}): Policy | Promise<Policy> {
    return this.policies.resolve(depth, options)
  }

  private specOf(depth: Depth = this.settings.depth ?? 'full'): string {
    return typeof depth === 'string' ? depth : depth.spec
  }
}

function runsEveryLayer(policy: Policy, layers: number): boolean {
  return policy.kind === 'skip' && policy.everyToken?.length === layers
}
