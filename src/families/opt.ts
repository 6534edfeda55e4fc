import { GgufMetadata, type GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError } from '../errors.js'
import type { Tensor } from '../ggml/graph.js'
import { blockNorm, linear, norm } from './affine.js'
import type { Family, Hyperparameters, TensorMapping } from './family.js'
import { layerCount, MOST_LAYERS } from './layer-count.js'

interface OptHyperparameters extends Hyperparameters {
  readonly learnedPositions: number
  /** Width of a token embedding; where it is not `hidden`, projections lead in and out. */
  readonly embeddingWidth: number
  /** Norms after the sums instead of before attention and MLP (350m). */
  readonly postNorm: boolean
  readonly finalNorm: boolean
}

/** The first two rows of the position table stand for padding. */
const PADDING_POSITIONS = 2
/** PyTorch's default for LayerNorm; config.json does not say it. */
const EPSILON = 1e-5

/**
 * OPT: learned positions, LayerNorm and biases everywhere, a ReLU MLP. The 350m variant has its norms after the sums, no
 * final norm, and projections between token embeddings and hidden states.
 *
 * llama.cpp has no OPT. Keys and tensor names follow its style (GPT-2 where norms come first, BERT where they come last)
 * and are Shoal's own: `opt.token_embedding_length`, `token_embd_proj.weight`, `output_proj.weight`.
 */
export const opt: Family<OptHyperparameters> = {
  architecture: 'opt',
  modelTypes: ['opt'],
  layersAt: 'model.decoder.layers',
  inLlamaCpp: false,

  fromConfig(config) {
    config.only('activation_function', ['relu'])
    config.only('enable_bias', [true])
    config.only('layer_norm_elementwise_affine', [true])
    if (config.has('quantization_config')) throw config.unsupported('quantization_config')
    const hidden = config.count('hidden_size')
    const heads = config.count('num_attention_heads')
    if (hidden % heads !== 0) throw config.unsupported('num_attention_heads')
    const postNorm = !config.boolean('do_layer_norm_before', { default: true })
    // The default is transformers'.
    const context = config.count('max_position_embeddings', { default: 2048 })
    return {
      architecture: 'opt',
      layers: config.count('num_hidden_layers', { max: MOST_LAYERS }),
      hidden,
      heads,
      kvHeads: heads,
      headDim: hidden / heads,
      feedForward: config.count('ffn_dim'),
      vocabulary: config.count('vocab_size'),
      context,
      learnedPositions: context,
      normEpsilon: EPSILON,
      tiedEmbeddings: config.boolean('tie_word_embeddings', { default: true }),
      embeddingWidth: config.count('word_embed_proj_dim', { default: hidden }),
      postNorm,
      finalNorm: !postNorm && !config.boolean('_remove_final_layer_norm', { default: false }),
    }
  },

  fromMetadata(metadata, tensorNames) {
    const count = (name: string) => {
      const value = metadata.count(`opt.${name}`)
      if (value < 1) throw new FileError(metadata.path, `metadata key opt.${name} must be at least 1`)
      return value
    }
    const hidden = count('embedding_length')
    const heads = count('attention.head_count')
    if (hidden % heads !== 0) throw new FileError(metadata.path, `${heads} heads do not divide ${hidden} dimensions`)
    const context = count('context_length')
    return {
      architecture: 'opt',
      layers: layerCount(metadata, 'opt.block_count'),
      hidden,
      heads,
      kvHeads: heads,
      headDim: hidden / heads,
      feedForward: count('feed_forward_length'),
      vocabulary: count('vocab_size'),
      context,
      learnedPositions: context,
      normEpsilon: metadata.number('opt.attention.layer_norm_epsilon', 0),
      tiedEmbeddings: !tensorNames.has('output.weight'),
      embeddingWidth: metadata.has('opt.token_embedding_length') ? count('token_embedding_length') : hidden,
      postNorm: tensorNames.has('blk.0.layer_output_norm.weight'),
      finalNorm: tensorNames.has('output_norm.weight'),
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
      ['attention.layer_norm_epsilon', { type: 'float32', value: h.normEpsilon }],
      ['vocab_size', count(h.vocabulary)],
    ]
    if (h.embeddingWidth !== h.hidden) values.push(['token_embedding_length', count(h.embeddingWidth)])
    return new GgufMetadata(
      '',
      values.map(([name, value]) => [`opt.${name}`, value] as const),
    )
  },

  tensors(h) {
    const list: TensorMapping[] = []
    const matrix = (name: string, source: string, rows: number, columns: number, more: Partial<TensorMapping> = {}) => {
      list.push({ name, source: `model.decoder.${source}`, shape: [rows, columns], quantize: true, ...more })
    }
    const vector = (name: string, source: string, length: number) => {
      list.push({ name, source: `model.decoder.${source}`, shape: [length], quantize: false })
    }
    const norm = (name: string, source: string) => {
      vector(`${name}.weight`, `${source}.weight`, h.hidden)
      vector(`${name}.bias`, `${source}.bias`, h.hidden)
    }
    const linear = (name: string, source: string, rows: number, columns: number) => {
      matrix(`${name}.weight`, `${source}.weight`, rows, columns)
      vector(`${name}.bias`, `${source}.bias`, rows)
    }
    matrix('token_embd.weight', 'embed_tokens.weight', h.vocabulary, h.embeddingWidth, { lookup: true })
    matrix('position_embd.weight', 'embed_positions.weight', h.learnedPositions, h.hidden, {
      quantize: false,
      lookup: true,
      skipRows: PADDING_POSITIONS,
    })
    const projected = h.embeddingWidth !== h.hidden
    if (projected) matrix('token_embd_proj.weight', 'project_in.weight', h.hidden, h.embeddingWidth)
    const { attention, mlp } = normNames(h)
    for (let l = 0; l < h.layers; l++) {
      linear(`blk.${l}.attn_q`, `layers.${l}.self_attn.q_proj`, h.hidden, h.hidden)
      linear(`blk.${l}.attn_k`, `layers.${l}.self_attn.k_proj`, h.hidden, h.hidden)
      linear(`blk.${l}.attn_v`, `layers.${l}.self_attn.v_proj`, h.hidden, h.hidden)
      linear(`blk.${l}.attn_output`, `layers.${l}.self_attn.out_proj`, h.hidden, h.hidden)
      norm(`blk.${l}.${attention}`, `layers.${l}.self_attn_layer_norm`)
      linear(`blk.${l}.ffn_up`, `layers.${l}.fc1`, h.feedForward, h.hidden)
      linear(`blk.${l}.ffn_down`, `layers.${l}.fc2`, h.hidden, h.feedForward)
      norm(`blk.${l}.${mlp}`, `layers.${l}.final_layer_norm`)
    }
    if (h.finalNorm) norm('output_norm', 'final_layer_norm')
    if (projected) matrix('output_proj.weight', 'project_out.weight', h.embeddingWidth, h.hidden)
    if (!h.tiedEmbeddings) {
      list.push({
        name: 'output.weight',
        source: 'lm_head.weight',
        shape: [h.vocabulary, h.embeddingWidth],
        quantize: true,
      })
    }
    return list
  },

  computedTensors: () => [],

  embed(g, _h, weights, ids, positions) {
    const tokens = g.getRows(weights.rows('token_embd.weight'), ids)
    const projection = weights.optional('token_embd_proj.weight')
    return g.add(
      projection ? g.mulMat(projection, tokens) : tokens,
      g.getRows(weights.rows('position_embd.weight'), positions),
    )
  },

  layer(g, x, c) {
    const h = c.hyperparameters
    const names = normNames(h)
    const before = (t: Tensor, name: string) => (h.postNorm ? t : blockNorm(g, t, c, name))
    const after = (t: Tensor, name: string) => (h.postNorm ? blockNorm(g, t, c, name) : t)

    const normed = before(x, names.attention)
    const q = linear(g, c.narrow(normed), c, 'attn_q')
    const k = linear(g, normed, c, 'attn_k')
    const v = linear(g, normed, c, 'attn_v')
    const attended = c.attend(
      g.reshape(q, h.headDim, h.heads, q.shape[1]),
      g.reshape(k, h.headDim, h.heads, k.shape[1]),
      g.reshape(v, h.headDim, h.heads, v.shape[1]),
      { scale: 1 / Math.sqrt(h.headDim) },
    )
    const attention = linear(g, attended, c, 'attn_output')
    c.sublayer('attention', attention)
    const middle = after(g.add(c.narrow(x), attention), names.attention)
    const inner = g.relu(linear(g, before(middle, names.mlp), c, 'ffn_up'))
    const mlp = linear(g, inner, c, 'ffn_down')
    c.sublayer('mlp', mlp)
    return after(g.add(middle, mlp), names.mlp)
  },

  headMatrix: (h) => (h.tiedEmbeddings ? 'token_embd.weight' : 'output.weight'),

  head(g, h, weights, x) {
    const normed = h.finalNorm ? norm(g, x, weights, 'output_norm', h.normEpsilon) : x
    const projection = weights.optional('output_proj.weight')
    const width = projection ? g.mulMat(projection, normed) : normed
    return g.mulMat(weights.get(opt.headMatrix(h)), width)
  },
}

function normNames(h: OptHyperparameters): { attention: string; mlp: string } {
  return h.postNorm
    ? { attention: 'attn_output_norm', mlp: 'layer_output_norm' }
    : { attention: 'attn_norm', mlp: 'ffn_norm' }
}
