import type { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata, type GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError } from '../errors.js'
import type { Tensor } from '../ggml/graph.js'
import { blockNorm, linear, norm } from './affine.js'
import type { Family, Hyperparameters, TensorMapping } from './family.js'
import { layerCount, MOST_LAYERS } from './layer-count.js'

/** BLOOM's ALiBi slopes end at 2^-8; neither config.json nor llama.cpp's metadata says it. */
const MAX_BIAS = 8
/** The MLP's inner width is four times the hidden one; config.json does not say it. */
const INNER_WIDTHS = 4
/** What BLOOM was trained with, where config.json does not say it. ALiBi itself has no end. */
const CONTEXT = 2048

/**
 * BLOOM and BLOOMZ: ALiBi positions, a norm after the embedding, LayerNorm and biases everywhere, one matrix for queries,
 * keys and values, a GELU MLP.
 */
export const bloom: Family = {
  architecture: 'bloom',
  modelTypes: ['bloom'],
  layersAt: 'transformer.h',
  inLlamaCpp: true,

  fromConfig(config) {
    config.only('apply_residual_connection_post_layernorm', [false])
    if (config.has('quantization_config')) throw config.unsupported('quantization_config')
    const hidden = config.count(oneOf(config, 'n_embed', 'hidden_size'))
    const headsField = oneOf(config, 'num_attention_heads', 'n_head')
    const heads = config.count(headsField)
    if (hidden % heads !== 0) throw config.unsupported(headsField)
    return {
      architecture: 'bloom',
      layers: config.count(oneOf(config, 'num_hidden_layers', 'n_layer'), { max: MOST_LAYERS }),
      hidden,
      heads,
      kvHeads: heads,
      headDim: hidden / heads,
      feedForward: hidden * INNER_WIDTHS,
      vocabulary: config.count('vocab_size'),
      context: config.count('seq_length', { default: CONTEXT }),
      maxBias: MAX_BIAS,
      normEpsilon: config.number('layer_norm_epsilon', { default: 1e-5, min: 0 }),
      tiedEmbeddings: config.boolean('tie_word_embeddings', { default: true }),
    }
  },

  fromMetadata(metadata, tensorNames) {
    const count = (name: string) => {
      const value = metadata.count(`bloom.${name}`)
      if (value < 1) throw new FileError(metadata.path, `metadata key bloom.${name} must be at least 1`)
      return value
    }
    const hidden = count('embedding_length')
    const heads = count('attention.head_count')
    const kvHeads = metadata.has('bloom.attention.head_count_kv') ? count('attention.head_count_kv') : heads
    if (hidden % heads !== 0 || kvHeads !== heads) {
      throw new FileError(metadata.path, `${heads} heads, ${kvHeads} KV heads do not fit ${hidden} dimensions`)
    }
    return {
      architecture: 'bloom',
      layers: layerCount(metadata, 'bloom.block_count'),
      hidden,
      heads,
      kvHeads,
      headDim: hidden / heads,
      feedForward: count('feed_forward_length'),
      vocabulary: metadata.has('bloom.vocab_size') ? count('vocab_size') : metadata.length('tokenizer.ggml.tokens'),
      context: count('context_length'),
      maxBias: MAX_BIAS,
      normEpsilon: metadata.number('bloom.attention.layer_norm_epsilon', 0),
      tiedEmbeddings: !tensorNames.has('output.weight'),
    }
  },

  toMetadata(h) {
    const count = (value: number): GgufValue => ({ type: 'uint32', value })
    const values: [string, GgufValue][] = [
      ['block_count', count(h.layers)],
      ['context_length', count(h.context)],
      ['embedding_length', count(h.hidden)],
      ['feed_forward_length', count(h.feedForward)],
      ['attention.head_count', count(h.heads)],
      ['attention.head_count_kv', count(h.kvHeads)],
      ['attention.layer_norm_epsilon', { type: 'float32', value: h.normEpsilon }],
      ['vocab_size', count(h.vocabulary)],
    ]
    return new GgufMetadata(
      '',
      values.map(([name, value]) => [`bloom.${name}`, value] as const),
    )
  },

  tensors(h) {
    const list: TensorMapping[] = []
    const tensor = (name: string, source: string, shape: number[], more: Partial<TensorMapping> = {}) => {
      list.push({ name, source: `transformer.${source}`, shape, quantize: shape.length > 1, ...more })
    }
    const norm = (name: string, source: string) => {
      tensor(`${name}.weight`, `${source}.weight`, [h.hidden])
      tensor(`${name}.bias`, `${source}.bias`, [h.hidden])
    }
    const linear = (name: string, source: string, shape: [number, number], more: Partial<TensorMapping> = {}) => {
      tensor(`${name}.weight`, `${source}.weight`, shape, more)
      tensor(`${name}.bias`, `${source}.bias`, [shape[0]], more)
    }
    tensor('token_embd.weight', 'word_embeddings.weight', [h.vocabulary, h.hidden], { lookup: true })
    norm('token_embd_norm', 'word_embeddings_layernorm')
    for (let l = 0; l < h.layers; l++) {
      norm(`blk.${l}.attn_norm`, `h.${l}.input_layernorm`)
      linear(`blk.${l}.attn_qkv`, `h.${l}.self_attention.query_key_value`, [3 * h.hidden, h.hidden], {
        fusedHeads: h.heads,
      })
      linear(`blk.${l}.attn_output`, `h.${l}.self_attention.dense`, [h.hidden, h.hidden])
      norm(`blk.${l}.ffn_norm`, `h.${l}.post_attention_layernorm`)
      linear(`blk.${l}.ffn_up`, `h.${l}.mlp.dense_h_to_4h`, [h.feedForward, h.hidden])
      linear(`blk.${l}.ffn_down`, `h.${l}.mlp.dense_4h_to_h`, [h.hidden, h.feedForward])
    }
    norm('output_norm', 'ln_f')
    if (!h.tiedEmbeddings) {
      list.push({ name: 'output.weight', source: 'lm_head.weight', shape: [h.vocabulary, h.hidden], quantize: true })
    }
    return list
  },

  computedTensors: () => [],

  headMatrix,

  embed(g, h, weights, ids) {
    return norm(g, g.getRows(weights.rows('token_embd.weight'), ids), weights, 'token_embd_norm', h.normEpsilon)
  },

  layer(g, x, c) {
    const h = c.hyperparameters
    const fused = linear(g, blockNorm(g, x, c, 'attn_norm'), c, 'attn_qkv')
    const rows = fused.shape[1]
    const part = (i: number) => g.view(fused, [h.hidden, rows, 1], [fused.strides[1], fused.bytes], i * h.hidden * 4)
    const heads = (t: Tensor) => g.reshape(g.contiguous(t), h.headDim, h.heads, t.shape[1])
    const scale = 1 / Math.sqrt(h.headDim)
    const attended = c.attend(heads(c.narrow(part(0))), heads(part(1)), heads(part(2)), { scale })
    const attention = linear(g, attended, c, 'attn_output')
    c.sublayer('attention', attention)
    const middle = g.add(c.narrow(x), attention)
    const mlp = linear(g, g.gelu(linear(g, blockNorm(g, middle, c, 'ffn_norm'), c, 'ffn_up')), c, 'ffn_down')
    c.sublayer('mlp', mlp)
    return g.add(middle, mlp)
  },

  head(g, h, weights, x) {
    return g.mulMat(weights.get(headMatrix(h)), norm(g, x, weights, 'output_norm', h.normEpsilon))
  },
}

function headMatrix(h: Hyperparameters): string {
  return h.tiedEmbeddings ? 'token_embd.weight' : 'output.weight'
}

/** transformers writes either name, and goes by the first where both are there. */
function oneOf(config: ConfigReader, first: string, second: string): string {
  return config.has(first) ? first : second
}
