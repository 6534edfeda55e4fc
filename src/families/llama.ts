import type { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata, type GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError, UnsupportedError } from '../errors.js'
import type { Graph, Rope, Tensor } from '../ggml/graph.js'
import type { ComputedTensor, Family, Hyperparameters, LayerContext, TensorMapping } from './family.js'
import { layerCount, MOST_LAYERS } from './layer-count.js'

/** How positions beyond the trained context are handled. */
type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  /** Frequencies are divided by factors that the package holds as `rope_freqs.weight` (Llama 3.1). */
  | { readonly type: 'factors'; readonly factors: Float32Array | null }

interface LlamaHyperparameters extends Hyperparameters {
  readonly attentionBias: boolean
  readonly mlpBias: boolean
  readonly ropeBase: number
  readonly ropeScaling: RopeScaling
}

/** Llama 1 to 3: pre-norm RMSNorm, rotary positions, grouped KV heads, SwiGLU. */
export const llama: Family<LlamaHyperparameters> = {
  architecture: 'llama',
  modelTypes: ['llama'],
  layersAt: 'model.layers',
  inLlamaCpp: true,

  fromConfig(config) {
    config.only('hidden_act', ['silu'])
    config.only('partial_rotary_factor', [1])
    for (const field of ['quantization_config', 'sliding_window', 'layer_types', 'no_rope_layers']) {
      if (config.has(field)) throw config.unsupported(field)
    }
    const hidden = config.count('hidden_size')
    const heads = config.count('num_attention_heads')
    const kvHeads = config.count('num_key_value_heads', { default: heads })
    if (heads % kvHeads !== 0) throw config.unsupported('num_key_value_heads')
    if (!config.has('head_dim') && hidden % heads !== 0) throw config.unsupported('num_attention_heads')
    const headDim = config.count('head_dim', { default: Math.floor(hidden / heads) })
    if (headDim % 2 !== 0) throw config.unsupported(config.has('head_dim') ? 'head_dim' : 'num_attention_heads')
    return {
      architecture: 'llama',
      layers: config.count('num_hidden_layers', { max: MOST_LAYERS }),
      hidden,
      heads,
      kvHeads,
      headDim,
      feedForward: config.count('intermediate_size'),
      vocabulary: config.count('vocab_size'),
      context: config.count('max_position_embeddings'),
      normEpsilon: config.number('rms_norm_eps', { default: 1e-6, min: 0 }),
      tiedEmbeddings: config.boolean('tie_word_embeddings', { default: false }),
      attentionBias: config.boolean('attention_bias', { default: false }),
      mlpBias: config.boolean('mlp_bias', { default: false }),
      ...ropeFromConfig(config, headDim),
    }
  },

  fromMetadata(metadata, tensorNames) {
    const key = (name: string) => `llama.${name}`
    const count = (name: string, fallback?: number) => {
      const value = fallback !== undefined && !metadata.has(key(name)) ? fallback : metadata.count(key(name))
      if (value < 1) throw new FileError(metadata.path, `metadata key ${key(name)} must be at least 1`)
      return value
    }
    for (const name of ['expert_count', 'attention.sliding_window', 'logit_scale', 'residual_scale']) {
      if (metadata.has(key(name)) && metadata.number(key(name)) !== 0) {
        throw new UnsupportedError(`${metadata.path}: metadata key ${key(name)} is not supported`)
      }
    }
    const hidden = count('embedding_length')
    const heads = count('attention.head_count')
    const kvHeads = count('attention.head_count_kv', heads)
    const headDim = count('attention.key_length', Math.floor(hidden / heads))
    const vocabulary = metadata.has(key('vocab_size')) ? count('vocab_size') : metadata.length('tokenizer.ggml.tokens')
    if (heads % kvHeads !== 0 || headDim % 2 !== 0) {
      throw new FileError(metadata.path, `${heads} heads, ${kvHeads} KV heads of ${headDim} dimensions do not fit`)
    }
    const rotated = count('rope.dimension_count', headDim)
    const valueLength = count('attention.value_length', headDim)
    if (rotated !== headDim || valueLength !== headDim) {
      throw new UnsupportedError(
        `${metadata.path}: heads of ${headDim} with ${rotated} rotated, ${valueLength} in values`,
      )
    }
    return {
      architecture: 'llama',
      layers: layerCount(metadata, key('block_count')),
      hidden,
      heads,
      kvHeads,
      headDim,
      feedForward: count('feed_forward_length'),
      vocabulary,
      context: count('context_length'),
      normEpsilon: metadata.number(key('attention.layer_norm_rms_epsilon'), 0),
      tiedEmbeddings: !tensorNames.has('output.weight'),
      attentionBias: tensorNames.has('blk.0.attn_q.bias'),
      mlpBias: tensorNames.has('blk.0.ffn_gate.bias'),
      ropeBase: ropeBaseFromMetadata(metadata, key('rope.freq_base')),
      ropeScaling: ropeScalingFromMetadata(metadata, tensorNames),
    }
  },

  toMetadata(h) {
    const values: [string, GgufValue][] = [
      ['block_count', { type: 'uint32', value: h.layers }],
      ['context_length', { type: 'uint32', value: h.context }],
      ['embedding_length', { type: 'uint32', value: h.hidden }],
      ['feed_forward_length', { type: 'uint32', value: h.feedForward }],
      ['attention.head_count', { type: 'uint32', value: h.heads }],
      ['attention.head_count_kv', { type: 'uint32', value: h.kvHeads }],
      ['attention.layer_norm_rms_epsilon', { type: 'float32', value: h.normEpsilon }],
      ['attention.key_length', { type: 'uint32', value: h.headDim }],
      ['attention.value_length', { type: 'uint32', value: h.headDim }],
      ['rope.dimension_count', { type: 'uint32', value: h.headDim }],
      ['rope.freq_base', { type: 'float32', value: h.ropeBase }],
      ['vocab_size', { type: 'uint32', value: h.vocabulary }],
    ]
    if (h.ropeScaling.type === 'linear') {
      values.push(['rope.scaling.type', { type: 'string', value: 'linear' }])
      values.push(['rope.scaling.factor', { type: 'float32', value: h.ropeScaling.factor }])
    }
    return new GgufMetadata(
      '',
      values.map(([name, value]) => [`llama.${name}`, value] as const),
    )
  },

  tensors(h) {
    const q = h.heads * h.headDim
    const kv = h.kvHeads * h.headDim
    const list: TensorMapping[] = [
      {
        name: 'token_embd.weight',
        source: 'model.embed_tokens.weight',
        shape: [h.vocabulary, h.hidden],
        quantize: true,
        lookup: true,
      },
    ]
    for (let l = 0; l < h.layers; l++) {
      const vector = (name: string, source: string, length: number): TensorMapping => ({
        name: `blk.${l}.${name}`,
        source: `model.layers.${l}.${source}`,
        shape: [length],
        quantize: false,
      })
      const linear = (
        name: string,
        source: string,
        rows: number,
        columns: number,
        bias: boolean,
        rotaryHeads?: number,
      ) => {
        const rotary = rotaryHeads === undefined ? {} : { rotaryHeads }
        const s = `model.layers.${l}.${source}`
        list.push({
          name: `blk.${l}.${name}.weight`,
          source: `${s}.weight`,
          shape: [rows, columns],
          quantize: true,
          ...rotary,
        })
        if (bias)
          list.push({ name: `blk.${l}.${name}.bias`, source: `${s}.bias`, shape: [rows], quantize: false, ...rotary })
      }
      list.push(vector('attn_norm.weight', 'input_layernorm.weight', h.hidden))
      linear('attn_q', 'self_attn.q_proj', q, h.hidden, h.attentionBias, h.heads)
      linear('attn_k', 'self_attn.k_proj', kv, h.hidden, h.attentionBias, h.kvHeads)
      linear('attn_v', 'self_attn.v_proj', kv, h.hidden, h.attentionBias)
      linear('attn_output', 'self_attn.o_proj', h.hidden, q, h.attentionBias)
      list.push(vector('ffn_norm.weight', 'post_attention_layernorm.weight', h.hidden))
      linear('ffn_gate', 'mlp.gate_proj', h.feedForward, h.hidden, h.mlpBias)
      linear('ffn_up', 'mlp.up_proj', h.feedForward, h.hidden, h.mlpBias)
      linear('ffn_down', 'mlp.down_proj', h.hidden, h.feedForward, h.mlpBias)
    }
    list.push({ name: 'output_norm.weight', source: 'model.norm.weight', shape: [h.hidden], quantize: false })
    if (!h.tiedEmbeddings) {
      list.push({ name: 'output.weight', source: 'lm_head.weight', shape: [h.vocabulary, h.hidden], quantize: true })
    }
    return list
  },

  computedTensors(h): ComputedTensor[] {
    if (h.ropeScaling.type !== 'factors') return []
    return [{ name: 'rope_freqs.weight', length: h.headDim / 2, values: h.ropeScaling.factors }]
  },

  embed(g, _h, weights, ids) {
    return g.getRows(weights.rows('token_embd.weight'), ids)
  },

  layer(g, x, c) {
    const h = c.hyperparameters
    const normed = norm(g, x, c, 'attn_norm', h.normEpsilon)
    const q = linear(g, c.narrow(normed), c, 'attn_q')
    const k = linear(g, normed, c, 'attn_k')
    const v = linear(g, normed, c, 'attn_v')
    const queries = q.shape[1]
    const rows = k.shape[1]
    const rope = ropeOf(h)
    const factors = h.ropeScaling.type === 'factors' ? c.weights.get('rope_freqs.weight') : null
    const attended = c.attend(
      g.rope(g.reshape(q, h.headDim, h.heads, queries), c.queryPositions, rope, factors),
      g.rope(g.reshape(k, h.headDim, h.kvHeads, rows), c.positions, rope, factors),
      g.reshape(v, h.headDim, h.kvHeads, rows),
      { scale: 1 / Math.sqrt(h.headDim) },
    )
    const attention = linear(g, attended, c, 'attn_output')
    c.sublayer('attention', attention)
    const middle = g.add(c.narrow(x), attention)
    const inner = norm(g, middle, c, 'ffn_norm', h.normEpsilon)
    const mlp = linear(g, g.swiglu(linear(g, inner, c, 'ffn_gate'), linear(g, inner, c, 'ffn_up')), c, 'ffn_down')
    c.sublayer('mlp', mlp)
    return g.add(middle, mlp)
  },

  headMatrix: (h) => (h.tiedEmbeddings ? 'token_embd.weight' : 'output.weight'),

  head(g, h, weights, x) {
    const normed = g.mul(g.rmsNorm(x, h.normEpsilon), weights.get('output_norm.weight'))
    return g.mulMat(weights.get(llama.headMatrix(h)), normed)
  },
}

function linear(g: Graph, x: Tensor, c: LayerContext, name: string): Tensor {
  const product = g.mulMat(c.weights.get(`blk.${c.layer}.${name}.weight`), x)
  const bias = c.weights.optional(`blk.${c.layer}.${name}.bias`)
  return bias ? g.add(product, bias) : product
}

function norm(g: Graph, x: Tensor, c: LayerContext, name: string, epsilon: number): Tensor {
  return g.mul(g.rmsNorm(x, epsilon), c.weights.get(`blk.${c.layer}.${name}.weight`))
}

/** llama.cpp stores q and k with their rows permuted, so that rotated pairs are neighbours. */
function ropeOf(h: LlamaHyperparameters): Rope {
  const scale = h.ropeScaling.type === 'linear' ? 1 / h.ropeScaling.factor : 1
  return { dimensions: h.headDim, pairs: 'interleaved', base: h.ropeBase, scale }
}

/** Newer checkpoints say `rope_parameters`, older ones `rope_theta` and `rope_scaling`. */
function ropeFromConfig(config: ConfigReader, headDim: number): { ropeBase: number; ropeScaling: RopeScaling } {
  const field = config.has('rope_parameters') ? 'rope_parameters' : 'rope_scaling'
  const rope = config.object(field)
  const base = rope?.has('rope_theta') ? rope.number('rope_theta') : config.number('rope_theta', { default: 10000 })
  if (!(base > 0)) throw config.unsupported('rope_theta')
  if (rope === null) return { ropeBase: base, ropeScaling: { type: 'none' } }
  rope.only('partial_rotary_factor', [1])
  const typeField = rope.has('rope_type') ? 'rope_type' : 'type'
  const type = rope.string(typeField, { default: 'default' })
  if (type === 'default') return { ropeBase: base, ropeScaling: { type: 'none' } }
  if (type === 'linear') return { ropeBase: base, ropeScaling: { type: 'linear', factor: positive(rope, 'factor') } }
  if (type === 'llama3')
    return { ropeBase: base, ropeScaling: { type: 'factors', factors: llama3Factors(rope, base, headDim) } }
  throw rope.unsupported(typeField)
}

/**
 * Divisors of the rotary frequencies of Llama 3.1: wavelengths above original context / low_freq_factor are stretched
 * by `factor`, those below original context / high_freq_factor are kept, and the ones between are blended.
 */
function llama3Factors(rope: ConfigReader, base: number, headDim: number): Float32Array {
  const factor = positive(rope, 'factor')
  const low = positive(rope, 'low_freq_factor')
  const high = positive(rope, 'high_freq_factor')
  const original = rope.count('original_max_position_embeddings')
  if (high <= low) throw rope.unsupported('high_freq_factor')
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * base ** ((2 * i) / headDim)
    if (wavelength < original / high) return 1
    if (wavelength > original / low) return factor
    const smooth = (original / wavelength - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

function positive(config: ConfigReader, field: string): number {
  const value = config.number(field)
  if (!(value > 0)) throw config.unsupported(field)
  return value
}

function ropeBaseFromMetadata(metadata: GgufMetadata, key: string): number {
  if (!metadata.has(key)) return 10000
  const base = metadata.number(key)
  if (!(base > 0)) throw new FileError(metadata.path, `metadata key ${key} must be above 0`)
  return base
}

function ropeScalingFromMetadata(metadata: GgufMetadata, tensorNames: ReadonlySet<string>): RopeScaling {
  if (tensorNames.has('rope_freqs.weight')) return { type: 'factors', factors: null }
  const type = metadata.has('llama.rope.scaling.type') ? metadata.string('llama.rope.scaling.type') : 'none'
  if (type === 'none') return { type: 'none' }
  if (type !== 'linear')
    throw new UnsupportedError(`${metadata.path}: llama.rope.scaling.type ${type} is not supported`)
  const factor = metadata.number('llama.rope.scaling.factor')
  if (!(factor > 0)) throw new FileError(metadata.path, 'metadata key llama.rope.scaling.factor must be above 0')
  return { type: 'linear', factor }
}
