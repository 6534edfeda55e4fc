// What `families.js` expects of llama.cpp v0.4.0: where it computes otherwise than transformers, and variations of fixtures.
import { twiceEachKvHead } from './variation.js'

/** Fixtures of what Shoal refuses. */
export const REFUSED = ['falcon-rw']

/** Architectures with a GELU: libllama takes it from a table in f16, and its tanh form where transformers has erf. */
export const GELU = ['bloom', 'falcon', 'gemma', 'gemma2', 'gemma3', 'gpt2', 'gptneox', 'phi2', 'starcoder2']

const BETAS = 'YaRN between its usual 32 and 1 rotations: there are keys for others, which only Mistral 3 reads'
const ROUNDED = 'ends of the YaRN ramp are rounded always'
const NO_WINDOW = 'no window'
const NO_CLAMP = 'q, k and v are not cut'
const NORMALIZED = 'weights of experts are divided by their sum always'
const NOT_NORMALIZED = 'weights of experts are never divided by their sum'

/** Why a fixture, or a variation of one, differs or does not load. */
export const OTHERWISE = {
  arcee: BETAS,
  'cohere-qknorm': 'norms of queries and keys from 64 layers on',
  'exaone4-window': 'a window, and layers without positions, in the model of 64 layers only',
  gemma3: 'scores are scaled by the head size, but for the 27B',
  'gemma3-mm': 'scores are scaled by the head size, but for the 27B',
  gpt_oss: `${BETAS}; ${ROUNDED}`,
  'gpt_oss-mxfp4': `${BETAS}; ${ROUNDED}`,
  'llama-yarn': BETAS,
  'mistral-window': NO_WINDOW,
  olmo3: `${BETAS}; layers with a window by a period only`,
  olmoe: 'as many KV heads as heads',
  'qwen2-window': NO_WINDOW,
  seed_oss: 'no bias of the attention output',
  starcoder2: NO_WINDOW,
  'gpt_oss~unrounded': ROUNDED,
  'gpt_oss-mxfp4~unrounded': ROUNDED,
  'olmo3~no-period': 'layers with a window by a period only',
  'olmoe~clamp': NO_CLAMP,
  'phi3~window': NO_WINDOW,
  'qwen2_moe~normalized': NOT_NORMALIZED,
  'qwen3~window': NO_WINDOW,
  'qwen3_moe~not-normalized': NORMALIZED,
  'smollm3-nope~other-period': 'every fourth layer is not rotated',
  'smollm3-nope~window': NO_WINDOW,
}

/** A ramp that passes through most dimensions, on a base with which all of them count at the fixtures' few positions. */
const usualYarn = (rope) => {
  delete rope.beta_fast
  delete rope.beta_slow
  Object.assign(rope, { rope_theta: 100, original_max_position_embeddings: 512 })
}
const yarn = {
  config: (config) => {
    usualYarn(config.rope_parameters)
    delete config.rope_parameters.truncate
  },
}
const gptOss = {
  plain: {
    config: (config) => {
      yarn.config(config)
      config.rope_parameters.truncate = true
    },
  },
  unrounded: yarn,
}
const withoutWindow = {
  config: (config) => {
    config.sliding_window = null
    config.layer_types = undefined
    config.use_sliding_window = false
  },
}
const olmo3 = (types) => (config) => {
  usualYarn(config.rope_parameters.full_attention)
  // Layers with a window are not scaled, and have the same base.
  config.rope_parameters.sliding_attention.rope_theta = 100
  config.layer_types = types.map((type) => `${type}_attention`)
}
const fields = (values) => ({ config: (config) => Object.assign(config, values) })
const windowIn = (types) =>
  fields({ sliding_window: 6, use_sliding_window: true, max_window_layers: 0, layer_types: types })

/**
 * Fixtures with another config.json; `plain` has what llama.cpp can compute in the place of what it has no key for. Those
 * that are not in OTHERWISE must be equal.
 */
export const VARIATIONS = {
  arcee: { plain: yarn },
  'cohere-qknorm': { '64-layers': { layers: 64 } },
  'exaone4-window': {
    plain: withoutWindow,
    '64-layers': {
      layers: 64,
      ...fields({
        layer_types: Array.from({ length: 64 }, (_, l) => (l % 2 ? 'full_attention' : 'sliding_attention')),
      }),
    },
  },
  gemma3: { plain: fields({ query_pre_attn_scalar: 12 }) },
  'gemma3-mm': {
    plain: {
      config: ({ text_config }) => {
        text_config.query_pre_attn_scalar = 12
      },
    },
  },
  gpt_oss: gptOss,
  'gpt_oss-mxfp4': gptOss,
  'llama-yarn': { plain: yarn },
  'mistral-window': { plain: withoutWindow },
  olmo3: {
    plain: { config: olmo3(['sliding', 'full', 'sliding', 'full']) },
    'no-period': { config: olmo3(['sliding', 'full', 'sliding', 'sliding']) },
  },
  olmoe: {
    plain: { ...fields({ num_key_value_heads: 4, clip_qkv: null }), rows: twiceEachKvHead },
    clamp: { ...fields({ num_key_value_heads: 4, clip_qkv: 0.5 }), rows: twiceEachKvHead },
  },
  phi3: { window: windowIn() },
  'phi3-longrope-short': {
    // libllama's contexts have 256 places at least.
    plain: {
      config: (config) => {
        config.original_max_position_embeddings = 256
        config.rope_parameters.original_max_position_embeddings = 256
      },
    },
  },
  'qwen2-window': { plain: withoutWindow },
  qwen2_moe: { normalized: fields({ norm_topk_prob: true }) },
  qwen3: { window: windowIn() },
  qwen3_moe: { 'not-normalized': fields({ norm_topk_prob: false }) },
  seed_oss: { plain: fields({ attention_out_bias: false }) },
  'smollm3-nope': {
    'other-period': fields({ no_rope_layers: [1, 1, 0, 1, 1] }),
    window: windowIn([
      'sliding_attention',
      'full_attention',
      'sliding_attention',
      'full_attention',
      'sliding_attention',
    ]),
  },
  starcoder2: { plain: withoutWindow },
}
