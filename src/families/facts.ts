import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { GgufMetadata, GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError, UnsupportedError } from '../errors.js'
import { MOST_LAYERS } from './limits.js'

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
  readonly rotary?: boolean
  readonly tied?: boolean
  readonly fusedQkv?: boolean
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

type FactValue = number | boolean | readonly number[]

interface Fact {
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
type Default = FactValue | ((facts: Facts) => FactValue | undefined)

export type FactUses = { readonly [N in FactName]?: FactUse }

/** Every fact with its usual names; they are read in this order. */
const FACTS: { readonly [N in FactName]: Fact } = {
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
    perLayer: 'layerHeads',
    always: true,
  },
  kvHeads: {
    kind: 'count',
    config: ['num_key_value_heads', 'n_kv_heads'],
    key: 'attention.head_count_kv',
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
  rotary: { kind: 'flag', config: [], key: 'rope.scaling.finetuned' },
  tied: { kind: 'flag', config: ['tie_word_embeddings'], tensor: '!output.weight', always: true },
  fusedQkv: { kind: 'flag', config: [], tensor: 'attn_qkv.weight', always: true },
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
  rotatedLayers: { kind: 'numbers', config: ['no_rope_layers'] },
  xieluAlphaN: { kind: 'numbers', config: [], key: 'xielu.alpha_n', shared: true },
  xieluAlphaP: { kind: 'numbers', config: [], key: 'xielu.alpha_p', shared: true },
  xieluBeta: { kind: 'numbers', config: [], key: 'xielu.beta', shared: true },
  xieluEps: { kind: 'numbers', config: [], key: 'xielu.eps', shared: true },
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

/** The facts of a family with its own names in the place of the usual ones. */
function usesOf(uses: FactUses): [FactName, Fact & FactUse][] {
  return NAMES.filter((name) => FACTS[name].always === true || name in uses).map((name) => [
    name,
    { ...FACTS[name], ...USUAL[name], ...uses[name] },
  ])
}

/**
 * The facts in a config.json.
 * @throws FileError or UnsupportedError that name the field
 */
export function factsOfConfig(config: ConfigReader, uses: FactUses): Facts {
  const facts: Partial<Record<FactName, FactValue>> = {}
  for (const [name, fact] of usesOf(uses)) {
    const read = fact.read === undefined ? configValue(config, fact) : fact.read(config, facts as unknown as Facts)
    const value =
      read ?? (fact.read !== undefined || isNone(config, fact) ? undefined : valueOfDefault(fact.default, facts))
    if (value !== undefined) facts[name] = value
    else if (FACTS[name].always === true && fact.kind !== 'flag') requireField(config, fact)
  }
  return facts as unknown as Facts
}

function configValue(config: ConfigReader, fact: Fact): FactValue | undefined {
  for (const path of fact.config) {
    const { reader, field } = locate(config, path)
    if (reader === null || !reader.has(field)) continue
    if (fact.kind === 'flag') return reader.boolean(field)
    if (fact.kind === 'numbers') return reader.numbers(field)
    const { min, max } = fact
    if (fact.kind === 'number') return reader.number(field, min === undefined ? {} : { min })
    return reader.count(field, { ...(min !== undefined && { min }), ...(max !== undefined && { max }) })
  }
  return undefined
}

/** The field that says a fact; none, and so empty, where config.json does not say it. */
export function fieldOf(config: ConfigReader, uses: FactUses, name: FactName): string {
  const fields = uses[name]?.config ?? FACTS[name].config
  return fields.find((field) => config.has(field)) ?? ''
}

/** A field by its path: `rope_parameters.factor` leads into an object. */
function locate(config: ConfigReader, path: string): { reader: ConfigReader | null; field: string } {
  const dot = path.indexOf('.')
  if (dot < 0) return { reader: config, field: path }
  return { reader: config.object(path.slice(0, dot)), field: path.slice(dot + 1) }
}

function isNone(config: ConfigReader, { config: fields, mayBeNone }: Fact): boolean {
  return mayBeNone === true && fields.some((field) => config.fields[field] === null)
}

function requireField(config: ConfigReader, { config: [field = ''] }: Fact): void {
  config.count(field)
}

function valueOfDefault(given: Default | undefined, facts: unknown): FactValue | undefined {
  return typeof given === 'function' ? given(facts as Facts) : given
}

/**
 * The facts in a GGUF file.
 * @throws FileError or UnsupportedError that name the key
 */
export function factsOfMetadata(
  metadata: GgufMetadata,
  architecture: string,
  uses: FactUses,
  tensors: ReadonlySet<string>,
): Facts {
  const facts: Partial<Record<FactName, FactValue>> = {}
  for (const [name, fact] of usesOf(uses)) {
    const read = metadataValue(metadata, architecture, fact, facts, tensors)
    const value = read ?? valueOfDefault(fact.ggufDefault, facts)
    if (value !== undefined) facts[name] = value
    else if (FACTS[name].always === true && fact.kind !== 'flag') metadata.count(keyOf(architecture, fact))
  }
  return facts as unknown as Facts
}

function metadataValue(
  metadata: GgufMetadata,
  architecture: string,
  fact: Fact,
  facts: Partial<Record<FactName, FactValue>>,
  tensors: ReadonlySet<string>,
): FactValue | undefined {
  if (fact.tensor !== undefined) {
    const absent = fact.tensor.startsWith('!')
    const names = (absent ? fact.tensor.slice(1) : fact.tensor).split('|')
    return names.some((name) => tensors.has(name) || tensors.has(`blk.0.${name}`)) !== absent
  }
  if (fact.key === undefined) return undefined
  const key = keyOf(architecture, fact)
  if (!metadata.has(key)) {
    return fact.key === 'vocab_size' ? metadata.length('tokenizer.ggml.tokens') : undefined
  }
  if (fact.kind === 'flag') return metadata.boolean(key)
  if (fact.kind === 'numbers') return metadata.numbers(key, facts.layers as number)
  if (fact.kind === 'number') {
    const value = metadata.number(key, fact.min)
    // Files write 0 for what a model does not have.
    return value === 0 && fact.always !== true ? undefined : value
  }
  if (fact.perLayer === undefined || !metadata.isList(key)) return countOf(metadata, key, fact)
  const list = metadata.counts(key, facts.layers as number)
  if (list.some((count) => count < 1)) {
    throw new UnsupportedError(`${metadata.path}: ${key} is 0 for some layers, which no family here computes`)
  }
  if (list.some((count) => count !== list[0])) facts[fact.perLayer] = list
  return list[0]
}

function countOf(metadata: GgufMetadata, key: string, { max, mayBeNone }: Fact): number | undefined {
  const value = metadata.count(key)
  if (value === 0 && mayBeNone === true) return undefined
  if (max !== undefined && (value < 1 || value > max)) {
    throw new FileError(metadata.path, `metadata key ${key} must be from 1 to ${max}`)
  }
  if (value < 1) throw new FileError(metadata.path, `metadata key ${key} must be at least 1`)
  return value
}

/** Keys are the architecture's but for a few that llama.cpp reads under one name for all. */
function keyOf(architecture: string, { key, shared }: Fact): string {
  return shared === true ? `${key}` : `${architecture}.${key}`
}

/** The keys that are read, as they stand in a file. */
export function factKeys(architecture: string, uses: FactUses): string[] {
  return usesOf(uses).flatMap(([, fact]) => (fact.key === undefined ? [] : [keyOf(architecture, fact)]))
}

/** The metadata that says these facts. */
export function factsToMetadata(architecture: string, uses: FactUses, facts: Facts): [string, GgufValue][] {
  const entries: [string, GgufValue][] = []
  for (const [name, fact] of usesOf(uses)) {
    const { key, kind, perLayer } = fact
    const value = perLayer === undefined ? facts[name] : (facts[perLayer] ?? facts[name])
    if (key === undefined || value === undefined) continue
    entries.push([keyOf(architecture, fact), metadataOf(kind, value)])
    if (name === 'headDim') entries.push([`${architecture}.attention.value_length`, metadataOf(kind, value)])
  }
  return entries
}

function metadataOf(kind: Fact['kind'], value: FactValue): GgufValue {
  if (typeof value === 'boolean') return { type: 'bool', value }
  const type = kind === 'count' ? 'uint32' : 'float32'
  return typeof value === 'number' ? { type, value } : { type: 'array', of: type, value }
}
