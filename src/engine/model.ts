import type { Package } from '../convert/package.js'
import { MOST_BATCH, type StepCosts } from '../depth/measurement.js'
import { checkPlan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { InputError, type ShoalError, UnsupportedError } from '../errors.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
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
import { createChat } from './chat.js'
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
import type { ModelText } from './model-text.js'
import { checkList, checkTexts, idsOfVocabulary, isMessages } from './prompt-ids.js'
import { promptTokens } from './prompt-tokens.js'
import { checkFits, generationRequest } from './schedule/generation-request.js'
import { GenerationStream } from './schedule/generation-stream.js'
import type { ModelService } from './service.js'
import type { WeightsIdentity } from './weights-identity.js'

/** What is known of a loaded model without computing. */
export interface ModelFacts {
  readonly package: Pick<Package, 'name' | 'path' | 'quantization' | 'settings' | 'sampling'>
  readonly hyperparameters: Hyperparameters
  readonly parameters: number
  readonly context: number
  readonly warnings: readonly string[]
}

/** A loaded model as its caller has it: text and checks of what is asked for, before a service that computes. */
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
  private chats = 0
  private disposing: Promise<void> | null = null

  constructor(
    facts: ModelFacts,
    private readonly text: ModelText,
    private readonly identity: WeightsIdentity,
    private readonly service: ModelService,
  ) {
    const { package: p } = facts
    this.name = p.name
    this.path = p.path
    this.quantization = p.quantization
    this.hyperparameters = facts.hyperparameters
    this.parameters = facts.parameters
    this.context = facts.context
    this.settings = { ...p.settings, sampling: p.sampling }
    this.warnings = [...facts.warnings, ...text.warnings]
    this.tokenizer = text.tokenizer
    this.tokenizerError = text.tokenizerError
  }

  get fingerprint(): string {
    return this.identity.fingerprint
  }

  get endTokens(): readonly number[] {
    return [...this.text.ends(this.hyperparameters.vocabulary)].sort((a, b) => a - b)
  }

  generate(prompt: string | readonly number[] | readonly PromptMessage[], options: GenerateOptions = {}): Generation {
    refuseUnknownOptions('generate', options)
    return this.start(prompt, options, null)
  }

  async policy(depth: Depth = this.depth, options: PolicyOptions = {}): Promise<Policy> {
    refuseUnknownOptions('policy', options)
    return typeof depth === 'string' ? this.service.policy(depth, options) : depth
  }

  async costs(batch = 1, options: CostsOptions = {}): Promise<StepCosts> {
    refuseUnknownOptions('costs', options)
    if (!Number.isSafeInteger(batch) || batch < 1 || batch > MOST_BATCH)
      throw new InputError(`batch must be a whole number from 1 to ${MOST_BATCH}`)
    return this.service.costs(batch, options)
  }

  async beamSearch(
    prompt: string | readonly number[] | readonly PromptMessage[],
    options: BeamSearchOptions = {},
  ): Promise<BeamSearchResult> {
    refuseUnknownOptions('beamSearch', options)
    return this.service.beamSearch(this.checkedIds(this.tokens(prompt).ids), this.withDepth(options))
  }

  async trace(ids: readonly number[], options: TraceOptions = {}): Promise<Trace> {
    refuseUnknownOptions('trace', options)
    return this.service.trace(this.checkedIds(ids), options)
  }

  async score(ids: readonly number[], options: ScoreOptions): Promise<Score> {
    refuseUnknownOptions('score', options)
    const { vocabulary } = this.hyperparameters
    const checked = options.stride === undefined ? this.checkedIds(ids) : idsOfVocabulary(ids, vocabulary)
    return this.service.score(checked, this.withDepth(options))
  }

  planLosses(texts: readonly ForcedText[], options: PlanLossOptions = {}): PlanLosses {
    refuseUnknownOptions('planLosses', options)
    const { layers } = this.hyperparameters
    const checked = texts.map(({ ids, promptLength }) => ({ ids: this.checkedIds(ids), promptLength }))
    checkTexts(checked)
    const losses = this.service.planLosses(checked, options)
    return {
      of: async (plan, given) => {
        checkPlan(plan, layers, 'plan')
        return losses.of(plan, given)
      },
      rise: async (rise, visit) => {
        checkPlan(rise.layers, layers, 'plan')
        return losses.rise(rise, visit)
      },
      prompts: (signal) => losses.prompts(signal),
      dispose: () => losses.dispose(),
    }
  }

  async predict(ids: readonly number[], options: PredictOptions = {}): Promise<Prediction> {
    refuseUnknownOptions('predict', options)
    const prompt = this.checkedIds(ids)
    const continuation = this.checkedIds([...prompt, ...(options.continuation ?? [])]).slice(prompt.length)
    return this.service.predict(prompt, this.withDepth({ ...options, continuation }))
  }

  chat(given: ChatOptions = {}): ChatSession {
    refuseUnknownOptions('chat', given)
    const { system, ...options } = given
    const conversation = this.text.requireConversation()
    this.service.prepare(options.depth ?? this.depth)
    const chat = this.chats++
    const session = createChat({
      start: (messages, own) => {
        const stop = [this.settings.chatStop, options.stop, own.stop].flatMap((text) => text ?? [])
        return this.start(messages, { ...options, ...own, stop }, chat)
      },
      release: () => this.service.releaseChat(chat),
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
    return this.text.requireConversation().render(messages, options)
  }

  status(): Promise<EngineStatus> {
    return this.service.status()
  }

  dispose(): Promise<void> {
    this.disposing ??= this.service.dispose().then(() => this.tokenizer?.dispose())
    return this.disposing
  }

  private start(
    prompt: string | readonly number[] | readonly PromptMessage[],
    options: GenerateOptions,
    chat: number | null,
  ): Generation {
    const { ids, warnings } = this.tokens(prompt, options)
    const { context, depth } = this
    const limits = { context, depth, hasText: this.tokenizer !== null }
    const request = generationRequest(this.checkedIds(ids), options, limits)
    const spec = typeof request.depth === 'string' ? request.depth : request.depth.spec
    const stream = new GenerationStream(request, spec, this.hyperparameters.layers, warnings, options.signal)
    this.service.generate(request, stream, stream.signal, chat)
    return stream
  }

  /** What holds where a call names no depth. */
  private get depth(): Depth {
    return this.settings.depth ?? 'full'
  }

  private withDepth<Options extends { readonly depth?: Depth }>(options: Options): Options & { readonly depth: Depth } {
    return { ...options, depth: options.depth ?? this.depth }
  }

  private tokens(
    prompt: string | readonly number[] | readonly PromptMessage[],
    { literalContent = false }: Pick<GenerateOptions, 'literalContent'> = {},
  ): { ids: readonly number[]; warnings: readonly string[] } {
    if (typeof prompt === 'string') return promptTokens(this.text.requireTokenizer(), prompt)
    checkList(prompt)
    if (!isMessages(prompt)) return { ids: prompt, warnings: [] }
    return { ids: this.text.requireConversation().encode(prompt, { literalContent }), warnings: [] }
  }

  private checkedIds(given: readonly number[]): readonly number[] {
    const ids = idsOfVocabulary(given, this.hyperparameters.vocabulary)
    checkFits(ids.length, this.context)
    return ids
  }
}
