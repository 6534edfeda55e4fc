import { GgufMetadata, type GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError, UnsupportedError } from '../errors.js'
import type { Graph, Rope, Tensor } from '../ggml/graph.js'
import type { ComputedTensor, Family, Hyperparameters, LayerContext, TensorMapping } from './family.js'
import { layerCount, MOST_HEAD_DIMENSIONS, MOST_LAYERS } from './layer-count.js'
import { type RopeScaling, ropeFromConfig, ropeFromMetadata } from './rope-scaling.js'

interface LlamaHyperparameters extends Hyperparameters {
  readonly attentionBias: boolean
  readonly mlpBias: boolean
  readonly ropeBase: number
  readonly ropeScaling: RopeScaling
}

/** What transformers takes the context for where config.json does not say it. */
const CONTEXT = 2048

/** Llama 1 to 3: pre-norm RMSNorm, rotary positions, grouped KV heads, SwiGLU. */
export const llama: Family<LlamaHyperparameters> = {
  architecture: 'llama',
  modelTypes: ['llama'],
  layersAt: 'model.layers',
  inLlamaCpp: true,

  fromConfig(config) {
    config.only('hidden_act', ['silu'])
    config.only('partial_rotary_factor', [1])
    for (const field of ['quantization_config', 'sliding_window', 'no_rope_layers']) {
      if (config.has(field)) throw config.unsupported(field)
    }
    const layers = config.count('num_hidden_layers', { max: MOST_LAYERS })
    config.onlyListOf('layer_types', 'full_attention', layers)
    const hidden = config.count('hidden_size')
    const heads = config.count('num_attention_heads')
    const kvHeads = config.count('num_key_value_heads', { default: heads })
    if (heads % kvHeads !== 0) throw config.unsupported('num_key_value_heads')
    if (!config.has('head_dim') && hidden % heads !== 0) throw config.unsupported('num_attention_heads')
    const headDim = config.count('head_dim', { default: Math.floor(hidden / heads) })
    if (headDim % 2 !== 0 || headDim > MOST_HEAD_DIMENSIONS)
      throw config.unsupported(config.has('head_dim') ? 'head_dim' : 'num_attention_heads')
    const context = config.count('max_position_embeddings', { default: CONTEXT })
    return {
      architecture: 'llama',
      layers,
      hidden,
      heads,
      kvHeads,
      headDim,
      feedForward: config.count('intermediate_size'),
      vocabulary: config.count('vocab_size'),
      context,
      normEpsilon: config.number('rms_norm_eps', { default: 1e-6, min: 0 }),
      tiedEmbeddings: config.boolean('tie_word_embeddings', { default: false }),
      attentionBias: config.boolean('attention_bias', { default: false }),
      mlpBias: config.boolean('mlp_bias', { default: false }),
      ...ropeFromConfig(config, headDim, context),
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
    const layers = layerCount(metadata, key('block_count'))
    /** A number that may be given for each layer. */
    const common = (name: string, fallback?: number) => {
      if (fallback !== undefined && !metadata.has(key(name))) return fallback
      const value = metadata.countOfLayers(key(name), layers)
      if (value === null) {
        throw new UnsupportedError(`${metadata.path}: ${key(name)} that differs from layer to layer is not supported`)
      }
      if (value < 1) throw new FileError(metadata.path, `metadata key ${key(name)} must be at least 1`)
      return value
    }
    const hidden = count('embedding_length')
    const heads = common('attention.head_count')
    const kvHeads = common('attention.head_count_kv', heads)
    const headDim = count('attention.key_length', Math.floor(hidden / heads))
    const vocabulary = metadata.has(key('vocab_size')) ? count('vocab_size') : metadata.length('tokenizer.ggml.tokens')
    if (heads % kvHeads !== 0 || headDim % 2 !== 0 || headDim > MOST_HEAD_DIMENSIONS) {
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
      layers,
      hidden,
      heads,
      kvHeads,
      headDim,
      feedForward: common('feed_forward_length'),
      vocabulary,
      context: count('context_length'),
      normEpsilon: metadata.number(key('attention.layer_norm_rms_epsilon'), 0),
      tiedEmbeddings: !tensorNames.has('output.weight'),
      attentionBias: tensorNames.has('blk.0.attn_q.bias'),
      mlpBias: tensorNames.has('blk.0.ffn_gate.bias'),
      ...ropeFromMetadata(metadata, 'llama', tensorNames.has('rope_freqs.weight')),
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
  const scale = h.ropeScaling.type === 'none' ? 1 : 1 / h.ropeScaling.factor
  return { dimensions: h.headDim, pairs: 'interleaved', base: h.ropeBase, scale }
}
