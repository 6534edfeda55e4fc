import { cp, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bfloat16ToFloat32Array, float16ToFloat32Array, float32ToBfloat16Array } from '../checkpoint/float16.js'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { openHuggingFace } from '../checkpoint/huggingface.js'
import { SAFETENSORS_DTYPES, type SafetensorsDtype } from '../checkpoint/safetensors-header.js'
import { createSafetensorsWriter, type TensorDeclaration } from '../checkpoint/safetensors-write.js'
import { openWeights } from '../checkpoint/sharded.js'
import { QUANTIZATIONS, type Quantization, TENSOR_TYPES } from '../checkpoint/tensor-type.js'
import { FileError, UnsupportedError } from '../errors.js'
import { llama } from '../families/llama.js'
import { dequantize } from '../ggml/dequantize.js'
import { convert } from './convert.js'
import { convertModel } from './package.js'

const RIPPLE = 'pretrained/ripple-8m'
const FIXTURES = 'test/fixtures/checkpoints'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-convert-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function convertTo(source: string, quantization: Quantization): Promise<GgufFile> {
  const path = join(folder, `${quantization}.gguf`)
  const { bytes } = await convert(await openHuggingFace(source), llama, { quantization, path })
  const file = await readGguf(path)
  expect(file.bytes).toBe(bytes)
  return file
}

/** Values of a tensor that is stored in 16 or 32 bits, or in q8_0 or q4_0 blocks (a half-precision scale and integers). */
async function valuesOf(file: GgufFile, name: string): Promise<Float32Array> {
  const { offset, bytes, type, shape } = file.tensors.get(name)!
  const data = new Uint8Array(bytes)
  const handle = await open(file.path)
  await handle.read(data, 0, bytes, offset)
  await handle.close()
  const values = new Float32Array(shape.reduce((a, b) => a * b))
  if (type === 'f32') return new Float32Array(data.buffer)
  if (type === 'f16') return float16ToFloat32Array(new Uint16Array(data.buffer), values)
  if (type === 'bf16') return bfloat16ToFloat32Array(new Uint16Array(data.buffer), values)
  if (type === 'mxfp4') {
    dequantize(type, data, values.length / shape[0]!, shape[0]!, values)
    return values
  }
  const { blockSize, blockBytes } = TENSOR_TYPES[type]
  const scale = new Float32Array(1)
  for (let block = 0; block < values.length / blockSize; block++) {
    const at = block * blockBytes
    float16ToFloat32Array(Uint16Array.of(data[at]! | (data[at + 1]! << 8)), scale)
    for (let i = 0; i < blockSize; i++) {
      const byte = data[at + 2 + (type === 'q8_0' ? i : i % 16)]!
      const quant = type === 'q8_0' ? (byte << 24) >> 24 : (i < 16 ? byte & 15 : byte >> 4) - 8
      values[block * blockSize + i] = quant * scale[0]!
    }
  }
  return values
}

describe('conversion of ripple-8m', () => {
  // Largest error allowed, as a part of the largest value in a block of 32.
  it.each([
    ['f32', 0],
    ['bf16', 0],
    ['f16', 2 ** -11],
    ['q8_0', 1 / 200],
    ['q4_0', 1 / 7],
  ] as const)('to %s keeps every value', async (quantization, tolerance) => {
    const file = await convertTo(RIPPLE, quantization)
    const weights = await openWeights(RIPPLE)
    const h = llama.fromConfig((await openHuggingFace(RIPPLE)).config)
    expect([...file.tensors.keys()]).toEqual(llama.tensors(h).map(({ name }) => name))
    for (const mapping of llama.tensors(h)) {
      const tensor = file.tensors.get(mapping.name)!
      expect(tensor.shape).toEqual(mapping.shape.toReversed())
      expect(tensor.type).toBe(mapping.quantize ? quantization : 'f32')
      const stored = await weights.readFloats(mapping.sources[0]!.names[0]!)
      const expected = isRotary(mapping.name) ? permuted(stored, h.headDim, h.hidden) : stored
      const actual = await valuesOf(file, mapping.name)
      let worst = 0
      for (let block = 0; block < expected.length; block += 32) {
        let largest = 0
        for (let i = block; i < block + 32; i++) largest = Math.max(largest, Math.abs(expected[i]!))
        for (let i = block; i < block + 32; i++) {
          const error = Math.abs(actual[i]! - expected[i]!)
          if (error > 0) worst = Math.max(worst, error / largest)
        }
      }
      expect(worst, mapping.name).toBeLessThanOrEqual(mapping.quantize ? tolerance : 0)
    }
    await weights.close()
  })

  it('writes what llama.cpp and Shoal need to run it', async () => {
    const { metadata } = await convertTo(RIPPLE, 'q4_0')
    expect(metadata.string('general.architecture')).toBe('llama')
    expect(metadata.string('general.name')).toBe('ripple-8m')
    expect(metadata.count('general.file_type')).toBe(2)
    expect(metadata.count('llama.block_count')).toBe(16)
    expect(metadata.string('shoal.quantization')).toBe('q4_0')
    expect(metadata.values.get('shoal.end_ids')!.value).toEqual([1])
    expect(metadata.strings('shoal.chat_stop')).toEqual(['\n\n'])
    expect(metadata.has('shoal.warnings')).toBe(false)
  })

  it('says where a type does not fit its rows', async () => {
    const path = join(folder, 'x.gguf')
    const { warnings } = await convert(await openHuggingFace(RIPPLE), llama, { quantization: 'q4_k', path })
    expect(warnings).toEqual(['97 matrices are q5_0: rows do not divide into q4_k blocks'])
    expect((await readGguf(path)).metadata.strings('shoal.warnings')).toEqual(warnings)
  })

  it('tells how far it is, up to the end', async () => {
    const seen: number[] = []
    const path = join(folder, 'x.gguf')
    const progress = (loaded: number, total: number) => seen.push(loaded / total)
    await convert(await openHuggingFace(RIPPLE), llama, { quantization: 'q8_0', path, progress })
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    expect(seen.at(-1)).toBeGreaterThan(0.9)
    expect(seen.at(-1)).toBeLessThanOrEqual(1)
  })

  it('leaves nothing where it is stopped', async () => {
    const stop = new AbortController()
    const options = { quantization: 'f32' as const, path: join(folder, 'x.gguf'), signal: stop.signal }
    const progress = () => stop.abort()
    const checkpoint = await openHuggingFace(RIPPLE)
    await expect(convert(checkpoint, llama, { ...options, progress })).rejects.toMatchObject({ code: 'aborted' })
    await expect(convert(checkpoint, llama, options)).rejects.toMatchObject({ code: 'aborted' })
    expect(await readdir(folder)).toEqual([])
  })

  it('leaves nothing where a callback fails', async () => {
    const progress = () => {
      throw new Error('from the callback')
    }
    const options = { quantization: 'f32' as const, path: join(folder, 'x.gguf'), progress }
    await expect(convert(await openHuggingFace(RIPPLE), llama, options)).rejects.toThrow('from the callback')
    expect(await readdir(folder)).toEqual([])
  })
})

describe('conversion of other checkpoints', () => {
  it('computes rotary factors, and works without a tokenizer', async () => {
    const file = await convertTo(join(FIXTURES, 'llama31-rope'), 'f32')
    expect(file.tensors.get('rope_freqs.weight')).toMatchObject({ type: 'f32', shape: [4] })
    expect(file.metadata.strings('tokenizer.ggml.tokens')[95]).toBe('[PAD95]')
    expect(file.metadata.strings('shoal.warnings')[0]).toContain('token ids only')
  })

  it('quantizes matrices and nothing else', async () => {
    const file = await convertTo(join(FIXTURES, 'llama'), 'q4_0')
    for (const { name, shape, type } of file.tensors.values()) {
      expect(type, name).toBe(shape.length === 1 ? 'f32' : shape[0]! % 32 === 0 ? 'q4_0' : 'f16')
    }
  })

  it('works in blocks of rows, whole heads where rows are permuted', async () => {
    // 3,000,001 values in the embedding and 2,200,000 in the query projection: more than a block of 2 Mi values each.
    const config = JSON.parse(await readFile(join(FIXTURES, 'llama', 'config.json'), 'utf8')) as Record<string, unknown>
    const sizes = {
      hidden_size: 100,
      num_attention_heads: 220,
      num_key_value_heads: 2,
      head_dim: 100,
      num_hidden_layers: 1,
    }
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...sizes, vocab_size: 30_001 }))
    const checkpoint = await openHuggingFace(folder)
    const h = llama.fromConfig(checkpoint.config)
    const mappings = llama.tensors(h)
    const declarations = mappings.map(({ sources, shape }) => ({
      name: sources[0]!.names[0]!,
      dtype: 'F32' as const,
      shape,
    }))
    const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
    const contents = new Map<string, Float32Array>()
    for (const [t, { name, shape }] of mappings.entries()) {
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => ((i * 7 + t) % 1021) / 1021)
      await writer.append(declarations[t]!.name, values)
      contents.set(name, isRotary(name) ? permuted(values, 100, shape[1]!) : values)
    }
    await writer.finish()
    const file = await convertTo(folder, 'f32')
    for (const [name, values] of contents) {
      const actual = await valuesOf(file, name)
      expect(Buffer.compare(Buffer.from(actual.buffer), Buffer.from(values.buffer)), name).toBe(0)
    }
  })
})

describe('refuses', () => {
  async function failure(reason: string): Promise<void> {
    const path = join(folder, 'out', 'x.gguf')
    const error = await openHuggingFace(folder)
      .then((checkpoint) => convert(checkpoint, llama, { quantization: 'f32', path }))
      .catch((error: unknown) => error as Error)
    expect(error instanceof FileError || error instanceof UnsupportedError).toBe(true)
    expect((error as Error).message).toContain(reason)
    expect((error as Error).message).toContain(folder)
  }

  beforeEach(() => cp(join(FIXTURES, 'llama'), folder, { recursive: true }))

  async function edit(change: (config: Record<string, unknown>) => void): Promise<void> {
    const path = join(folder, 'config.json')
    const config = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>
    change(config)
    await writeFile(path, JSON.stringify(config))
  }

  it('a tensor that is missing', async () => {
    await edit((config) => {
      config.num_hidden_layers = 6
    })
    await failure('tensor model.layers.5.input_layernorm.weight is missing')
  })

  it('a tensor of another shape than the config says', async () => {
    await edit((config) => {
      config.vocab_size = 97
    })
    await failure('tensor model.embed_tokens.weight is [96, 32], config.json makes it [97, 32]')
  })

  it('a value that the family does not know', async () => {
    await edit((config) => {
      config.hidden_act = 'gelu'
    })
    await failure('hidden_act')
  })

  it('weights of another type', async () => {
    const weights = await openWeights(folder)
    const declarations = [...weights.tensors.values()].map(({ name, shape }) => ({
      name,
      dtype: 'F8_E4M3FNUZ' as const,
      shape,
    }))
    await weights.close()
    const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
    for (const { name, shape } of declarations) await writer.append(name, new Uint8Array(shape.reduce((a, b) => a * b)))
    await writer.finish()
    await cp(join(folder, 'config.json'), join(folder, 'out', 'config.json'))
    await failure('is F8_E4M3FNUZ')
    expect(await readdir(join(folder, 'out'))).toEqual(['config.json'])
  })

  /** The checkpoint anew in bf16, some tensors with a value of their own, and tensors that nobody reads. */
  async function rewrite(odd: Record<string, number>, unused: readonly TensorDeclaration[] = []): Promise<void> {
    const weights = await openWeights(folder)
    const tensors = [...weights.tensors.values()]
    const values = new Map<string, Uint16Array>()
    for (const { name } of tensors) {
      const floats = await weights.readFloats(name)
      if (odd[name] !== undefined) floats[floats.length - 3] = odd[name]
      values.set(name, float32ToBfloat16Array(floats, new Uint16Array(floats.length)))
    }
    await weights.close()
    const declarations = tensors.map(({ name, shape }) => ({ name, dtype: 'BF16' as const, shape }))
    const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), [...declarations, ...unused])
    for (const [name, bits] of values) await writer.append(name, bits)
    for (const { name, dtype, shape } of unused) {
      await writer.append(name, new Uint8Array(shape.reduce((a, b) => a * b, SAFETENSORS_DTYPES[dtype])))
    }
    await writer.finish()
  }

  const DOWN = 'model.layers.1.mlp.down_proj.weight'
  const QUERY = 'model.layers.1.self_attn.q_proj.weight'
  const NORM = 'model.layers.0.input_layernorm.weight'
  it.each([
    [DOWN, Number.NaN],
    [QUERY, Number.POSITIVE_INFINITY],
    [NORM, Number.NEGATIVE_INFINITY],
  ])('a %s that holds %d, whatever it is to become', async (name, value) => {
    await rewrite({ [name]: value })
    const checkpoint = await openHuggingFace(folder)
    for (const quantization of QUANTIZATIONS) {
      const path = join(folder, 'x.gguf')
      await expect(convert(checkpoint, llama, { quantization, path })).rejects.toThrow(
        new FileError(join(folder, 'model.safetensors'), `tensor ${name} holds ${value}: the checkpoint is damaged`),
      )
      expect(await readdir(folder)).not.toContain('x.gguf')
    }
  })

  it('a value that the type cannot hold, and keeps it in one that can', async () => {
    await rewrite({ [DOWN]: 1e6 })
    const checkpoint = await openHuggingFace(folder)
    const to = (quantization: Quantization) =>
      convert(checkpoint, llama, { quantization, path: join(folder, `${quantization}.gguf`) })
    await expect(to('f16')).rejects.toThrow(
      /tensor model\.layers\.1\.mlp\.down_proj\.weight holds 999424, more than f16 can; f32 and bf16 keep it$/,
    )
    await expect(to('q4_0')).rejects.toThrow(/more than (q4_0|f16) can/)
    for (const quantization of ['f32', 'bf16'] as const) {
      await to(quantization)
      const values = await valuesOf(await readGguf(join(folder, `${quantization}.gguf`)), 'blk.1.ffn_down.weight')
      expect(values.at(-3)).toBe(999424)
    }
  })

  it('nothing for tensors of any type that nobody reads', async () => {
    const unused = Object.keys(SAFETENSORS_DTYPES).map((dtype) => ({
      name: `unused.${dtype}`,
      dtype: dtype as SafetensorsDtype,
      shape: [2, 4],
    }))
    const scalars = [
      { name: 'unused.scalar', dtype: 'BF16' as const, shape: [] },
      { name: 'unused.empty', dtype: 'F8_E8M0' as const, shape: [0, 3] },
    ]
    await rewrite({}, [...unused, ...scalars])
    const path = join(folder, 'x.gguf')
    const { warnings } = await convert(await openHuggingFace(folder), llama, { quantization: 'q8_0', path })
    expect(warnings.at(-1)).toMatch(/^24 tensors of the checkpoint have no place in llama, unused\./)
  })

  it('nothing for a head that the configuration ties to the embedding, but says so where it differs', async () => {
    await edit((config) => {
      config.tie_word_embeddings = true
    })
    const convertTied = async () => {
      const path = join(folder, 'x.gguf')
      const { warnings } = await convert(await openHuggingFace(folder), llama, { quantization: 'f32', path })
      expect((await readGguf(path)).tensors.has('output.weight')).toBe(false)
      return warnings.filter((warning) => warning.includes('lm_head'))
    }
    expect(await convertTied()).toEqual([
      'lm_head.weight differs from model.embed_tokens.weight and is not used: config.json says tie_word_embeddings; set it to false to use it',
    ])
    const weights = await openWeights(folder)
    const all = new Map<string, Float32Array>()
    for (const name of weights.tensors.keys()) all.set(name, await weights.readFloats(name))
    all.set('lm_head.weight', all.get('model.embed_tokens.weight')!)
    const declarations = [...weights.tensors.values()].map(({ name, shape }) => ({
      name,
      dtype: 'F32' as const,
      shape,
    }))
    await weights.close()
    const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
    for (const { name } of declarations) await writer.append(name, all.get(name)!)
    await writer.finish()
    expect(await convertTied()).toEqual([])
  })

  it('truncated weights', async () => {
    const path = join(folder, 'model.safetensors')
    await writeFile(path, (await readFile(path)).subarray(0, -100))
    await failure('truncated')
  })

  it('a folder that does not exist to write in', async () => {
    await failure('its folder does not exist')
  })

  it('nothing for tensors that have no place, but says so', async () => {
    await edit((config) => {
      config.num_hidden_layers = 4
    })
    const path = join(folder, 'x.gguf')
    const { warnings } = await convert(await openHuggingFace(folder), llama, { quantization: 'f32', path })
    expect(warnings.at(-1)).toMatch(/^9 tensors of the checkpoint have no place in llama, model\.layers\.4\./)
  })
})

function isRotary(name: string): boolean {
  return /attn_[qk]\.weight$/.test(name)
}

/** The rows of each head, seen as (2, headDim / 2), become (headDim / 2, 2). */
function permuted(values: Float32Array, headDim: number, columns: number): Float32Array {
  const rows = values.length / columns
  const order = Array.from({ length: rows }, (_, row) => {
    const [head, within] = [row - (row % headDim), row % headDim]
    return head + (within % 2) * (headDim / 2) + Math.floor(within / 2)
  })
  return Float32Array.from(order.flatMap((row) => [...values.subarray(row * columns, (row + 1) * columns)]))
}

describe('a checkpoint that is quantised already', () => {
  const MXFP4 = 'test/fixtures/checkpoints/gpt_oss-mxfp4'
  const expertTypes = async (path: string) =>
    [...(await readGguf(path)).tensors.values()].filter(({ name }) => name.includes('_exps.w')).map(({ type }) => type)

  it('keeps its blocks where nobody names a type, and says so', async () => {
    const path = join(folder, 'kept.gguf')
    const { quantization, warnings } = await convertModel(MXFP4, path)
    expect(quantization).toBe('mxfp4')
    expect(warnings[0]).toBe('MXFP4: 8 matrices kept exactly as mxfp4')
    expect(new Set(await expertTypes(path))).toEqual(new Set(['mxfp4']))
    // Gate and up alternate in the checkpoint: each has its rows.
    const [kept, values] = [path, join(folder, 'values.gguf')]
    await convertModel(MXFP4, values, { quantization: 'f32' })
    for (const name of ['ffn_gate_exps', 'ffn_up_exps', 'ffn_down_exps']) {
      const [a, b] = [await readGguf(kept), await readGguf(values)]
      const full = `blk.1.${name}.weight`
      expect(await valuesOf(a, full)).toEqual((await valuesOf(b, full)).map((value) => value + 0))
    }
  })

  it('becomes a type that is named', async () => {
    const path = join(folder, 'named.gguf')
    const { quantization, warnings } = await convertModel(MXFP4, path, { quantization: 'f16' })
    expect(quantization).toBe('f16')
    expect(warnings.some((warning) => warning.includes('exactly'))).toBe(false)
    expect(new Set(await expertTypes(path))).toEqual(new Set(['f16']))
  })
})
