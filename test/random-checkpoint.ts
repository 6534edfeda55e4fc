import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createSafetensorsWriter } from '../src/checkpoint/safetensors-write.js'
import { createRandomStream } from '../src/engine/schedule/random-stream.js'

/** Shape of a Llama checkpoint; what is left out takes a small default. */
export interface LlamaShape {
  readonly layers?: number
  readonly hidden?: number
  readonly heads?: number
  readonly kvHeads?: number
  readonly headDim?: number
  readonly feedForward?: number
  readonly vocabulary?: number
  readonly context?: number
  readonly tied?: boolean
  readonly attentionBias?: boolean
  readonly mlpBias?: boolean
  readonly ropeTheta?: number
  /** Positions are divided by this (linear scaling). */
  readonly ropeFactor?: number
  readonly eosTokenId?: number
  /** Copies the bundled model's tokenizer and chat template; the vocabulary is then its 4,096 tokens. */
  readonly tokenizer?: boolean
}

export interface RandomCheckpoint {
  readonly folder: string
  readonly shape: Required<LlamaShape>
  /** By Hugging Face name, row-major. */
  readonly weights: ReadonlyMap<string, Float32Array>
}

const BUNDLED = 'pretrained/ripple-8m'
const EPSILON = 1e-5

/**
 * Writes a Llama checkpoint with random float32 weights into `folder`. The same seed and shape give the same weights.
 * They are scaled so that hidden states stay near 1 and the head is sure of itself now and then, as exits need it.
 */
export async function writeRandomCheckpoint(
  folder: string,
  seed: number,
  given: LlamaShape = {},
): Promise<RandomCheckpoint> {
  const heads = given.heads ?? 4
  const headDim = given.headDim ?? 8
  const tokenizer = given.tokenizer ?? false
  const shape: Required<LlamaShape> = {
    layers: 4,
    hidden: 32,
    heads,
    kvHeads: heads,
    headDim,
    feedForward: 48,
    vocabulary: 64,
    context: 4096,
    tied: false,
    attentionBias: false,
    mlpBias: false,
    ropeTheta: 10000,
    ropeFactor: 1,
    eosTokenId: 1,
    ...given,
    ...(tokenizer ? { vocabulary: 4096 } : {}),
    tokenizer,
  }
  const weights = randomWeights(shape, seed)
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'config.json'), JSON.stringify(configOf(shape)))
  const declarations = [...weights].map(([name, values]) => ({
    name,
    dtype: 'F32' as const,
    shape: shapeOf(name, values, shape),
  }))
  const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
  for (const [name, values] of weights) await writer.append(name, values)
  await writer.finish()
  if (tokenizer) {
    for (const file of ['tokenizer.json', 'tokenizer_config.json'])
      await copyFile(join(BUNDLED, file), join(folder, file))
  }
  return { folder, shape, weights }
}

/** config.json as transformers writes it. */
export function configOf(s: Required<LlamaShape>): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    attention_bias: s.attentionBias,
    mlp_bias: s.mlpBias,
    bos_token_id: 0,
    eos_token_id: s.eosTokenId,
    head_dim: s.headDim,
    hidden_act: 'silu',
    hidden_size: s.hidden,
    intermediate_size: s.feedForward,
    max_position_embeddings: s.context,
    num_attention_heads: s.heads,
    num_hidden_layers: s.layers,
    num_key_value_heads: s.kvHeads,
    rms_norm_eps: EPSILON,
    rope_parameters: {
      rope_theta: s.ropeTheta,
      ...(s.ropeFactor === 1 ? { rope_type: 'default' } : { rope_type: 'linear', factor: s.ropeFactor }),
    },
    tie_word_embeddings: s.tied,
    vocab_size: s.vocabulary,
  }
}

function randomWeights(s: Required<LlamaShape>, seed: number): Map<string, Float32Array> {
  const random = createRandomStream(seed)
  const weights = new Map<string, Float32Array>()
  const add = (name: string, length: number, deviation: number, mean = 0) => {
    weights.set(
      name,
      Float32Array.from({ length }, () => mean + deviation * normal(random)),
    )
  }
  const linear = (name: string, rows: number, columns: number, bias: boolean) => {
    add(`${name}.weight`, rows * columns, 1 / Math.sqrt(columns))
    if (bias) add(`${name}.bias`, rows, 0.3)
  }
  add('model.embed_tokens.weight', s.vocabulary * s.hidden, s.tied ? 3 / Math.sqrt(s.hidden) : 1)
  const q = s.heads * s.headDim
  const kv = s.kvHeads * s.headDim
  for (let l = 0; l < s.layers; l++) {
    const layer = `model.layers.${l}`
    add(`${layer}.input_layernorm.weight`, s.hidden, 0.1, 1)
    linear(`${layer}.self_attn.q_proj`, q, s.hidden, s.attentionBias)
    linear(`${layer}.self_attn.k_proj`, kv, s.hidden, s.attentionBias)
    linear(`${layer}.self_attn.v_proj`, kv, s.hidden, s.attentionBias)
    linear(`${layer}.self_attn.o_proj`, s.hidden, q, s.attentionBias)
    add(`${layer}.post_attention_layernorm.weight`, s.hidden, 0.1, 1)
    linear(`${layer}.mlp.gate_proj`, s.feedForward, s.hidden, s.mlpBias)
    linear(`${layer}.mlp.up_proj`, s.feedForward, s.hidden, s.mlpBias)
    linear(`${layer}.mlp.down_proj`, s.hidden, s.feedForward, s.mlpBias)
  }
  add('model.norm.weight', s.hidden, 0.1, 1)
  if (!s.tied) add('lm_head.weight', s.vocabulary * s.hidden, 3 / Math.sqrt(s.hidden))
  return weights
}

function shapeOf(name: string, values: Float32Array, s: Required<LlamaShape>): number[] {
  if (name.endsWith('.bias') || name.includes('norm')) return [values.length]
  const columns = name.includes('o_proj') ? s.heads * s.headDim : name.includes('down_proj') ? s.feedForward : s.hidden
  return [values.length / columns, columns]
}

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

export const RMS_EPSILON = EPSILON
