// GGUF files of a family's shape with random Q4_0 weights: for speed only, what they say means nothing.
import { mkdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { ConfigReader } from '../dist/checkpoint/config-reader.js'
import { readGguf } from '../dist/checkpoint/gguf.js'
import { GgufMetadata } from '../dist/checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../dist/checkpoint/gguf-write.js'
import { familyByModelType } from '../dist/families/index.js'

const FOLDER = join(
  process.env.SHOAL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'shoal'),
  'bench',
)
const BLOCK = 32
const BLOCK_BYTES = 18
/** float16 of 2^-8: values of (0 .. 15 - 8) / 256 deviate by 0.018, about 1 / sqrt(2048). */
const SCALE = 0x1c00

/**
 * Writes the file unless it is there already; returns its path.
 * @param name of the file, without the ending
 * @param config what config.json says of the model
 */
export async function ensureRandomModel(name, config, path = join(FOLDER, `${name}.gguf`)) {
  try {
    await readGguf(path)
    return path
  } catch (error) {
    if (error.code !== 'file_missing' && statSync(path, { throwIfNoEntry: false }) === undefined) throw error
  }
  mkdirSync(dirname(path), { recursive: true })
  const family = familyByModelType(config.model_type, name)
  const h = family.fromConfig(new ConfigReader(name, config))
  const tensors = family.tensors(h).map(({ name, shape, quantize }) => ({
    name,
    shape: shape.toReversed(),
    type: quantize ? 'q4_0' : 'f32',
  }))
  const metadata = new GgufMetadata('', [
    ['general.architecture', { type: 'string', value: family.architecture }],
    ['general.name', { type: 'string', value: name }],
    ['general.file_type', { type: 'uint32', value: 2 }],
    ...family.toMetadata(h).values,
    ...byteTokens(h.vocabulary),
  ])
  const writer = await createGgufWriter(path, metadata, tensors)
  let seed = 1
  for (const { name, shape, type } of tensors) {
    const [columns, ...others] = shape
    const rows = others.reduce((product, n) => product * n, 1)
    if (type === 'f32') {
      const values = Float32Array.from({ length: columns * rows }, () => (rows === 1 ? 1 : Math.random() - 0.5))
      await writer.append(name, new Uint8Array(values.buffer))
      continue
    }
    const step = Math.max(1, Math.floor((8 << 20) / columns))
    for (let row = 0; row < rows; row += step) {
      await writer.append(name, randomBlocks((Math.min(step, rows - row) * columns) / BLOCK, seed++))
    }
  }
  await writer.finish()
  return path
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

/** A tokenizer section of byte tokens, so that llama.cpp loads the file. */
function byteTokens(vocabulary) {
  const uint32 = (value) => ({ type: 'uint32', value })
  const tokens = ['<unk>', '<s>', '</s>']
  for (let byte = 0; byte < 256; byte++) tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
  while (tokens.length < vocabulary) tokens.push(`[UNUSED${tokens.length}]`)
  const [unknown, control, byte, unused] = [2, 3, 6, 5]
  const types = tokens.map((_, id) => (id === 0 ? unknown : id < 3 ? control : id < 259 ? byte : unused))
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'llama' }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.scores', { type: 'array', of: 'float32', value: tokens.map(() => 0) }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'int32', value: types }],
    ['tokenizer.ggml.bos_token_id', uint32(1)],
    ['tokenizer.ggml.eos_token_id', uint32(2)],
    ['tokenizer.ggml.unknown_token_id', uint32(0)],
  ]
}
