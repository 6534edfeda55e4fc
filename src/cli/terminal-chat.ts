import type { ChatSession, GenerateOptions, Generation, GenerationResult, Model } from '../engine/api.js'
import { DEFAULT_MAX_TOKENS } from '../engine/schedule/generation-request.js'
import { InputError } from '../errors.js'
import { refuseOutsideBound } from './bound-scope.js'
import { type Cli, note, printJson } from './cli.js'
import { announceDepth, type GenerationOptions, recommendedOptions } from './generation-options.js'
import { type ForceOption, refuseOtherDepth } from './made-for.js'
import type { ModelOptions } from './model-options.js'
import { resultJson } from './result.js'
import { noteWarnings, streamAnswer } from './stream-answer.js'

export interface ChatOptions extends ModelOptions, GenerationOptions, ForceOption {
  readonly system?: string
  readonly showDepth?: boolean
  readonly literalContent?: boolean
  readonly whenFull?: 'stop' | 'drop'
}

/** A chat as the command line has it: what was asked and answered, and what to do where the context is full. */
export class TerminalChat {
  readonly session: ChatSession
  /** The SPEC of the answers to come. */
  depth: string | undefined
  /** The user has said so. */
  ended = false
  /** A message that was not sent because it did not fit. */
  private pending: string | null = null
  private readonly turns: object[] = []
  private forgotten = 0
  private retries = 0
  /** Tokens of the newest prompt and its answer. */
  private newest = 0

  /** @throws UnsupportedError where the model cannot chat */
  constructor(
    private readonly cli: Cli,
    readonly model: Model,
    private readonly options: ChatOptions,
    private readonly interactive: boolean,
  ) {
    this.depth = options.depth
    this.session = model.chat({
      ...recommendedOptions(cli, model, options),
      ...(options.system === undefined ? {} : { system: options.system }),
      ...(options.literalContent === undefined ? {} : { literalContent: options.literalContent }),
    })
  }

  /** `312 of 2048 tokens` */
  get used(): string {
    const { usedTokens } = this
    const { context } = this.model
    return `${usedTokens} of ${context} tokens${usedTokens === context ? ', full' : ''}`
  }

  /** At most the context: the token that ends an answer there, and what the template writes behind it, were never fed. */
  private get usedTokens(): number {
    return Math.min(this.countConversation(), this.model.context)
  }

  private countConversation(): number {
    try {
      return this.session.countTokens()
    } catch {
      // Some templates refuse a conversation that ends with an answer.
      return this.newest
    }
  }

  /** @param cli whose signal ends the answer */
  async say(cli: Cli, text: string): Promise<void> {
    const { context } = this.model
    if (this.options.whenFull === 'drop') this.makeRoom(cli, text)
    const needed = this.session.countTokens(text)
    if (needed >= context) {
      this.pending = text
      throw new InputError(this.fullMessage(needed, this.countAlone(text)), 'context_exceeded')
    }
    this.pending = null
    this.retries = 0
    await this.answer(cli, text, (options) => this.session.send(text, options))
  }

  async retry(cli: Cli): Promise<void> {
    this.withdraw()
    if (!this.session.messages.some(({ role }) => role === 'user')) {
      note(cli, 'there is no answer to give anew')
      return
    }
    this.retries++
    const { seed } = this.options
    const another = seed === undefined || seed < 0 ? {} : { seed: seed + this.retries }
    const asked = this.session.messages.at(-2)?.content ?? ''
    await this.answer(cli, asked, (options) => this.session.retry({ ...options, ...another }))
  }

  /** Forgets the oldest turns: as many as the message needs that did not fit, which is sent then, or one. */
  async drop(cli: Cli): Promise<void> {
    const { pending } = this
    if (pending === null) {
      const turns = this.session.forget(1)
      this.forgotten += turns
      note(cli, turns === 0 ? 'there is no turn to forget' : `forgot the oldest turn · ${this.used}`)
      return
    }
    this.makeRoom(cli, pending)
    await this.say(cli, pending)
  }

  /** Takes back the message that was not sent, which `/drop` would send, and returns it; null where there is none. */
  withdraw(): string | null {
    const { pending } = this
    this.pending = null
    return pending
  }

  async chooseDepth(cli: Cli, spec: string): Promise<void> {
    const policy = await announceDepth(cli, this.model, spec, this.options.lossless)
    await refuseOtherDepth(cli, this.model, policy, this.options)
    const how = recommendedOptions(cli, this.model, this.options)
    refuseOutsideBound(cli, policy, { prompts: null, how }, this.options)
    this.depth = spec
    note(cli, `depth ${policy.spec}`)
  }

  /** Ends the chat; under `--json` prints it. */
  finish(): void {
    const { model, session } = this
    if (this.options.json)
      printJson(this.cli, {
        model: model.name,
        quantization: model.quantization,
        context: model.context,
        context_used: this.usedTokens,
        forgotten: this.forgotten,
        turns: this.turns,
        messages: session.messages,
      })
    session.dispose()
  }

  private async answer(cli: Cli, asked: string, ask: (options: GenerateOptions) => Generation): Promise<void> {
    const { model, options } = this
    const generation = ask({ signal: cli.signal, ...(this.depth === undefined ? {} : { depth: this.depth }) })
    let result: GenerationResult
    if (options.json) {
      noteWarnings(cli, generation)
      result = await generation.result.catch((error: unknown) => {
        if (!cli.signal.aborted) throw error
        return generation.partial()
      })
      if (result.tokens.length > 0) this.turns.push({ user: asked, ...resultJson(model, result) })
    } else {
      const { showDepth } = options
      result = await streamAnswer(cli, model, generation, { showDepth, figures: () => this.used })
    }
    const { finishReason, promptTokens, tokens } = result
    this.newest = promptTokens.length + tokens.length
    if (finishReason === 'length' && this.newest > model.context)
      note(cli, `the context is full, so the answer ends here; ${this.choices}`)
  }

  /** Forgets turns until a message fits, and an answer of usual length behind it; none where all of them would not do. */
  private makeRoom(cli: Cli, text: string): void {
    const { session, answerRoom } = this
    const { context } = this.model
    if (this.countAlone(text) + answerRoom > context) return
    let turns = 0
    while (session.countTokens(text) + answerRoom > context && session.forget(1) === 1) turns++
    this.forgotten += turns
    if (turns > 0) note(cli, `forgot the oldest ${turns === 1 ? 'turn' : `${turns} turns`} to make room`)
  }

  /** Tokens of an answer of usual length. */
  private get answerRoom(): number {
    return Math.min(this.options.maxTokens ?? DEFAULT_MAX_TOKENS, Math.floor(this.model.context / 4))
  }

  private get system(): string | null {
    const [first] = this.session.messages
    return first?.role === 'system' ? first.content : null
  }

  /** Tokens of the prompt if every turn were forgotten: the system message stays. */
  private countAlone(text: string): number {
    const { system } = this
    const { literalContent } = this.options
    // It answers nothing, so it takes no memory, and at full depth nothing is measured for it.
    const fresh = this.model.chat({
      depth: 'full',
      ...(system === null ? {} : { system }),
      ...(literalContent === undefined ? {} : { literalContent }),
    })
    const tokens = fresh.countTokens(text)
    fresh.dispose()
    return tokens
  }

  private fullMessage(needed: number, alone: number): string {
    const { answerRoom, system } = this
    const { context } = this.model
    if (alone + answerRoom > context) {
      const what = system === null ? 'the message is' : 'the system text and the message together are'
      const shorter = system === null ? '' : 'a shorter system text leaves more room, '
      return `${what} too long for the context of ${context} tokens: ${alone} tokens, and ${answerRoom} for an answer; nothing was sent; ${shorter}--context N holds more if the model does`
    }
    return `the context is full: with this message the conversation takes ${needed} tokens, which leaves no room for an answer in the context of ${context} tokens, and it was not sent; ${this.choices}`
  }

  private get choices(): string {
    if (this.options.whenFull === 'drop')
      return 'the next message makes the oldest turns go; --context N holds more if the model does'
    return this.interactive
      ? `/drop forgets the oldest ${this.pending === null ? 'turn' : 'turns and sends it'}; /save FILE keeps the conversation, /reset begins anew`
      : '--when-full drop forgets the oldest turns, --context N holds more'
  }
}
