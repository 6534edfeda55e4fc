import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { matrixOf, type RecordedBlocks, recordedBlocks } from '../../test/gguf-blocks.js'
import { type GgufContent, readContent, writeContent, writeParts } from '../../test/gguf-content.js'
import { useWorkspace } from '../../test/workspace.js'
import { rowBytes } from '../checkpoint/tensor-type.js'
import { convertModel, openPackage } from '../convert/package.js'
import { foreignModelNotes, kinship } from '../depth/foreign-model.js'
import { FileError } from '../errors.js'
import type { Model } from './api.js'

const workspace = useWorkspace()
let whole: Model
let content: GgufContent
let recorded: RecordedBlocks[]
beforeAll(async () => {
  whole = await workspace.loadRandom(91, { layers: 2, hidden: 256, feedForward: 256, headDim: 64 })
  content = await readContent(whole.path)
  recorded = await recordedBlocks()
})

/** A folder of its own, for parts. */
function inside(name: string): string {
  const folder = join(workspace.folder, name)
  mkdirSync(folder)
  return folder
}

describe('a split GGUF file', () => {
  it('runs as the whole does, and is the same model', async () => {
    const first = await writeParts(inside('parts'), 'random', content, [0, 2, 7])
    const split = await workspace.load(first)
    expect(split.name).toBe('random')
    expect(split.fingerprint).toBe(whole.fingerprint)
    expect((await split.trace([1, 2, 3])).logits).toEqual((await whole.trace([1, 2, 3])).logits)
  })

  it('is another model where a vector of a later part differs', async () => {
    const tensors = content.tensors.map((t) => {
      return t.name === 'blk.1.ffn_norm.weight' ? { ...t, data: new Uint8Array(t.data.length) } : t
    })
    const first = await writeParts(inside('other'), 'random', { ...content, tensors }, [3])
    expect((await workspace.load(first)).fingerprint).not.toBe(whole.fingerprint)
  })

  it('is a relative where a matrix differs, with stores and measurements of its own', async () => {
    const tensors = content.tensors.map((t) => {
      return t.name === 'blk.1.ffn_up.weight' ? { ...t, data: t.data.map((byte) => byte ^ 1) } : t
    })
    const first = await writeParts(inside('merged'), 'random', { ...content, tensors }, [3])
    const merged = await workspace.load(first)
    expect(merged.fingerprint).not.toBe(whole.fingerprint)
    expect(kinship(merged.fingerprint, whole.fingerprint)).toBe('relatives')
    const [notes, own] = [merged, whole].map(({ fingerprint }) =>
      foreignModelNotes('svm.policy.json', { name: 'random', fingerprint: whole.fingerprint }, fingerprint),
    )
    expect(notes).toEqual([expect.stringContaining('was made on other weights of this model')])
    expect(own).toEqual([])
  })

  it('tells a part that has changed from the one that it read', async () => {
    const folder = inside('changed')
    const first = await writeParts(folder, 'random', content, [3])
    const split = await workspace.load(first)
    copyFileSync(first, join(folder, 'random-00002-of-00002.gguf'))
    expect(() => split.fingerprint).toThrow(FileError)
    await expect(workspace.load(first).then(() => 'loaded')).rejects.toThrow(
      /random-00002-of-00002.gguf: split.no is 0/,
    )
  })
})

describe('a GGUF file with weights of one type', () => {
  /** The model with matrices of these blocks in place of its own, as another maker's file. */
  const withType = (blocks: RecordedBlocks): GgufContent => ({
    metadata: new Map([...content.metadata].filter(([key]) => !key.startsWith('shoal.'))),
    tensors: content.tensors.map((t) => {
      const [columns = 1, rows = 1] = t.shape
      return rows === 1 ? t : { ...t, type: blocks.type, data: matrixOf(blocks, rows, columns).bytes }
    }),
  })

  it('runs, as near to the same numbers in f32 as q8_0 is', async () => {
    expect(recorded.length).toBeGreaterThan(20)
    const logits = async (path: string): Promise<Float32Array> => (await (await workspace.load(path)).trace([5])).logits
    for (const blocks of recorded) {
      const path = await writeContent(join(workspace.folder, `${blocks.type}.gguf`), withType(blocks))
      expect((await openPackage(path)).quantization).toBe(blocks.type)
      const [exact, rounded] = ['f32', 'q8_0'].map((name) => join(workspace.folder, `${blocks.type}-${name}.gguf`))
      await convertModel(path, exact!, { quantization: 'f32' })
      await convertModel(exact!, rounded!, { quantization: 'q8_0' })
      const [typed, f32, q8] = [await logits(path), await logits(exact!), await logits(rounded!)]
      const off = (x: Float32Array): number => Math.hypot(...x.map((v, i) => v - f32[i]!)) / Math.hypot(...f32)
      // Blocks that come again and again make matrices that are nearly singular: rounding rows may move everything.
      expect(off(typed), blocks.type).toBeLessThan(0.01 + 1.5 * off(q8))
    }
  }, 60_000)

  it.each(['i8', 'i16', 'f64', 'q8_1', 'q8_k'] as const)('is refused by name as %s', async (type) => {
    const tensors = content.tensors.map((t) => {
      return t.name === 'blk.1.ffn_up.weight' ? { ...t, type, data: new Uint8Array(rowBytes(type, 256) * 256) } : t
    })
    const path = await writeContent(join(workspace.folder, `${type}.gguf`), { ...content, tensors })
    await expect(workspace.load(path).then(() => 'loaded')).rejects.toThrow(
      `${path}: tensor blk.1.ffn_up.weight is ${type}, which weights cannot be`,
    )
  })
})

describe('a factor beside a matrix', () => {
  const factor = (name: string) => ({
    name,
    type: 'f32' as const,
    shape: [1],
    data: new Uint8Array(Float32Array.of(0.5).buffer),
  })

  it('multiplies what the head gives', async () => {
    const path = await writeContent(join(workspace.folder, 'head-scale.gguf'), {
      ...content,
      tensors: [...content.tensors, factor('output.scale')],
    })
    const [full, half] = await Promise.all([whole, await workspace.load(path)].map((model) => model.trace([1, 2, 3])))
    expect(half!.logits).toEqual(full!.logits.map((value) => value / 2))
  })

  it('is refused by name where rows are looked up', async () => {
    const path = await writeContent(join(workspace.folder, 'embedding-scale.gguf'), {
      ...content,
      tensors: [...content.tensors, factor('token_embd.scale')],
    })
    await expect(workspace.load(path).then(() => 'loaded')).rejects.toThrow(
      'tensor token_embd.scale is not one that llama models have here',
    )
  })
})
