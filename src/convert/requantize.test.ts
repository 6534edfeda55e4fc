import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type GgufFile, readGguf } from '../checkpoint/gguf.js'
import { InputError } from '../errors.js'
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
