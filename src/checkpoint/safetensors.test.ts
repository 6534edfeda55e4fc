import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError, UnsupportedError } from '../errors.js'
import { float32ToBfloat16Array, float32ToFloat16Array } from './float16.js'
import { openSafetensors } from './safetensors.js'
import { createSafetensorsWriter } from './safetensors-write.js'

const FIXTURE = 'test/fixtures/checkpoints/llama/expected.safetensors'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-safetensors-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function fileOf(header: unknown, dataBytes: number, name = 'x.safetensors'): Promise<string> {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  const path = join(folder, name)
  await writeFile(path, Buffer.concat([length, json, Buffer.alloc(dataBytes)]))
  return path
}

async function failure(path: string): Promise<Error> {
  const file = await openSafetensors(path).catch((error: unknown) => error as Error)
  if (!(file instanceof Error)) {
    await file.close()
    throw new Error(`${path} was accepted`)
  }
  expect(file.message.startsWith(`${path}: `)).toBe(true)
  expect(file.message).not.toContain('\n')
  return file
}

describe('reading', () => {
  it("reads PyTorch's file", async () => {
    const file = await openSafetensors(FIXTURE)
    expect(await file.readIntegers('greedy')).toHaveLength(12)
    expect(file.tensors.get('input_ids')).toMatchObject({ dtype: 'I64', shape: [2, 16] })
    const logits = await file.readFloats('logits')
    const { shape } = file.tensors.get('logits')!
    expect(logits).toHaveLength(shape.reduce((a, b) => a * b))
    // All dimensions but the last are counted as rows.
    const second = await file.readFloats('logits', { start: 16, count: 16 })
    expect(second).toEqual(logits.subarray(logits.length / 2))
    await file.close()
  })

  it('reads F32, F16 and BF16, whole and by rows, into a buffer of the caller', async () => {
    const path = join(folder, 'types.safetensors')
    const values = Float32Array.from({ length: 24 }, (_, i) => (i - 12) / 8)
    const writer = await createSafetensorsWriter(path, [
      { name: 'f32', dtype: 'F32', shape: [6, 4] },
      { name: 'f16', dtype: 'F16', shape: [6, 4] },
      { name: 'bf16', dtype: 'BF16', shape: [6, 4] },
      { name: 'empty', dtype: 'F32', shape: [0, 4] },
      { name: 'scalar', dtype: 'F32', shape: [] },
      { name: 'bytes', dtype: 'U8', shape: [3] },
    ])
    await writer.append('f32', values)
    await writer.append('f16', float32ToFloat16Array(values, new Uint16Array(24)))
    await writer.append('bf16', float32ToBfloat16Array(values, new Uint16Array(24)))
    await writer.append('scalar', Float32Array.of(7))
    await writer.append('bytes', Uint8Array.of(1, 2, 3))
    await writer.finish()
    const file = await openSafetensors(path)
    const out = new Float32Array(100)
    for (const name of ['f32', 'f16', 'bf16']) {
      expect(await file.readFloats(name)).toEqual(values)
      expect(await file.readFloats(name, { start: 1, count: 3 }, out)).toEqual(values.subarray(4, 16))
    }
    expect(await file.readFloats('scalar')).toEqual(Float32Array.of(7))
    expect(await file.readFloats('empty')).toHaveLength(0)
    await expect(file.readFloats('f32', { start: 5, count: 2 })).rejects.toThrow('has 6 rows')
    await expect(file.readFloats('f32', undefined, new Float32Array(2))).rejects.toThrow('do not fit')
    await expect(file.readFloats('absent')).rejects.toThrow('has no tensor absent')
    await expect(file.readFloats('bytes')).rejects.toBeInstanceOf(UnsupportedError)
    await expect(file.readIntegers('f32')).rejects.toBeInstanceOf(UnsupportedError)
    expect(await file.readIntegers('bytes')).toEqual([1, 2, 3])
    await file.close()
  })

  it('reads whole numbers of every size', async () => {
    const path = join(folder, 'integers.safetensors')
    const writer = await createSafetensorsWriter(path, [
      { name: 'i8', dtype: 'I8', shape: [2] },
      { name: 'u8', dtype: 'U8', shape: [2] },
      { name: 'bool', dtype: 'BOOL', shape: [2] },
      { name: 'i16', dtype: 'I16', shape: [2] },
      { name: 'i32', dtype: 'I32', shape: [2] },
      { name: 'i64', dtype: 'I64', shape: [2] },
    ])
    await writer.append('i8', Uint8Array.of(0xff, 5))
    await writer.append('u8', Uint8Array.of(0xff, 5))
    await writer.append('bool', Uint8Array.of(1, 0))
    await writer.append('i16', new Uint8Array(Int16Array.of(-300, 5).buffer))
    await writer.append('i32', Int32Array.of(-70_000, 5))
    await writer.append('i64', BigInt64Array.of(-(2n ** 40n), 5n))
    await writer.finish()
    const file = await openSafetensors(path)
    const values = await Promise.all([...file.tensors.keys()].map((name) => file.readIntegers(name)))
    expect(values).toEqual([
      [-1, 5],
      [255, 5],
      [1, 0],
      [-300, 5],
      [-70_000, 5],
      [-(2 ** 40), 5],
    ])
    await file.close()
  })
})

describe('refuses', () => {
  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  })
  const cases: [string, unknown, number, string][] = [
    ['overlapping tensors', { a: f32(0, 8), b: f32(4, 12) }, 12, 'overlaps'],
    ['the same bytes twice', { a: f32(0, 8), b: f32(0, 8) }, 8, 'overlaps'],
    ['a hole', { a: f32(0, 4), b: f32(8, 12) }, 12, 'belong to none'],
    ['bytes left over', { a: f32(0, 4) }, 8, 'belong to no tensor'],
    ['a tensor beyond the end', { a: f32(0, 8) }, 4, 'truncated'],
    ['a size that is not the shape', { a: f32(0, 8, [3]) }, 8, 'takes 12 bytes'],
    ['an overflowing shape', { a: f32(0, 8, [2 ** 40, 2 ** 40]) }, 8, 'takes'],
    ['a negative dimension', { a: f32(0, 8, [-2]) }, 8, 'whole numbers'],
    ['half a dimension', { a: f32(0, 8, [2.5]) }, 8, 'whole numbers'],
    ['a wrong dtype', { a: { ...f32(0, 8), dtype: 'F31' } }, 8, 'unknown dtype "F31"'],
    ['a dtype of the prototype', { a: { ...f32(0, 8), dtype: 'constructor' } }, 8, 'unknown dtype'],
    ['offsets in the wrong order', { a: f32(8, 0, [2]) }, 8, 'begin <= end'],
    ['three offsets', { a: { ...f32(0, 8), data_offsets: [0, 8, 8] } }, 8, 'data_offsets'],
    ['no offsets', { a: { dtype: 'F32', shape: [2] } }, 8, 'data_offsets'],
    ['an entry that is no object', { a: 3 }, 0, 'not an object'],
    ['metadata that is not text', { __metadata__: { a: 1 } }, 0, '__metadata__'],
    ['a list', '[]', 0, 'does not start with {'],
    ['broken JSON', '{"a":', 0, 'not valid JSON'],
    ['one name twice', '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', 4, '"a" twice'],
    ['one field twice', '{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}', 4, '"shape" twice'],
    ['a name twice by escapes', '{"a":{},"\\u0061":{}}', 0, '"a" twice'],
  ]
  it.each(cases)('%s', async (_, header, bytes, reason) => {
    const error = await failure(await fileOf(header, bytes))
    expect(error).toBeInstanceOf(FileError)
    expect(error.message).toContain(reason)
  })

  it('a file that is missing, a folder, or too short', async () => {
    expect(await failure(join(folder, 'absent'))).toMatchObject({ code: 'file_missing' })
    expect((await failure(folder)).message).toContain('is a folder')
    const path = join(folder, 'short')
    await writeFile(path, 'abc')
    expect((await failure(path)).message).toContain('too short')
  })

  it('a header longer than the file, without allocating for it', async () => {
    const path = join(folder, 'long')
    for (const length of [2n ** 64n - 1n, 2n ** 40n, 100n]) {
      const bytes = Buffer.alloc(32)
      bytes.writeBigUInt64LE(length)
      await writeFile(path, bytes)
      expect((await failure(path)).message).toContain('truncated')
    }
  })

  it('any damage of a valid file, with a FileError or not at all', async () => {
    const original = await readFile('test/fixtures/checkpoints/llama/expected.safetensors')
    const headerBytes = 8 + Number(original.readBigUInt64LE(0))
    const edit = fc.record({ at: fc.nat(headerBytes - 1), byte: fc.nat(255) })
    const path = join(folder, 'mutated')
    await fc.assert(
      fc.asyncProperty(
        fc.array(edit, { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(original.length)),
        async (edits, cut) => {
          const bytes = Buffer.from(original.subarray(0, cut ?? original.length))
          for (const { at, byte } of edits) if (at < bytes.length) bytes[at] = byte
          await writeFile(path, bytes)
          const file = await openSafetensors(path).catch((error: unknown) => error)
          if (file instanceof Error) expect(file).toBeInstanceOf(FileError)
          else await (file as Awaited<ReturnType<typeof openSafetensors>>).close()
        },
      ),
      { numRuns: 300 },
    )
  })
})

describe('writing', () => {
  it('what it reads back, tensors taking turns', async () => {
    const path = join(folder, 'round-trip.safetensors')
    const shape = fc.array(fc.nat(5), { maxLength: 3 })
    const value = fc.float({ noNaN: true })
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.string(), { maxLength: 5 }),
        fc.infiniteStream(shape),
        value,
        async (names, shapes, seed) => {
          const tensors = names
            .filter((name) => name !== '__metadata__')
            .map((name) => ({ name, dtype: 'F32' as const, shape: shapes.next().value as number[] }))
          const contents = new Map(
            tensors.map(({ name, shape }) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(seed)]),
          )
          const writer = await createSafetensorsWriter(path, tensors, { made: 'for a test' })
          for (const half of [0, 1]) {
            for (const [name, values] of contents) {
              const middle = values.length >> 1
              await writer.append(name, half === 0 ? values.subarray(0, middle) : values.subarray(middle))
            }
          }
          await writer.finish()
          const file = await openSafetensors(path)
          expect(file.metadata).toEqual({ made: 'for a test' })
          expect([...file.tensors.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort())
          for (const [name, values] of contents) expect(await file.readFloats(name)).toEqual(values)
          await file.close()
        },
      ),
      {
        numRuns: 50,
        examples: [[['__proto__', 'constructor'], fc.sample(fc.infiniteStream(fc.constant<number[]>([5])), 1)[0]!, 0]],
      },
    )
  })

  it('leaves nothing where it is not finished', async () => {
    const inner = await mkdtemp(join(folder, 'unfinished-'))
    const path = join(inner, 'x.safetensors')
    const declarations = [{ name: 'a', dtype: 'F32' as const, shape: [4] }]
    const aborted = await createSafetensorsWriter(path, declarations)
    await aborted.abort()
    expect(await readdir(inner)).toEqual([])
    const incomplete = await createSafetensorsWriter(path, declarations)
    await incomplete.append('a', Float32Array.of(1))
    await expect(incomplete.finish()).rejects.toThrow('lacks 12 bytes')
    expect(await readdir(inner)).toEqual([])
    const writer = await createSafetensorsWriter(path, declarations)
    await expect(writer.append('b', Float32Array.of(1))).rejects.toThrow('not declared')
    await expect(writer.append('a', new Float32Array(5))).rejects.toThrow('more than its shape')
    await writer.abort()
    await expect(createSafetensorsWriter(join(inner, 'no', 'x'), declarations)).rejects.toMatchObject({
      code: 'file_missing',
    })
    await expect(createSafetensorsWriter(path, [...declarations, ...declarations])).rejects.toThrow('twice')
  })
})
