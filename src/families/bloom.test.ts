import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference } from '../../test/compare.js'
import { useWorkspace } from '../../test/workspace.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { createSafetensorsWriter } from '../checkpoint/safetensors-write.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { FileError } from '../errors.js'
import { bloom } from './bloom.js'

const FOLDER = 'test/fixtures/checkpoints/bloom'

const workspace = useWorkspace()

async function read(change: Record<string, unknown> = {}) {
  const fields = JSON.parse(await readFile(join(FOLDER, 'config.json'), 'utf8')) as Record<string, unknown>
  return bloom.fromConfig(new ConfigReader('config.json', { ...fields, ...change }))
}

describe('config.json of bloom', () => {
  it('may leave out what has a default', async () => {
    const bare = {
      apply_residual_connection_post_layernorm: undefined,
      layer_norm_epsilon: undefined,
      tie_word_embeddings: undefined,
    }
    expect(await read(bare)).toEqual(await read())
    expect((await read()).context).toBe(2048)
    expect((await read({ seq_length: 512 })).context).toBe(512)
  })

  it('is read under the names of the published checkpoints too', async () => {
    const published = { n_embed: 32, hidden_size: undefined, num_attention_heads: 4, n_head: undefined }
    expect(await read({ ...published, num_hidden_layers: 5, n_layer: undefined })).toEqual(await read())
  })

  it('tells of the head in the tensors', async () => {
    const names = async (change = {}) => bloom.tensors(await read(change)).map((t) => t.name)
    expect(await names()).not.toContain('output.weight')
    expect(await names({ tie_word_embeddings: false })).toContain('output.weight')
  })
})

describe('GGUF metadata of bloom', () => {
  it.each<[string, GgufValue]>([
    ['attention.head_count', { type: 'uint32', value: 5 }],
    ['attention.head_count_kv', { type: 'uint32', value: 3 }],
    ['vocab_size', { type: 'string', value: '96' }],
  ])('is refused where %s makes no sense', async (key, value) => {
    const h = await read()
    const values = [...bloom.toMetadata(h).values, [`bloom.${key}`, value] as const]
    expect(() => bloom.fromMetadata(new GgufMetadata('x.gguf', values), new Set())).toThrow(FileError)
  })

  it('needs no vocab_size and no head_count_kv, as other converters leave them out', async () => {
    const h = await read()
    const values = [...bloom.toMetadata(h).values].filter(([key]) => !/vocab_size|head_count_kv/.test(key))
    const tokens = Array.from({ length: h.vocabulary }, (_, id) => `t${id}`)
    const all = [...values, ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }] as const]
    const back = bloom.fromMetadata(new GgufMetadata('x.gguf', all), new Set())
    expect([back.vocabulary, back.kvHeads]).toEqual([h.vocabulary, h.heads])
  })
})

// Six heads, for slopes between the powers of two; beyond 2,048 cells the mask is float32. The tensors have the names of
// the published checkpoints, which were saved without an LM head.
describe('a long prompt', () => {
  const [heads, headDim, vocabulary, length] = [6, 4, 20, 2310]
  const hidden = heads * headDim
  const folder = () => join(workspace.folder, 'long')
  // Half of the vocabulary comes only at the start: where it is wanted, keys 2,000 positions away count.
  const ids = Array.from({ length }, (_, i) => ((i * i * 7 + 3 * i) % 10) + (i < 200 ? 10 : 0))
  const weights = new Map<string, Float32Array>()

  beforeAll(async () => {
    const config = { model_type: 'bloom', hidden_size: hidden, n_head: heads, n_layer: 1, vocab_size: vocabulary }
    const mappings = bloom.tensors(bloom.fromConfig(new ConfigReader('config.json', config)))
    const random = createRandomStream(11)
    const declarations = mappings.map(({ sources, shape }) => ({
      name: sources[0]!.names[0]!.replace('transformer.', ''),
      dtype: 'F32' as const,
      shape,
    }))
    await mkdir(folder())
    await writeFile(join(folder(), 'config.json'), JSON.stringify(config))
    const writer = await createSafetensorsWriter(join(folder(), 'model.safetensors'), declarations)
    for (const { name, shape } of declarations) {
      const isNorm = name.includes('norm.weight') || name.includes('ln_f.weight')
      const scale = name.includes('query_key_value') ? 3 : 1
      const values = Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () =>
        isNorm ? 0.5 + random() : scale * (random() - 0.5),
      )
      weights.set(name, values)
      await writer.append(name, values)
    }
    await writer.finish()
  })

  it('is what the architecture says it is, also where it grows token by token', async () => {
    const model = await workspace.load(folder(), { quantization: 'f32', context: 2500 })
    const expected = reference()
    const trace = await model.trace(ids)
    expect(largestDifference(trace.hidden[0]!, expected.hidden)).toBeLessThan(1e-4)
    expect(largestDifference(trace.logits, expected.logits)).toBeLessThan(1e-4)
    for (const promptLength of [2030, 2300]) {
      const until = promptLength + 10
      const { logits } = await model.score(ids.slice(0, until), { promptLength })
      const rows = expected.logits.subarray(promptLength * vocabulary, until * vocabulary)
      expect(largestDifference(logits, rows)).toBeLessThan(1e-4)
    }
  })

  /** One BLOOM layer in float64, as transformers computes it: slope times the key's position, added to the scores. */
  function reference(): { hidden: Float64Array; logits: Float64Array } {
    const w = (name: string) => weights.get(name) as Float32Array
    const linear = (name: string, x: Float64Array) => product(w(`${name}.weight`), x, w(`${name}.bias`))
    const norm = (name: string, x: Float64Array) => {
      const mean = x.reduce((a, b) => a + b, 0) / x.length
      const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length
      return x.map(
        (v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * w(`${name}.weight`)[i]! + w(`${name}.bias`)[i]!,
      )
    }
    // build_alibi_tensor: 4 is the power of two below 6; the other two slopes are every second one of 8 heads.
    const slopes = [2 ** -2, 2 ** -4, 2 ** -6, 2 ** -8, 2 ** -1, 2 ** -3]
    const embedded = ids.map((id) =>
      norm(
        'word_embeddings_layernorm',
        Float64Array.from(w('word_embeddings.weight').subarray(id * hidden, (id + 1) * hidden)),
      ),
    )
    const fused = embedded.map((x) => linear('h.0.self_attention.query_key_value', norm('h.0.input_layernorm', x)))
    const all = { hidden: new Float64Array(length * hidden), logits: new Float64Array(length * vocabulary) }
    embedded.forEach((x, position) => {
      const attended = new Float64Array(hidden)
      for (let h = 0; h < heads; h++) {
        const from = h * 3 * headDim
        const scores = Float64Array.from({ length: position + 1 }, (_, key) => {
          let dot = 0
          for (let d = 0; d < headDim; d++) dot += fused[position]![from + d]! * fused[key]![from + headDim + d]!
          return dot / Math.sqrt(headDim) + slopes[h]! * key
        })
        const largest = scores.reduce((a, b) => Math.max(a, b))
        const shares = scores.map((score) => Math.exp(score - largest))
        const sum = shares.reduce((a, b) => a + b, 0)
        for (let d = 0; d < headDim; d++) {
          let value = 0
          for (let key = 0; key <= position; key++) value += shares[key]! * fused[key]![from + 2 * headDim + d]!
          attended[h * headDim + d] = value / sum
        }
      }
      const middle = sumOf(x, linear('h.0.self_attention.dense', attended))
      const inner = linear('h.0.mlp.dense_h_to_4h', norm('h.0.post_attention_layernorm', middle))
      const gelu = inner.map((v) => 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))))
      const out = sumOf(middle, linear('h.0.mlp.dense_4h_to_h', gelu))
      all.hidden.set(out, position * hidden)
      all.logits.set(product(w('word_embeddings.weight'), norm('ln_f', out)), position * vocabulary)
    })
    return all
  }
})

describe('bloom quantised', () => {
  it.each(['f16', 'bf16', 'q8_0', 'q4_0'] as const)('runs as %s near its float32 self', async (quantization) => {
    const ids = [2, 30, 4, 50, 6, 70]
    const exact = await (await workspace.load(FOLDER, { quantization: 'f32' })).trace(ids)
    const { hidden } = await (await workspace.load(FOLDER, { quantization })).trace(ids)
    const spread = Math.max(...exact.hidden[0]!.map(Math.abs))
    expect(largestDifference(hidden[0]!, exact.hidden[0]!) / spread).toBeLessThan(quantization === 'q4_0' ? 0.5 : 0.05)
  })
})

function product(matrix: Float32Array, x: Float64Array, bias?: Float32Array): Float64Array {
  return Float64Array.from({ length: matrix.length / x.length }, (_, row) => {
    let sum = bias?.[row] ?? 0
    for (let i = 0; i < x.length; i++) sum += matrix[row * x.length + i]! * x[i]!
    return sum
  })
}

function sumOf(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((v, i) => v + b[i]!)
}
