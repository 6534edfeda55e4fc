import { ensureRandomModel } from './random-model.js'

const CONFIG = {
  model_type: 'qwen3_moe',
  num_hidden_layers: 8,
  hidden_size: 1024,
  num_attention_heads: 16,
  num_key_value_heads: 4,
  head_dim: 64,
  intermediate_size: 2048,
  moe_intermediate_size: 512,
  num_experts: 32,
  num_experts_per_tok: 4,
  norm_topk_prob: true,
  vocab_size: 8192,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
}

/** A file of Qwen 3 MoE's kind, small: 443 million parameters, of which a token uses 91. */
export const ensureExperts = () => ensureRandomModel('experts-random-q4_0', CONFIG)
