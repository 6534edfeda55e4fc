import { copyFileSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { firstDifference, matrixOf, recordedBlocks } from '../../test/gguf-blocks.js'
import { type ContentTensor, readContent, writeContent, writeParts } from '../../test/gguf-content.js'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { rowBytes } from '../checkpoint/tensor-type.js'
import { FileError, InputError } from '../errors.js'
import { openGgufReader } from './gguf-tensor.js'
import { convertModel } from './package.js'

const LLAMA = 'test/fixtures/checkpoints/llama'
const folder = mkdtempSync(join(tmpdir(), 'shoal-requantize-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function bytesOf(gguf: GgufFile): Map<string, Buffer> {
  const file = readFileSync(gguf.path)
  return new Map([...gguf.tensors.values()].map((t) => [t.name, file.subarray(t.offset, t.offset + t.bytes)]))
}

describe('a GGUF file in another type', () => {
  it.each(['q8_0', 'f16', 'bf16', 'q4_0'] as const)('is as %s what the folder becomes', async (quantization) => {
    const [f32, direct, twice] = ['f32', 'direct', 'twice'].map((name) => join(folder, `${quantization}-${name}.gguf`))
    await convertModel(LLAMA, f32!, { quantization: 'f32' })
    await convertModel(LLAMA, direct!, { quantization })
    const seen: number[] = []
    const made = await convertModel(f32!, twice!, { quantization, progress: ({ loaded }) => seen.push(loaded) })
    expect(made).toMatchObject({ path: twice, quantization })
    expect(seen.length).toBeGreaterThan(0)
    const [a, b] = [await readGguf(direct!), await readGguf(twice!)]
    expect(bytesOf(b)).toEqual(bytesOf(a))
    expect([...b.metadata.values.keys()].sort()).toEqual([...a.metadata.values.keys()].sort())
    expect(b.metadata.string('shoal.quantization')).toBe(quantization)
    expect(b.metadata.number('general.file_type')).toBe(a.metadata.number('general.file_type'))
  })

  it.each(['q8_0', 'q4_0', 'f16', 'bf16'] as const)('comes back from %s within its steps', async (quantization) => {
    const [exact, small, back] = ['exact', 'small', 'back'].map((name) => join(folder, `${quantization}-${name}.gguf`))
    await convertModel(LLAMA, exact!, { quantization: 'f32' })
    await convertModel(exact!, small!, { quantization })
    await convertModel(small!, back!, { quantization: 'f32' })
    const steps = { q8_0: 1 / 127, q4_0: 1 / 7, f16: 2 ** -10, bf16: 2 ** -7 }
    const [a, b] = [bytesOf(await readGguf(exact!)), bytesOf(await readGguf(back!))]
    for (const [name, bytes] of a) {
      const [was, is] = [bytes, b.get(name)!].map((part) => new Float32Array(new Uint8Array(part).buffer))
      const largest = was!.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      expect(was!.every((x, i) => Math.abs(x - is![i]!) <= steps[quantization] * largest)).toBe(true)
    }
  })

  it('warns where precision is lost twice', async () => {
    const [small, smaller] = [join(folder, 'small.gguf'), join(folder, 'smaller.gguf')]
    expect((await convertModel(LLAMA, small, { quantization: 'q8_0' })).warnings).not.toContainEqual(
      expect.stringContaining('q8_0'),
    )
    const { warnings } = await convertModel(small, smaller, { quantization: 'q4_0' })
    expect(warnings).toEqual([expect.stringMatching(/^q8_0 to q4_0: what was lost before is lost again/)])
    expect((await convertModel(small, smaller, { quantization: 'f16' })).warnings).toEqual([])
  })

  it('keeps its types where none is asked for, and is never written over itself', async () => {
    const [from, to] = [join(folder, 'from.gguf'), join(folder, 'to.gguf')]
    await convertModel(LLAMA, from, { quantization: 'q8_0' })
    expect(await convertModel(from, to)).toMatchObject({ quantization: 'q8_0' })
    expect(bytesOf(await readGguf(to))).toEqual(bytesOf(await readGguf(from)))
    await expect(convertModel(from, from)).rejects.toThrow(InputError)
  })

  it('leaves nothing behind where it is stopped', async () => {
    const [from, to] = [join(folder, 'whole.gguf'), join(folder, 'stopped.gguf')]
    await convertModel(LLAMA, from, { quantization: 'f32' })
    const controller = new AbortController()
    const stopped = convertModel(from, to, {
      quantization: 'q8_0',
      signal: controller.signal,
      progress: () => controller.abort(),
    })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect(existsSync(to)).toBe(false)
  })
})

function floats(data: Uint8Array): Float32Array {
  return new Float32Array(new Uint8Array(data).buffer)
}

describe('a split GGUF file', () => {
  it('becomes one file', async () => {
    const [whole, merged] = [join(folder, 'one.gguf'), join(folder, 'merged.gguf')]
    await convertModel(LLAMA, whole, { quantization: 'q8_0' })
    const content = await readContent(whole)
    const first = await writeParts(folder, 'many', content, [0, 3, 5])
    expect(await convertModel(first, merged)).toMatchObject({ name: 'many', quantization: 'q8_0' })
    expect(readFileSync(merged)).toEqual(readFileSync(whole))
    const other = await convertModel(first, merged, { quantization: 'f32' })
    expect(other.bytes).toBeGreaterThan((await readGguf(whole)).bytes)
    expect(bytesOf(await readGguf(merged)).size).toBe(content.tensors.length)
    for (const part of (await readGguf(first)).parts) {
      await expect(convertModel(first, part.path)).rejects.toThrow(/is the file that is read; give another name/)
    }
  })

  it('is refused where a part was replaced since its header was read', async () => {
    const whole = join(folder, 'before.gguf')
    await convertModel(LLAMA, whole, { quantization: 'f32' })
    const gguf = await readGguf(await writeParts(folder, 'before', await readContent(whole), [2, 2]))
    const second = gguf.parts[1]!.path
    renameSync(gguf.parts[2]!.path, second)
    await expect(openGgufReader(gguf)).rejects.toThrow(FileError)
    copyFileSync(whole, second)
    await expect(openGgufReader(gguf)).rejects.toThrow(`${second}: was changed since its header was read; try again`)
  })
})

describe('a GGUF file with weights of any type', () => {
  const HIDDEN = 512
  /** A llama of one layer whose query matrix is this; the family's other tensors are left out, as nothing reads them here. */
  const withMatrix = async (tensors: readonly ContentTensor[]): Promise<string> => {
    const whole = join(folder, 'llama.gguf')
    if (!existsSync(whole)) await convertModel(LLAMA, whole, { quantization: 'f32' })
    const { metadata } = await readContent(whole)
    return writeContent(join(folder, 'typed.gguf'), { metadata, tensors })
  }
  const query = 'blk.0.attn_q.weight'

  it('is read as the numbers that they are', async () => {
    const to = join(folder, 'values.gguf')
    for (const recorded of await recordedBlocks()) {
      const { bytes, values } = matrixOf(recorded, 8, HIDDEN)
      const from = await withMatrix([{ name: query, shape: [HIDDEN, 8], type: recorded.type, data: bytes }])
      await convertModel(from, to, { quantization: 'f32' })
      const [written] = (await readContent(to)).tensors
      expect([written!.type, firstDifference(floats(written!.data), values)], recorded.type).toEqual(['f32', null])
    }
  })

  it('has the factors of NVFP4 matrices in its numbers where their type changes, and beside them where not', async () => {
    const recorded = (await recordedBlocks()).find(({ type }) => type === 'nvfp4')!
    const { bytes, values } = matrixOf(recorded, 8, HIDDEN)
    const to = join(folder, 'scaled.gguf')
    const factor = (name: string, ...numbers: number[]): ContentTensor => {
      return { name, shape: [numbers.length], type: 'f32', data: new Uint8Array(Float32Array.from(numbers).buffer) }
    }
    const matrix = { name: query, shape: [HIDDEN, 8], type: 'nvfp4', data: bytes } as const
    const beside = [factor('blk.0.attn_q.scale', 0.5), factor('blk.0.attn_q.input_scale', 3)]
    const from = await withMatrix([beside[0]!, matrix, beside[1]!])
    await convertModel(from, to)
    expect((await readContent(to)).tensors.map((t) => t.name)).toEqual([beside[0]!.name, query, beside[1]!.name])
    await convertModel(from, to, { quantization: 'f32' })
    const { tensors } = await readContent(to)
    expect(tensors.map((t) => t.name)).toEqual([query])
    expect(floats(tensors[0]!.data)).toEqual(values.map((v) => v * 0.5))

    const stack = { ...matrix, shape: [HIDDEN, 2, 4] }
    await convertModel(await withMatrix([stack, factor('blk.0.attn_q.scale', 1, 2, 4, 8)]), to, { quantization: 'f32' })
    const scaled = floats((await readContent(to)).tensors[0]!.data)
    expect(scaled).toEqual(values.map((v, i) => v * 2 ** Math.floor(i / (2 * HIDDEN))))

    for (const wrong of [factor('blk.0.attn_q.scale', 1, 2, 4), { ...beside[0]!, shape: [1, 1] }]) {
      const odd = await withMatrix([stack, wrong])
      await expect(convertModel(odd, to, { quantization: 'f32' })).rejects.toThrow(/no factor for blk.0.attn_q.weight/)
    }
  })

  it.each(['i8', 'f64', 'q8_k'] as const)('is refused by name as %s', async (type) => {
    const data = new Uint8Array(rowBytes(type, 256) * 2)
    const from = await withMatrix([{ name: query, shape: [256, 2], type, data }])
    const to = join(folder, 'refused.gguf')
    await expect(convertModel(from, to, { quantization: 'f16' })).rejects.toThrow(
      `tensor ${query} is ${type}, which weights cannot be`,
    )
    expect(existsSync(to)).toBe(false)
  })
})
