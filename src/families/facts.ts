import type { ConfigReader } from '../checkpoint/config-reader.js'
import { MOST_EXPERTS, MOST_HEADS, MOST_LAYERS } from './limits.js'

/** What a model's files say of it. A number that a family does not have is absent; a flag is then false. */
export interface Facts {
  readonly layers: number
  readonly hidden: number
  readonly vocabulary: number
  readonly context: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly feedForward: number
  readonly epsilon: number
  readonly learnedPositions?: number
  readonly embeddingWidth?: number
  readonly window?: number
  /** The first layer that has a window, where the layers below have none. */
  readonly windowFrom?: number
  /** The last of so many layers has no window. */
  readonly windowPeriod?: number
  /** Scores of attention, and logits, become softcap tanh(x / softcap). */
  readonly attentionSoftcap?: number
  readonly logitSoftcap?: number
  /** Queries and keys are multiplied to a score times this, instead of 1 / sqrt(headDim). */
  readonly attentionScale?: number
  /** Queries are multiplied by 1 + this x ln(1 + floor(position / original context)). */
  readonly temperatureScale?: number
  /** q, k and v are cut to -clamp .. clamp. */
  readonly clampQkv?: number
  readonly embeddingScale?: number
  readonly residualScale?: number
  /** Logits are multiplied by it. */
  readonly logitScale?: number
  /** Logits are divided by it. */
  readonly logitDivisor?: number
  readonly experts?: number
  readonly expertsUsed?: number
  readonly expertWidth?: number
  /** Layers that have an MLP and no experts. */
  readonly denseLayers?: readonly number[]
  /** 1 for layers whose queries and keys are rotated, 0 for the others. */
  readonly rotatedLayers?: readonly number[]
  /** Every so many layers one is not rotated. */
  readonly rotationPeriod?: number
  readonly sharedExpertWidth?: number
  /** The weights of a token's experts are divided by their sum. */
  readonly normalizeExperts?: boolean
  readonly parallelResidual?: boolean
  /** GELU's tanh form where the family has that of the error function, and the other way round. */
  readonly otherGelu?: boolean
  readonly rotary?: boolean
  readonly tied?: boolean
  readonly fusedQkv?: boolean
  /** Gate and up of every expert in one matrix, the gate first. */
  readonly fusedExperts?: boolean
  readonly qkvBias?: boolean
  readonly outputBias?: boolean
  readonly mlpBias?: boolean
  readonly qkNorm?: boolean
  readonly secondNorm?: boolean
  readonly postNorm?: boolean
  readonly finalNorm?: boolean
  readonly headBias?: boolean
  /** Per layer: what xIELU learned. */
  readonly xieluAlphaN?: readonly number[]
  readonly xieluAlphaP?: readonly number[]
  readonly xieluBeta?: readonly number[]
  readonly xieluEps?: readonly number[]
  /** Numbers that a GGUF file gives for each layer. */
  readonly layerHeads?: readonly number[]
  readonly layerKvHeads?: readonly number[]
  readonly layerFeedForward?: readonly number[]
}

export type FactName = keyof Facts
/** Names of facts that are yes or no. */
export type FlagName = {
  [N in FactName]-?: NonNullable<Facts[N]> extends boolean ? N : never
}[FactName]

/** What a fact may be. */
export type FactValue = number | boolean | readonly number[]

/** How a fact is read and written. */
export interface Fact {
  readonly kind: 'count' | 'number' | 'flag' | 'numbers'
  /** Names in config.json, of which the first that is there counts; a dot leads into an object. */
  readonly config: readonly string[]
  /** GGUF key behind the architecture's name, or alone where `shared`. */
  readonly key?: string
  readonly shared?: boolean
  /** A tensor, or one of several, that a GGUF file has (in layer 0) where the flag is true; `!` where it lacks it. */
  readonly tensor?: string
  /** GGUF files may give one for each layer, which then goes to this fact. */
  readonly perLayer?: 'layerHeads' | 'layerKvHeads' | 'layerFeedForward'
  /** `null` in config.json says that there is none, and not that the default holds; in a GGUF file 0 says it. */
  readonly mayBeNone?: boolean
  readonly max?: number
  /** Smallest value of a number. */
  readonly min?: number
  /** Every family has it. */
  readonly always?: boolean
  /** A GGUF file of a family that has it must say it. */
  readonly required?: boolean
}

/** How a family reads a fact, where it differs from `FACTS`. */
export interface FactUse {
  readonly config?: readonly string[]
  /** In the place of names: what config.json says in another way. What was read before it is known. */
  readonly read?: (config: ConfigReader, facts: Facts) => FactValue | undefined
  readonly key?: string
  readonly tensor?: string
  /** Where config.json does not say, as in transformers; what was read before it is known. */
  readonly default?: Default
  /** Where a GGUF file does not say, as in llama.cpp. */
  readonly ggufDefault?: Default
}
/** A value, or what follows from facts that were read before. */
export type Default = FactValue | ((facts: Facts) => FactValue | undefined)

export type FactUses = { readonly [N in FactName]?: FactUse }

/** What facts are where config.json does not say them. */
export type FactDefaults = { readonly [N in FactName]?: Facts[N] }

/** Every fact with its usual names; they are read in this order. */
export const FACTS: { readonly [N in FactName]: Fact } = {
  layers: {
    kind: 'count',
    config: ['num_hidden_layers', 'n_layer', 'n_layers', 'num_layers'],
    key: 'block_count',
    max: MOST_LAYERS,
    always: true,
  },
  hidden: { kind: 'count', config: ['hidden_size', 'n_embd', 'n_embed'], key: 'embedding_length', always: true },
  vocabulary: { kind: 'count', config: ['vocab_size'], key: 'vocab_size', always: true },
  context: {
    kind: 'count',
    config: ['max_position_embeddings', 'n_positions', 'seq_length'],
    key: 'context_length',
    always: true,
  },
  heads: {
    kind: 'count',
    config: ['num_attention_heads', 'n_head', 'n_heads'],
    key: 'attention.head_count',
    max: MOST_HEADS,
    perLayer: 'layerHeads',
    always: true,
  },
  kvHeads: {
    kind: 'count',
    config: ['num_key_value_heads', 'n_kv_heads'],
    key: 'attention.head_count_kv',
    max: MOST_HEADS,
    perLayer: 'layerKvHeads',
    always: true,
  },
  headDim: {
    kind: 'count',
    config: ['head_dim'],
    key: 'attention.key_length',
    always: true,
  },
  feedForward: {
    kind: 'count',
    config: ['intermediate_size', 'n_inner', 'ffn_dim'],
    key: 'feed_forward_length',
    perLayer: 'layerFeedForward',
    always: true,
  },
  epsilon: {
    kind: 'number',
    config: ['rms_norm_eps', 'norm_eps', 'layer_norm_eps', 'layer_norm_epsilon', 'norm_epsilon'],
    min: 0,
    always: true,
  },
  learnedPositions: { kind: 'count', config: [] },
  embeddingWidth: { kind: 'count', config: [] },
  window: {
    kind: 'count',
    config: ['sliding_window'],
    key: 'attention.sliding_window',
    mayBeNone: true,
  },
  windowFrom: { kind: 'count', config: ['max_window_layers'], min: 0 },
  windowPeriod: { kind: 'count', config: ['sliding_window_pattern', '_sliding_window_pattern'] },
  attentionSoftcap: {
    kind: 'number',
    config: ['attn_logit_softcapping'],
    key: 'attn_logit_softcapping',
    mayBeNone: true,
  },
  logitSoftcap: {
    kind: 'number',
    config: ['final_logit_softcapping'],
    key: 'final_logit_softcapping',
    mayBeNone: true,
  },
  attentionScale: { kind: 'number', config: [], key: 'attention.scale' },
  temperatureScale: { kind: 'number', config: [], key: 'attention.temperature_scale' },
  clampQkv: { kind: 'number', config: ['clip_qkv'], key: 'attention.clamp_kqv', mayBeNone: true },
  embeddingScale: { kind: 'number', config: [], key: 'embedding_scale' },
  residualScale: { kind: 'number', config: [], key: 'residual_scale' },
  logitScale: { kind: 'number', config: ['logit_scale'], key: 'logit_scale' },
  logitDivisor: { kind: 'number', config: ['logits_scaling'], key: 'logit_scale' },
  experts: {
    kind: 'count',
    mayBeNone: true,
    config: ['num_local_experts', 'num_experts', 'n_routed_experts'],
    key: 'expert_count',
    max: MOST_EXPERTS,
  },
  expertsUsed: {
    kind: 'count',
    config: ['num_experts_per_tok', 'moe_topk'],
    key: 'expert_used_count',
    mayBeNone: true,
  },
  expertWidth: {
    kind: 'count',
    config: ['moe_intermediate_size'],
    key: 'expert_feed_forward_length',
    mayBeNone: true,
  },
  sharedExpertWidth: {
    kind: 'count',
    mayBeNone: true,
    config: ['shared_expert_intermediate_size', 'shared_intermediate_size'],
    key: 'expert_shared_feed_forward_length',
  },
  normalizeExperts: { kind: 'flag', config: ['norm_topk_prob'], key: 'expert_weights_norm' },
  parallelResidual: { kind: 'flag', config: ['use_parallel_residual'], key: 'use_parallel_residual' },
  otherGelu: { kind: 'flag', config: [], key: 'shoal.other_gelu', shared: true },
  rotary: { kind: 'flag', config: [], key: 'rope.scaling.finetuned' },
  tied: { kind: 'flag', config: ['tie_word_embeddings'], tensor: '!output.weight', always: true },
  fusedQkv: { kind: 'flag', config: [], tensor: 'attn_qkv.weight', always: true },
  fusedExperts: { kind: 'flag', config: [], tensor: 'ffn_gate_up_exps.weight', always: true },
  qkvBias: { kind: 'flag', config: [], tensor: 'attn_q.bias|attn_qkv.bias', always: true },
  outputBias: { kind: 'flag', config: [], tensor: 'attn_output.bias', always: true },
  mlpBias: { kind: 'flag', config: [], tensor: 'ffn_up.bias', always: true },
  qkNorm: { kind: 'flag', config: [], tensor: 'attn_q_norm.weight' },
  secondNorm: { kind: 'flag', config: [], tensor: 'attn_norm_2.weight' },
  postNorm: { kind: 'flag', config: [], tensor: 'layer_output_norm.weight' },
  finalNorm: { kind: 'flag', config: [], tensor: 'output_norm.weight' },
  headBias: { kind: 'flag', config: [], tensor: 'output.bias', always: true },
  denseLayers: { kind: 'numbers', config: [] },
  rotationPeriod: { kind: 'count', config: ['no_rope_layer_interval'] },
  rotatedLayers: { kind: 'numbers', config: ['no_rope_layers'], key: 'shoal.rotated_layers', shared: true },
  xieluAlphaN: { kind: 'numbers', config: [], key: 'xielu.alpha_n', shared: true, required: true },
  xieluAlphaP: { kind: 'numbers', config: [], key: 'xielu.alpha_p', shared: true, required: true },
  xieluBeta: { kind: 'numbers', config: [], key: 'xielu.beta', shared: true, required: true },
  xieluEps: { kind: 'numbers', config: [], key: 'xielu.eps', shared: true, required: true },
  layerHeads: { kind: 'numbers', config: [] },
  layerKvHeads: { kind: 'numbers', config: [] },
  layerFeedForward: { kind: 'numbers', config: [] },
}

const NAMES = Object.keys(FACTS) as FactName[]

/** What all families read unless their table says otherwise. */
const USUAL: FactUses = {
  kvHeads: { default: (f) => f.heads, ggufDefault: (f) => f.heads },
  headDim: {
    default: (f) => Math.floor(f.hidden / f.heads),
    ggufDefault: (f) => Math.floor(f.hidden / f.heads),
  },
}

/** How a family reads its facts: its own ways, with the defaults among them. */
export function withDefaults(uses: FactUses = {}, defaults: FactDefaults = {}): FactUses {
  const all: Partial<Record<FactName, FactUse>> = { ...uses }
  for (const [name, value] of Object.entries(defaults)) {
    all[name as FactName] = { default: value as FactValue, ...all[name as FactName] }
  }
  return all
}

/** The facts of a family with its own names in the place of the usual ones. */
export function usesOf(uses: FactUses): [FactName, Fact & FactUse][] {
  return NAMES.filter((name) => FACTS[name].always === true || name in uses).map((name) => [
    name,
    { ...FACTS[name], ...USUAL[name], ...uses[name] },
  ])
}

/** What holds where a file does not say a fact. */
export function valueOfDefault(given: Default | undefined, facts: unknown): FactValue | undefined {
  return typeof given === 'function' ? given(facts as Facts) : given
}
