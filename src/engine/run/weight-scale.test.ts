import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { matrixOf, type RecordedBlocks, recordedBlocks } from '../../../test/gguf-blocks.js'
import { type ContentTensor, type GgufContent, readContent, writeContent } from '../../../test/gguf-content.js'
import { useWorkspace } from '../../../test/workspace.js'
import type { GgufValue } from '../../checkpoint/gguf-value.js'
import { convertModel } from '../../convert/package.js'

/** Factors beside NVFP4 matrices, by the name of the matrix without `.weight`. */
type Factors = Readonly<Record<string, readonly number[]>>

const workspace = useWorkspace()
let nvfp4: RecordedBlocks
let written = 0
beforeAll(async () => {
  nvfp4 = (await recordedBlocks()).find(({ type }) => type === 'nvfp4')!
})

const withFactors = ({ metadata, tensors }: GgufContent, factors: Factors): GgufContent => {
  const beside = Object.entries(factors).map(([name, numbers]): ContentTensor => {
    const data = new Uint8Array(Float32Array.from(numbers).buffer)
    return { name: `${name}.scale`, shape: [numbers.length], type: 'f32', data }
  })
  return { metadata, tensors: [...tensors, ...beside] }
}

const write = (content: GgufContent): Promise<string> =>
  writeContent(join(workspace.folder, `nvfp4-${written++}.gguf`), content)

async function logitsOf(path: string): Promise<Float32Array> {
  return (await (await workspace.load(path)).trace([5, 9, 2])).logits
}

const logits = async (content: GgufContent, factors: Factors = {}): Promise<Float32Array> =>
  logitsOf(await write(withFactors(content, factors)))

/** How far the model is from the same numbers in f32, with the factors among them: part of its logits' length. */
async function distance(content: GgufContent, factors: Factors): Promise<number> {
  const path = await write(withFactors(content, factors))
  const exact = path.replace('.gguf', '-f32.gguf')
  await convertModel(path, exact, { quantization: 'f32' })
  expect((await readContent(exact)).tensors.filter(({ name }) => name.endsWith('.scale'))).toEqual([])
  const [typed, f32] = [await logitsOf(path), await logitsOf(exact)]
  return Math.hypot(...typed.map((v, i) => v - f32[i]!)) / Math.hypot(...f32)
}

/** Matrices of NVFP4 blocks in place of these; blocks come in another order in each. */
function inNvfp4({ metadata, tensors }: GgufContent, isMatrix: (name: string) => boolean): GgufContent {
  return {
    metadata: new Map([...metadata].filter(([key]) => !key.startsWith('shoal.'))),
    tensors: tensors.map((t) => {
      if (!isMatrix(t.name)) return t
      const [columns = 1, ...rest] = t.shape
      const rows = rest.reduce((product, n) => product * n, 1)
      return { ...t, type: 'nvfp4', data: matrixOf(nvfp4, rows, columns).bytes }
    }),
  }
}

describe('the factor of an NVFP4 matrix', () => {
  let content: GgufContent
  beforeAll(async () => {
    const shape = { layers: 2, hidden: 128, heads: 2, headDim: 64, feedForward: 192 }
    const { path } = await workspace.loadRandom(17, shape)
    content = inNvfp4(await readContent(path), (name) => /(attn_.|ffn_(gate|up|down)|output)\.weight$/.test(name))
  })

  it('multiplies what the matrix gives', async () => {
    const plain = await logits(content)
    const doubled = await logits(content, { output: [2] })
    expect(doubled).toEqual(plain.map((v) => 2 * v))
    // Powers of two that take each other back leave every bit as it was.
    const pairs = { attn_q: 4, attn_k: 0.25, attn_v: 2, attn_output: 0.5, ffn_up: 8, ffn_down: 0.125 }
    const factors = [0, 1].flatMap((layer) => Object.entries(pairs).map(([name, f]) => [`blk.${layer}.${name}`, [f]]))
    expect(await logits(content, Object.fromEntries(factors) as Factors)).toEqual(plain)
    expect(await logits(content, { 'blk.1.ffn_gate': [0.5] })).not.toEqual(plain)
  })

  it('gives what the multiplied numbers give in f32', async () => {
    const without = await distance(content, {})
    const factors = { 'blk.0.ffn_gate': [0.3], 'blk.1.attn_v': [1.7], 'blk.1.attn_q': [0.6], output: [0.01] }
    expect(await distance(content, factors)).toBeLessThan(0.01 + 2 * without)
  })

  it('is refused where it is no factor of a product, or of another length or type', async () => {
    const load = async (changed: GgufContent): Promise<unknown> => workspace.load(await write(changed))
    await expect(load(withFactors(content, { token_embd: [2] }))).rejects.toThrow(/token_embd\.scale is not one that/)
    await expect(load(withFactors(content, { 'blk.0.attn_q': [2, 2] }))).rejects.toThrow(/attn_q\.scale has the shape/)
    const half = { name: 'blk.0.attn_q.scale', shape: [1], type: 'f16', data: new Uint8Array(2) } as const
    await expect(load({ ...content, tensors: [...content.tensors, half] })).rejects.toThrow(/attn_q\.scale is f16/)
  })
})

describe('the factors of a stack of NVFP4 matrices', () => {
  const HIDDEN = 64
  const EXPERTS = 4
  let content: GgufContent
  beforeAll(async () => {
    const from = join(workspace.folder, 'mixtral.gguf')
    await convertModel('test/fixtures/checkpoints/mixtral', from, { quantization: 'f32' })
    content = inNvfp4(widened(await readContent(from)), (name) => name.includes('_exps.'))
  })

  /** The fixture with a hidden state and experts as wide as a block is long, and other numbers. */
  function widened({ metadata, tensors }: GgufContent): GgufContent {
    const changed = new Map<string, GgufValue>(metadata)
    for (const key of ['embedding_length', 'feed_forward_length', 'expert_feed_forward_length'])
      changed.set(`llama.${key}`, { type: 'uint32', value: HIDDEN })
    const resized = tensors.map((t) => {
      const [columns = 1, ...rest] = t.shape
      const shape = t.name.includes('_exps.')
        ? [HIDDEN, HIDDEN, EXPERTS]
        : t.name.endsWith('attn_output.weight')
          ? [columns, HIDDEN]
          : [HIDDEN, ...rest]
      const count = shape.reduce((product, n) => product * n, 1)
      const values = Float32Array.from({ length: count }, (_, i) => (rest.length === 0 ? 1 : Math.sin(i * i + i) / 4))
      return { ...t, shape, data: new Uint8Array(values.buffer) }
    })
    return { metadata: changed, tensors: resized }
  }

  it('multiply what their experts give', async () => {
    const plain = await logits(content)
    const powers = [1, 2, 4, 8]
    const factors: Record<string, readonly number[]> = {}
    for (let layer = 0; layer < 4; layer++) {
      factors[`blk.${layer}.ffn_up_exps`] = powers
      factors[`blk.${layer}.ffn_down_exps`] = powers.map((f) => 1 / f)
    }
    expect(await logits(content, factors)).toEqual(plain)
    const swapped = { ...factors, 'blk.2.ffn_down_exps': powers.map((f) => 1 / f).reverse() }
    expect(await logits(content, swapped)).not.toEqual(plain)
  })

  it('give what the multiplied numbers give in f32', async () => {
    const without = await distance(content, {})
    const factors = { 'blk.0.ffn_gate_exps': [0.3, 1.5, 0.7, 2], 'blk.3.ffn_down_exps': [1.1, 0.2, 0.9, 1.6] }
    expect(await distance(content, factors)).toBeLessThan(0.01 + 2 * without)
  })

  it('are refused where there is not one for each', async () => {
    const path = await write(withFactors(content, { 'blk.0.ffn_up_exps': [2] }))
    await expect(workspace.load(path)).rejects.toThrow(/ffn_up_exps\.scale has the shape \[1\] where \[4\] fits/)
  })
})
