import type { Facts, FactUses, FlagName } from './facts.js'
import type { OtherSource, RowOrder, TensorRow } from './tensor-rows.js'

/** Embedding, final norm and LM head under the names that most checkpoints use. */
export const MODEL: readonly TensorRow[] = [
  embedding('model.embed_tokens'),
  norm('output_norm', 'model.norm'),
  lmHead(),
]

/** The same with a LayerNorm. */
export const LAYER_NORM_MODEL: readonly TensorRow[] = [
  embedding('model.embed_tokens'),
  biasedNorm('output_norm', 'model.norm'),
  lmHead(),
]

/** A layer's rows where a norm stands before attention and one before the MLP, under the names that most checkpoints use. */
export function normsBefore(
  attentionRows: readonly TensorRow[],
  mlpRows: readonly TensorRow[],
  of = norm,
): TensorRow[] {
  return [of('attn_norm', 'input_layernorm'), ...attentionRows, of('ffn_norm', 'post_attention_layernorm'), ...mlpRows]
}

/** Biases that one field of config.json switches on for attention, and one for the MLP. */
export const ATTENTION_BIAS: FactUses = {
  qkvBias: { config: ['attention_bias'] },
  outputBias: { config: ['attention_bias'] },
}
export const BIASES: FactUses = { ...ATTENTION_BIAS, mlpBias: { config: ['mlp_bias'] } }
/** No biases, for families that are built from one whose config.json may have them. */
export const NO_BIASES: FactUses = { qkvBias: {}, outputBias: {}, mlpBias: {} }
/** Biases that a family always has. */
export const ALL_BIASES = { qkvBias: true, outputBias: true, mlpBias: true } as const

export function embedding(source: string, more: Partial<TensorRow> = {}): TensorRow {
  return { name: 'token_embd', source, shape: ['vocabulary', 'embedding'], lookup: true, ...more }
}

export function lmHead(source = 'lm_head', more: Partial<TensorRow> = {}): TensorRow {
  return { name: 'output', source, shape: ['vocabulary', 'embedding'], when: (f) => f.tied !== true, ...more }
}

export function norm(name: string, source: string, more: Partial<TensorRow> = {}): TensorRow {
  return { name, source, shape: ['hidden'], isNorm: true, ...more }
}

/** A LayerNorm with its bias. */
export function biasedNorm(name: string, source: string, more: Partial<TensorRow> = {}): TensorRow {
  return norm(name, source, { bias: true, ...more })
}

export interface AttentionNames {
  readonly q?: string
  readonly k?: string
  readonly v?: string
  readonly output?: string
  readonly fused?: string
}

/** Queries, keys, values and output. Packages may have the first three as one matrix, whatever the checkpoint has. */
export function attention(
  { q = 'self_attn.q_proj', k = 'self_attn.k_proj', v = 'self_attn.v_proj', ...names }: AttentionNames = {},
  { permuted = false, order, transposed }: { permuted?: boolean; order?: RowOrder; transposed?: boolean } = {},
): TensorRow[] {
  const { output = 'self_attn.o_proj', fused = 'self_attn.qkv_proj' } = names
  const turned = transposed === true ? { transposed } : {}
  const split = (f: Facts): boolean => f.fusedQkv !== true
  const of = (name: string, source: string, length: 'q' | 'kv', own?: RowOrder): TensorRow => ({
    name,
    source,
    shape: [length, 'hidden'],
    bias: 'qkvBias',
    when: split,
    ...(own !== undefined && permuted && { order: own }),
  })
  return [
    of('attn_q', q, 'q', 'rotary-q'),
    of('attn_k', k, 'kv', 'rotary-k'),
    of('attn_v', v, 'kv'),
    {
      name: 'attn_qkv',
      source: fused,
      shape: ['qkv', 'hidden'],
      bias: 'qkvBias',
      when: (f) => !split(f),
      ...(order !== undefined && { order }),
      ...turned,
    },
    { name: 'attn_output', source: output, shape: ['hidden', 'q'], bias: 'outputBias', ...turned },
  ]
}

/** Norms of queries and keys: of each head, with one weight for all. */
export function headNorms(q = 'self_attn.q_norm', k = 'self_attn.k_norm', when?: FlagName): TensorRow[] {
  const condition = when === undefined ? {} : { when: (f: Facts) => f[when] === true }
  return [
    { name: 'attn_q_norm', source: q, shape: ['headDim'], isNorm: true, ...condition },
    { name: 'attn_k_norm', source: k, shape: ['headDim'], isNorm: true, ...condition },
  ]
}

/** The same over all heads together. */
export function wholeNorms(): TensorRow[] {
  return [
    { name: 'attn_q_norm', source: 'self_attn.q_norm', shape: ['q'], isNorm: true },
    { name: 'attn_k_norm', source: 'self_attn.k_norm', shape: ['kv'], isNorm: true },
  ]
}

/** The same with a weight for every head. */
export function normOfEachHead(q: string, k: string): TensorRow[] {
  const when = (f: Facts): boolean => f.qkNorm === true
  return [
    { name: 'attn_q_norm', source: q, shape: ['heads', 'headDim'], plain: true, when },
    { name: 'attn_k_norm', source: k, shape: ['kvHeads', 'headDim'], plain: true, when },
  ]
}

const isDense: NonNullable<TensorRow['when']> = (_, layer) => layer?.routed !== true

/** Gate, up and down. */
export function gatedMlp(gate = 'mlp.gate_proj', up = 'mlp.up_proj', down = 'mlp.down_proj'): TensorRow[] {
  return [
    { name: 'ffn_gate', source: gate, shape: ['inner', 'hidden'], bias: 'mlpBias', when: isDense },
    { name: 'ffn_up', source: up, shape: ['inner', 'hidden'], bias: 'mlpBias', when: isDense },
    { name: 'ffn_down', source: down, shape: ['hidden', 'inner'], bias: 'mlpBias', when: isDense },
  ]
}

/** Gate and up in one matrix, and down. */
export function fusedGatedMlp(): TensorRow[] {
  return [
    { name: 'ffn_up', source: 'mlp.gate_up_proj', shape: ['twoInner', 'hidden'] },
    { name: 'ffn_down', source: 'mlp.down_proj', shape: ['hidden', 'inner'] },
  ]
}

/** Up and down. */
export function plainMlp(up: string, down: string, more: Partial<TensorRow> = {}): TensorRow[] {
  return [
    { name: 'ffn_up', source: up, shape: ['inner', 'hidden'], bias: 'mlpBias', ...more },
    { name: 'ffn_down', source: down, shape: ['hidden', 'inner'], bias: 'mlpBias', ...more },
  ]
}

const hasExperts: NonNullable<TensorRow['when']> = (_, layer) => layer?.routed === true

/**
 * Router and experts: one matrix for each in older checkpoints, all in one in newer ones, where gate and up are the halves of
 * each expert's rows.
 */
export function routedExperts(
  at: string,
  names: { router: string; gate: string; up: string; down: string } = {
    router: 'gate',
    gate: 'gate_proj',
    up: 'up_proj',
    down: 'down_proj',
  },
  newer = at,
): TensorRow[] {
  const half = (part: 'first-half' | 'second-half'): OtherSource => ({
    source: `${newer}.experts.gate_up_proj`,
    shape: ['experts', 'twoExpertInner', 'hidden'],
    part,
    bare: true,
  })
  const down: OtherSource = {
    source: `${newer}.experts.down_proj`,
    shape: ['experts', 'hidden', 'expertInner'],
    bare: true,
  }
  const when = hasExperts
  const split: NonNullable<TensorRow['when']> = (f, layer) => hasExperts(f, layer) && f.fusedExperts !== true
  const router = {
    source: `${at}.${names.router}`,
    or: newer === at ? [] : [{ source: `${newer}.gate`, shape: ['experts', 'hidden'] as const }],
  }
  return [
    { name: 'ffn_gate_inp', ...router, shape: ['experts', 'hidden'], plain: true, when },
    {
      name: 'ffn_gate_exps',
      source: `${at}.experts.{e}.${names.gate}`,
      shape: ['experts', 'expertInner', 'hidden'],
      or: [half('first-half')],
      when: split,
    },
    {
      name: 'ffn_up_exps',
      source: `${at}.experts.{e}.${names.up}`,
      shape: ['experts', 'expertInner', 'hidden'],
      or: [half('second-half')],
      when: split,
    },
    {
      name: 'ffn_gate_up_exps',
      source: `${newer}.experts.gate_up_proj`,
      shape: ['experts', 'twoExpertInner', 'hidden'],
      bare: true,
      when: (f, layer) => hasExperts(f, layer) && f.fusedExperts === true,
    },
    {
      name: 'ffn_down_exps',
      source: `${at}.experts.{e}.${names.down}`,
      shape: ['experts', 'hidden', 'expertInner'],
      or: [down],
      when,
    },
  ]
}

/** An expert that all tokens use. */
export function sharedExpert(at: string): TensorRow[] {
  const when: NonNullable<TensorRow['when']> = (f, layer) => layer?.routed === true && f.sharedExpertWidth !== undefined
  return [
    { name: 'ffn_gate_shexp', source: `${at}.gate_proj`, shape: ['sharedInner', 'hidden'], when },
    { name: 'ffn_up_shexp', source: `${at}.up_proj`, shape: ['sharedInner', 'hidden'], when },
    { name: 'ffn_down_shexp', source: `${at}.down_proj`, shape: ['hidden', 'sharedInner'], when },
  ]
}
