import type { BoundScope } from './bound-scope.js'
import type { Bridge } from './bridge.js'
import type { Plan } from './plan.js'

/** What a policy may know of the model and the sequence when a sequence starts. */
export interface SequenceInfo {
  /** L, the number of layers. */
  readonly layers: number
  /** P, tokens in the prompt. */
  readonly promptTokens: number
  /** Tokens that may be generated at most. */
  readonly maxTokens: number
}

/** The token whose depth is being decided. */
export interface TokenInfo {
  /** Position of the row that is fed, from 0. */
  readonly position: number
  /** How many tokens of this sequence were generated before: 0 for the prompt's own pass. */
  readonly generated: number
}

/** Data beyond the check head's own numbers that a policy reads; the engine keeps only what is asked for. */
export interface PolicyNeeds {
  /** `Check.logits` and `Check.entropy`. */
  readonly logits?: boolean
  /** `Check.hidden` and `Check.input`. */
  readonly hidden?: boolean
  /** `Check.attention` and `Check.mlp`. */
  readonly sublayers?: boolean
}

/**
 * An exit check: final norm and LM head applied to one row after a layer, through the policy's lens where it has one (AdaInfer, section 3: the "early exit
 * features"). Probabilities are the head's own softmax at temperature 1. Arrays belong to the policy: they are copies.
 */
export interface Check {
  /** The layer that has just run, from 0. */
  readonly layer: number
  /** Id of the most probable token of the check head. */
  readonly top: number
  /** Id of the second most probable token. */
  readonly second: number
  /** P(top). */
  readonly topProb: number
  /** P(top) - P(second). */
  readonly gap: number
  /** Entropy of the distribution in nats. Needs `logits`. */
  readonly entropy: number
  /** [V], or one for each of the policy's `checkTokens`. Needs `logits`. */
  readonly logits: Float32Array
  /** Output of this layer, before the final norm: [H]. Needs `hidden`. */
  readonly hidden: Float32Array
  /** Input of this layer: [H]. Needs `hidden`. */
  readonly input: Float32Array
  /** Output of the attention block with its projection, before the residual sum: [H]. Needs `sublayers`. */
  readonly attention: Float32Array
  /** Output of the MLP before the residual sum: [H]. Needs `sublayers`. */
  readonly mlp: Float32Array
}

/**
 * Looks at exit checks and stops a token there. `Sequence` and `Token` are the policy's own state, one value per
 * sequence and one per token; the engine carries them and never looks inside.
 */
export interface ExitPolicy<Sequence = unknown, Token = unknown> {
  readonly kind: 'exit'
  /** Canonical SPEC, for results and logs. */
  readonly spec: string
  /** SHA-256 of what the policy was read from, where the SPEC only names a file. */
  readonly source?: string
  /** What a user should know about this policy on this model, one line each. */
  readonly notes?: readonly string[]
  /** What a user should know before tokens are generated freely under this policy, one line each. */
  readonly generationNotes?: readonly string[]
  /** Where a bound on generated sequences holds: what it holds for. */
  readonly boundScope?: BoundScope
  readonly needs?: PolicyNeeds
  /** Layers after which a check runs, ascending; the last one only with `observesLast`. */
  checkLayers(layers: number): Plan
  /**
   * The check head has only these ids, ascending, two or more; default the whole vocabulary. A check costs as much less as
   * the head is smaller; what a token says where it stops always comes from the full head.
   */
  readonly checkTokens?: readonly number[]
  /**
   * Linear maps on the hidden state, each from a layer to the end of the model (the "tuned lens" of arXiv 2303.08112, fitted by
   * least squares): a check after that layer, and what a token says where it stops there, read final norm and head of the mapped
   * row. `Check.hidden` and the caches have the row as it is. Layers without one are read as they are.
   */
  readonly lens?: readonly Bridge[]
  /** The last layer that a token may run, for exits known beforehand; it needs no check. Default: L - 1. */
  lastLayer?(layers: number): number
  startSequence?(info: SequenceInfo): Sequence
  /**
   * A sequence's state for a copy of the sequence that goes on by itself, as beams do. Default: `structuredClone`, which
   * does for plain data; state with methods or a class needs this.
   */
  forkSequence?(state: Sequence): Sequence
  startToken?(info: TokenInfo, sequence: Sequence): Token
  /** True where the policy also wants to see the last layer, at which nothing is left to decide. */
  readonly observesLast?: boolean
  /** True stops the token after `check.layer`; its logits are those of this check. */
  exits(check: Check, token: Token, sequence: Sequence): boolean
}

/** A target speedup, and what measured costs say of the plan that was chosen for it. */
export interface TargetSpeedup {
  /** Times as fast as full depth. */
  readonly target: number
  /** What the plan is expected to give. */
  readonly predicted: number
  /** Sequences at once that it holds for. */
  readonly batch: number
  /** What a step at full depth was measured to take for so many sequences, in ms. */
  readonly fullMs: number
}

/** What the model said at full depth after the prompt: numbers of softmax(logits) at temperature 1. */
export interface PromptPass {
  /** P(top1). */
  readonly topProb: number
  /** P(top1) - P(top2). */
  readonly gap: number
  /** In nats. */
  readonly entropy: number
}

/** Says before a token which layers it runs. Within one sequence a plan may stay or shrink, never grow. */
export interface SkipPolicy<Sequence = unknown> {
  readonly kind: 'skip'
  /** Canonical SPEC, for results and logs. */
  readonly spec: string
  /** SHA-256 of what the policy was read from, where the SPEC only names a file. */
  readonly source?: string
  /** What a user should know about this policy on this model, one line each. */
  readonly notes?: readonly string[]
  /** `full`: the prompt runs every layer (Unified Layer Skipping, section 3). `plan`: it runs its plan too. */
  readonly prompt: 'full' | 'plan'
  /** The plan of every generated token, where it is one and the same. */
  readonly everyToken?: Plan
  /** Linear maps over layers that plans leave out; each applies where a plan has just its gap. */
  readonly bridges?: readonly Bridge[]
  /** Where the plan was chosen for a speedup in time. */
  readonly speedup?: TargetSpeedup
  startSequence?(info: SequenceInfo): Sequence
  /** As in `ExitPolicy`. */
  forkSequence?(state: Sequence): Sequence
  /** Called once per sequence, after the prompt's own pass and before the first plan; only where `prompt` is `full`. */
  observe?(pass: PromptPass, sequence: Sequence): void
  plan(info: TokenInfo & { readonly layers: number }, sequence: Sequence): Plan
}

export type Policy = ExitPolicy | SkipPolicy

/** A SPEC of the `--depth` grammar, or a policy object. */
export type Depth = string | Policy
