// A GGUF file of TinyLlama-1.1B's shape with random Q4_0 weights: for speed only, what it says means nothing.
import { mkdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { readGguf } from '../dist/checkpoint/gguf.js'
import { GgufMetadata } from '../dist/checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../dist/checkpoint/gguf-write.js'

export const SHAPE = {
  layers: 22,
  hidden: 2048,
  heads: 32,
  kvHeads: 4,
  headDim: 64,
  feedForward: 5632,
  vocabulary: 32_000,
  // The real model's is 2,048; 2,000 tokens in the cache and 128 new ones need more.
  context: 4096,
}

export const DEFAULT_PATH = join(
  process.env.SHOAL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'shoal'),
  'bench',
  'tinyllama-1.1b-random-q4_0.gguf',
)

const BLOCK = 32
const BLOCK_BYTES = 18
/** float16 of 2^-8: values of (0 .. 15 - 8) / 256 deviate by 0.018, about 1 / sqrt(2048). */
const SCALE = 0x1c00

/** Writes the file unless it is there already; returns its path. */
export async function ensureTinyLlama(path = DEFAULT_PATH) {
  try {
    await readGguf(path)
    return path
  } catch (error) {
    if (error.code !== 'file_missing' && statSync(path, { throwIfNoEntry: false }) === undefined) throw error
  }
  mkdirSync(dirname(path), { recursive: true })
  const tensors = declareTensors()
  const writer = await createGgufWriter(path, metadata(), tensors)
  let seed = 1
  for (const { name, shape, type } of tensors) {
    if (type === 'f32') {
      await writer.append(name, new Uint8Array(new Float32Array(shape[0]).fill(1).buffer))
      continue
    }
    const [columns, rows] = shape
    const step = Math.max(1, Math.floor((8 << 20) / columns))
    for (let row = 0; row < rows; row += step) {
      await writer.append(name, randomBlocks((Math.min(step, rows - row) * columns) / BLOCK, seed++))
    }
  }
  await writer.finish()
  return path
}

function declareTensors() {
  const { layers, hidden, heads, kvHeads, headDim, feedForward, vocabulary } = SHAPE
  const matrix = (name, columns, rows) => ({ name, shape: [columns, rows], type: 'q4_0' })
  const norm = (name) => ({ name, shape: [hidden], type: 'f32' })
  const layer = (l) => [
    norm(`blk.${l}.attn_norm.weight`),
    matrix(`blk.${l}.attn_q.weight`, hidden, heads * headDim),
    matrix(`blk.${l}.attn_k.weight`, hidden, kvHeads * headDim),
    matrix(`blk.${l}.attn_v.weight`, hidden, kvHeads * headDim),
    matrix(`blk.${l}.attn_output.weight`, heads * headDim, hidden),
    norm(`blk.${l}.ffn_norm.weight`),
    matrix(`blk.${l}.ffn_gate.weight`, hidden, feedForward),
    matrix(`blk.${l}.ffn_up.weight`, hidden, feedForward),
    matrix(`blk.${l}.ffn_down.weight`, feedForward, hidden),
  ]
  return [
    matrix('token_embd.weight', hidden, vocabulary),
    ...Array.from({ length: layers }, (_, l) => layer(l)).flat(),
    norm('output_norm.weight'),
    matrix('output.weight', hidden, vocabulary),
  ]
}

function randomBlocks(count, seed) {
  const bytes = new Uint8Array(Math.ceil((count * BLOCK_BYTES) / 4) * 4)
  const words = new Uint32Array(bytes.buffer)
  // xorshift32; its state must not be 0.
  let x = Math.imul(seed, 0x9e3779b9) | 1
  for (let i = 0; i < words.length; i++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[i] = x
  }
  for (let block = 0; block < count; block++) {
    bytes[block * BLOCK_BYTES] = SCALE & 0xff
    bytes[block * BLOCK_BYTES + 1] = SCALE >> 8
  }
  return bytes.subarray(0, count * BLOCK_BYTES)
}

/** Sizes, and a tokenizer section of byte tokens so that llama.cpp loads the file. */
function metadata() {
  const { layers, hidden, heads, kvHeads, headDim, feedForward, vocabulary, context } = SHAPE
  const uint32 = (value) => ({ type: 'uint32', value })
  const float32 = (value) => ({ type: 'float32', value })
  const string = (value) => ({ type: 'string', value })
  const tokens = ['<unk>', '<s>', '</s>']
  for (let byte = 0; byte < 256; byte++) tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  while (tokens.length < vocabulary) tokens.push(`[UNUSED${tokens.length}]`)
  const [unknown, control, byte, unused] = [2, 3, 6, 5]
  const types = tokens.map((_, id) => (id === 0 ? unknown : id < 3 ? control : id < 259 ? byte : unused))
  return new GgufMetadata('', [
    ['general.architecture', string('llama')],
    ['general.name', string('tinyllama-1.1b-random')],
    ['general.file_type', uint32(2)],
    ['llama.vocab_size', uint32(vocabulary)],
    ['llama.context_length', uint32(context)],
    ['llama.embedding_length', uint32(hidden)],
    ['llama.block_count', uint32(layers)],
    ['llama.feed_forward_length', uint32(feedForward)],
    ['llama.attention.head_count', uint32(heads)],
    ['llama.attention.head_count_kv', uint32(kvHeads)],
    ['llama.attention.layer_norm_rms_epsilon', float32(1e-5)],
    ['llama.rope.dimension_count', uint32(headDim)],
    ['llama.rope.freq_base', float32(10_000)],
    ['tokenizer.ggml.model', string('llama')],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', of: 'float32', value: tokens.map(() => 0) }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', value: types }],
    ['tokenizer.ggml.bos_token_id', uint32(1)],
    ['tokenizer.ggml.eos_token_id', uint32(2)],
    ['tokenizer.ggml.unknown_token_id', uint32(0)],
  ])
}
