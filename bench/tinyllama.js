import { ensureRandomModel } from './random-model.js'

const CONFIG = {
  model_type: 'llama',
  num_hidden_layers: 22,
  hidden_size: 2048,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  head_dim: 64,
  intermediate_size: 5632,
  vocab_size: 32_000,
  // The real model's is 2,048; 2,000 tokens in the cache and 128 new ones need more.
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
}

/** A file of TinyLlama-1.1B's shape. */
export const ensureTinyLlama = () => ensureRandomModel('tinyllama-1.1b-random-q4_0', CONFIG)
