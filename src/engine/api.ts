import type { SamplingDefaults } from '../checkpoint/sampling-defaults.js'
import type { Quantization } from '../checkpoint/tensor-type.js'
import type { ProgressInfo } from '../convert/progress.js'
import type { StepCosts } from '../depth/measurement.js'
import type { Depth, Policy } from '../depth/policy.js'
import type { ShoalError } from '../errors.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import type { ChatInput, ChatMessage as TemplateMessage } from '../template/index.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { KvType } from './cache/kv-type.js'
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

export type { SamplingDefaults } from '../checkpoint/sampling-defaults.js'
export type { ProgressInfo } from '../convert/progress.js'
export type { StepCosts } from '../depth/measurement.js'
export type { Depth } from '../depth/policy.js'
export type { KvType } from './cache/kv-type.js'

/** What somebody said in a conversation. */
export type ChatMessage = { readonly role: string; readonly content: string }

/** A message as a chat template takes it: a role, and what else it knows, such as `tool_calls` or a list of parts. */
export type PromptMessage = TemplateMessage

/** What a chat template is given beside the messages. */
export type RenderChatOptions = Omit<ChatInput, 'messages'>

/** What a model is doing. */
export interface EngineStatus {
  /** Sequences that may be decoded at once, those that are (each beam is one), and calls that wait for a slot or for room in the cache. */
  readonly slots: number
  readonly running: number
  readonly waiting: number
  readonly kv: {
    /** Bytes that the cache has now, and that it may have. */
    readonly bytes: number
    readonly mostBytes: number
    /** Of what it may have: reserved by those that run, and kept by idle chats and for prompts that begin alike. */
    readonly reservedBytes: number
    readonly idleBytes: number
  }
}

export interface LoadOptions {
  /** What a checkpoint folder is converted to; default f32 up to 100 million parameters, q4_0 above. Refused for a GGUF file. */
  readonly quantization?: Quantization
  /** What keys and values are kept in; default f32 for f32 models, f16 otherwise. q8_0 takes 0.53 of f16's memory. */
  readonly kvType?: KvType
  /**
   * Threads that compute, always so many. Default: as many as the process may keep busy (affinity and a container's quota
   * counted), fewer while other programs need processors too.
   */
  readonly threads?: number
  readonly device?: 'cpu'
  /**
   * Compute in a thread of the model's own, so that this one's event loop never waits for it. Default true. `false`: here, in turns of some
   * ms; for debugging and measuring.
   */
  readonly thread?: boolean
  /**
   * Compute in a process of the model's own: where it ends, be it by a fault in native code, what runs fails with `runner_lost`, and the next call
   * starts it anew. Default false.
   */
  readonly process?: boolean
  /** Tokens that one sequence may hold; default the smaller of the model's own and 4,096. */
  readonly context?: number
  /** Sequences that are decoded at once; more wait for a free slot. Default 8. */
  readonly slots?: number
  /**
   * Bytes that generations, beams and chats may have in the KV cache: what a generation may come to need is reserved before it begins, and others wait. Chats that are idle lose
   * theirs first, and feed their text anew when they go on. Default half of the memory that is available, and no less than one full context.
   */
  readonly kvMemory?: number
  /**
   * Prefix caching: texts of so many generations that have ended stay in the KV cache, and a prompt that begins alike goes on from there.
   * Default 0. They count as idle: who needs their room gets it.
   */
  readonly prefixCache?: number
  /** Where converted files are kept; default `SHOAL_CACHE`, else the user's cache directory. */
  readonly cacheDir?: string
  /** Of a model on the Hub: branch, tag or commit; default `main`. */
  readonly revision?: string
  readonly progress?: (info: ProgressInfo) => void
  /** Told in one line what runs next: layers, the rows that go through them, and who is checked or ends after them. With `thread: false` alone. */
  readonly onPass?: (pass: string) => void
  readonly signal?: AbortSignal
}

export interface SamplingOptions {
  /** 0 is greedy and the default. */
  readonly temperature?: number
  /** Draw from so many most probable tokens; 0 is off and the default. */
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  readonly repetitionPenalty?: number
  /** No n-gram of this many tokens comes twice, those of the prompt counted; 0 is off and the default. */
  readonly noRepeatNgram?: number
  /** Default: a random one, told in the result. */
  readonly seed?: number
}

/** Sampling options in full, as a generation used them. */
export type SamplingSettings = Readonly<Required<Omit<SamplingOptions, 'seed'>>>

export interface GenerateOptions extends SamplingOptions {
  /** Default: what the checkpoint's `shoal.json` names, else `full`. */
  readonly depth?: Depth
  /**
   * The policy only drafts, and so does the text itself where its end occurred in it before: the full model verifies what was
   * drafted, and what comes out has full depth's law (greedy: full depth's tokens). Drafts go on as long as that pays, or for a
   * given number of tokens before each pass, 1 to 15: by the policy, or where that is `full` from the text. Default false.
   */
  readonly lossless?: boolean | { readonly drafts: number }
  /** New tokens at most; default 128. */
  readonly maxTokens?: number
  /** Text that ends the generation and is not part of it. It may spell special tokens, which are not shown: `<|im_end|>`. */
  readonly stop?: string | readonly string[]
  /** Go on past end-of-text tokens. */
  readonly ignoreEos?: boolean
  /**
   * For chat messages: special tokens that a content spells stay text. Default false: they become themselves, as in
   * transformers and llama.cpp. Refused where the chat template changes contents.
   */
  readonly literalContent?: boolean
  /** Of calls that wait for a slot, those with a greater one go first; default 0. */
  readonly priority?: number
  /** Whose call it is: of calls with equal priority those go first whose client has fewer slots, and then who has waited longest. */
  readonly client?: string
  readonly signal?: AbortSignal
}

export interface GeneratedToken {
  /** What can be shown now: half characters and beginnings of stop strings are held back and come with a later token. */
  readonly text: string
  readonly id: number
  /** Natural log of the probability that the model gave this token, at temperature 1. */
  readonly logprob: number
  /** Layers that this token had run when it was emitted, 1 to L. */
  readonly depth: number
}

/** `length` is the most tokens that were asked for, or a full context; `aborted` is found in partial results only. */
export type FinishReason = 'length' | 'stop' | 'eos' | 'aborted'

export interface GenerationTiming {
  /** Until the first token, the steps of others meanwhile among it. */
  readonly prefillMs: number
  readonly decodeMs: number
  readonly totalMs: number
  readonly promptTokensPerSecond: number
  readonly tokensPerSecond: number
}

export interface LosslessResult {
  /** Tokens that the policy or the text drafted and the full model has judged, and how many of them stood. */
  readonly drafted: number
  readonly accepted: number
  /** How many of both the text proposed. */
  readonly fromText: { readonly drafted: number; readonly accepted: number }
  /** Passes of the full model after the prompt's. */
  readonly passes: number
  /** Tokens that a pass gave on average; 0 without a pass. */
  readonly tokensPerPass: number
  /** Time per token at full depth, as measured in steps without drafts, over time per token here; null where no step was. */
  readonly speedup: number | null
}

export interface GenerationResult {
  readonly promptTokens: number[]
  /** The first tokens of the prompt that were in the KV cache already: of a chat, or by `prefixCache`. */
  readonly reusedTokens: number
  readonly tokens: number[]
  readonly text: string
  /** One per new token. */
  readonly depths: number[]
  /** One per new token. */
  readonly logprobs: number[]
  readonly finishReason: FinishReason
  /** The policy's canonical SPEC. */
  readonly depth: string
  /** The layers that every generated token ran, under a skip policy of one plan: `layers:` with them gives the same again. */
  readonly plan: number[] | null
  /** Where the plan was chosen for a speedup in time; null under `lossless`, whose speedup is another one. */
  readonly speedup: Speedup | null
  /** L, the number of layers. */
  readonly layers: number
  /** Mean of `depths`. */
  readonly meanDepth: number
  /**
   * Evaluations of a layer for the rows that gave the new tokens (the prompt's last one and those after it), catch-up
   * included: under `full`, L for each new token.
   */
  readonly rowLayers: number
  /** Passes over a layer's weights that this sequence took part in, the prompt's included. */
  readonly layerPasses: number
  /** Positions that some layer has not seen yet, and whose hidden row waits for it. */
  readonly rowsWaiting: number
  /** Time in exit checks. */
  readonly checkMs: number
  /** What drafting came to, under `GenerateOptions.lossless`. */
  readonly lossless?: LosslessResult
  readonly seed: number
  readonly sampling: SamplingSettings
  readonly timing: GenerationTiming
}

/** A target speedup over full depth and what became of it, all in decode time. */
export interface Speedup {
  readonly target: number
  /** From the costs that were measured once on this machine. */
  readonly predicted: number
  /**
   * What a step at full depth was measured to take for `batch` sequences, over what this generation's steps took: it holds
   * where so many were decoded at once. Null before the second token.
   */
  readonly delivered: number | null
  /** Sequences at once that the plan was chosen for. */
  readonly batch: number
}

/** A measurement under way. */
export interface MeasureProgress {
  /** What is measured, for people: `what a step costs on this machine`. */
  readonly what: string
  /** 0 to 1. */
  readonly done: number
}

export interface PolicyOptions {
  readonly signal?: AbortSignal
  /** Called while something is measured that the SPEC needs to know of the model. */
  readonly onMeasure?: (progress: MeasureProgress) => void
}

export interface CostsOptions extends PolicyOptions {
  /** Measure again, whatever the cache says. */
  readonly anew?: boolean
}

/**
 * Tokens as they come. `result` resolves also where nobody iterates. An aborted signal makes the iteration throw an
 * error of code `aborted`, and `result` reject with it; `partial` tells what was done until then.
 */
export interface Generation extends AsyncIterable<GeneratedToken> {
  readonly result: Promise<GenerationResult>
  /** What was done to the prompt that its writer may not expect, for people. */
  readonly warnings: readonly string[]
  /** The result so far; at the end the same as `result`. */
  partial(): GenerationResult
}

export interface BeamSearchOptions {
  /** As in `GenerateOptions`; every beam has a policy state of its own. */
  readonly depth?: Depth
  /** Texts that are followed at once, 1 to 128; default 4. */
  readonly beams?: number
  /** No n-gram of this many tokens comes twice in a text, those of the prompt counted; 0 is off and the default. */
  readonly noRepeatNgram?: number
  /** p of the score: sum of log-probabilities / length^p. Default 1; a larger one favours longer texts. */
  readonly lengthPenalty?: number
  /** New tokens at most; default 128. */
  readonly maxTokens?: number
  /** Go on past end-of-text tokens. */
  readonly ignoreEos?: boolean
  readonly signal?: AbortSignal
}

export interface Beam {
  /** The new tokens, an end-of-text token included. */
  readonly tokens: number[]
  readonly text: string
  /** Sum of the tokens' natural log-probabilities over their number to the power of the length penalty. */
  readonly score: number
}

/**
 * The fields of a generation are the best beam's; `rowLayers`, `checkMs` and `timing` are of all beams together, and
 * `seed` is 0, because nothing is drawn.
 */
export interface BeamSearchResult extends GenerationResult {
  /** Best first. Fewer than were asked for only where the vocabulary gives no more. */
  readonly beams: Beam[]
}

export interface ChatOptions extends GenerateOptions {
  /** What the model is told before the conversation. */
  readonly system?: string
}

/**
 * A conversation that keeps its KV cache between turns. Whatever was changed before (turns taken back, another system
 * message, another depth), an answer is what a new conversation with the same messages gets. All methods but
 * `dispose` throw where an answer is still being written.
 */
export interface ChatSession {
  /** The system message, if there is one, and the turns. */
  readonly messages: readonly ChatMessage[]
  /**
   * Adds a user message and answers it; both join `messages` when the answer ends. An answer that was stopped (by the
   * signal, or by leaving the iteration) counts as far as it was said.
   * @param options what holds for this answer in place of the session's options; `stop` comes on top
   * @throws InputError `context_exceeded` where the conversation leaves no room for an answer; `messages` stay as they are
   */
  send(text: string, options?: GenerateOptions): Generation
  /** Answers the last message anew; the answer before stays until the new one ends. Throws InputError without a turn. */
  retry(options?: GenerateOptions): Generation
  /** Takes back the last turn and returns its message; null where there is none. */
  undo(): string | null
  /** Forgets the oldest turns, all by default, and returns how many these were. The system message stays. */
  forget(turns?: number): number
  /** Sets the system message; null takes it away. Throws UnsupportedError where the chat template has no place for one. */
  setSystem(text: string | null): void
  /** Tokens of the context that the conversation takes; with a message, its prompt where that message is sent. */
  countTokens(next?: string): number
  dispose(): void
}

export interface Model {
  /** As shown to people: `ripple-8m`. */
  readonly name: string
  /** The GGUF file. */
  readonly path: string
  readonly quantization: string
  readonly hyperparameters: Hyperparameters
  readonly parameters: number
  /** Tokens that one sequence may hold. */
  readonly context: number
  /** null where the model has none that can be used: then only token ids go in. */
  readonly tokenizer: Tokenizer | null
  /** Why there is no tokenizer, where the file has a vocabulary that cannot be used. */
  readonly tokenizerError: ShoalError | null
  /**
   * What `shoal.json` beside the checkpoint says, and the sampling that generation_config.json or GGUF's keys
   * `general.sampling.*` recommend. Calls take `depth` and `chatStop` by themselves; `sampling` is for the caller to give:
   * `generate(prompt, { ...model.settings.sampling })`.
   */
  readonly settings: {
    readonly depth?: string
    readonly chatStop?: readonly string[]
    readonly sampling: SamplingDefaults
  }
  /** Tokens that end a text, ascending. */
  readonly endTokens: readonly number[]
  readonly warnings: readonly string[]
  /**
   * Identifies the weights: two hexadecimal numbers with a hyphen between them, of which the first is the same whatever the weights are quantised to.
   * Policies and stores of questions remember it.
   */
  readonly fingerprint: string
  /**
   * Continues a prompt: text, token ids (fed as they are) or chat messages. Calls made while others run share a batch.
   * Wrong options throw at once; what fails later rejects `result` and the iteration. A depth that something must be
   * measured for (`unified:2x`, once per machine) makes the generation wait for that.
   */
  generate(prompt: string | readonly number[] | readonly PromptMessage[], options?: GenerateOptions): Generation
  /** Continues a prompt by the most probable text that beam search finds. */
  beamSearch(
    prompt: string | readonly number[] | readonly PromptMessage[],
    options?: BeamSearchOptions,
  ): Promise<BeamSearchResult>
  /**
   * The policy that a SPEC means for this model; default what `generate` would take. Measures first what the SPEC needs to
   * know of the model on this machine, where that is not known yet. A policy object comes back as it is.
   */
  policy(depth?: Depth, options?: PolicyOptions): Promise<Policy>
  /**
   * What a decode step of `batch` sequences (default 1) costs on this machine: measured once and kept in the cache. It runs
   * between the steps of what else runs.
   */
  costs(batch?: number, options?: CostsOptions): Promise<StepCosts>
  trace(ids: readonly number[], options?: TraceOptions): Promise<Trace>
  /** Feeds a known text under a policy, in windows where it is longer than the context and `stride` is given. */
  score(ids: readonly number[], options: ScoreOptions): Promise<Score>
  /** @throws InputError where a text does not fit the model, or has no prompt or nothing after it */
  planLosses(texts: readonly ForcedText[], options?: PlanLossOptions): PlanLosses
  /** Runs a prompt only as far as its next token needs: for answers of one token. Token ids are fed as they are. */
  predict(ids: readonly number[], options?: PredictOptions): Promise<Prediction>
  /**
   * @throws UnsupportedError where the model has no chat template, or the template no place for the system message
   */
  chat(options?: ChatOptions): ChatSession
  /**
   * The text of a conversation, its special tokens spelled: encode it with `addSpecialTokens: false`.
   * @throws UnsupportedError without a chat template; InputError with the template's line where it fails
   */
  renderChat(messages: readonly PromptMessage[], options?: RenderChatOptions): string
  /** Which generations, beams and chats run, who waits, and what the KV cache has. */
  status(): Promise<EngineStatus>
  /** Frees weights and caches; what still runs ends with an error of code `disposed`. */
  dispose(): Promise<void>
}
