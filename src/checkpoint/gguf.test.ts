import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gguf as readByOracle } from '@huggingface/gguf'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readContent, writeContent } from '../../test/gguf-content.js'
import { FileError, UnsupportedError } from '../errors.js'
import { readGguf } from './gguf.js'
import { GgufMetadata } from './gguf-metadata.js'
import type { GgufValue } from './gguf-value.js'
import { createGgufWriter, type GgufTensorDeclaration } from './gguf-write.js'
import { rowBytes, TENSOR_TYPES, type TensorType } from './tensor-type.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-gguf-'))
})
afterAll(() => rm(folder, { recursive: true }))

const METADATA: [string, GgufValue][] = [
  ['general.architecture', { type: 'string', value: 'llama' }],
  ['a.uint8', { type: 'uint8', value: 255 }],
  ['a.int8', { type: 'int8', value: -128 }],
  ['a.uint16', { type: 'uint16', value: 65_535 }],
  ['a.int16', { type: 'int16', value: -32_768 }],
  ['a.uint32', { type: 'uint32', value: 4_294_967_295 }],
  ['a.int32', { type: 'int32', value: -2_147_483_648 }],
  ['a.uint64', { type: 'uint64', value: Number.MAX_SAFE_INTEGER }],
  ['a.int64', { type: 'int64', value: Number.MIN_SAFE_INTEGER }],
  ['a.float32', { type: 'float32', value: 0.5 }],
  ['a.float64', { type: 'float64', value: Math.PI }],
  ['a.bool', { type: 'bool', value: true }],
  ['a.strings', { type: 'array', of: 'string', value: ['', 'Ġt', '😀'] }],
  ['a.numbers', { type: 'array', of: 'int32', value: [1, -2, 3] }],
  ['a.flags', { type: 'array', of: 'bool', value: [1, 0] }],
]

const TENSORS: GgufTensorDeclaration[] = [
  { name: 'vector', shape: [5], type: 'f32' },
  { name: 'matrix', shape: [64, 3], type: 'q4_0' },
  { name: 'half', shape: [3, 2], type: 'f16' },
]

function bytesOf({ shape, type }: GgufTensorDeclaration): number {
  return rowBytes(type, shape[0] ?? 1) * shape.slice(1).reduce((a, b) => a * b, 1)
}

async function write(name: string, metadata = METADATA, tensors = TENSORS): Promise<string> {
  const path = join(folder, name)
  const writer = await createGgufWriter(path, new GgufMetadata('', metadata), tensors)
  for (const [i, tensor] of tensors.entries())
    await writer.append(tensor.name, new Uint8Array(bytesOf(tensor)).fill(i + 1))
  await writer.finish()
  return path
}

/** A header by hand: numbers are 4 bytes, bigints 8, strings as they are. */
async function crafted(name: string, parts: (number | bigint | string)[], tail = 0): Promise<string> {
  const chunks = parts.map((part) => {
    if (typeof part === 'string') return Buffer.from(part)
    const chunk = Buffer.alloc(typeof part === 'number' ? 4 : 8)
    if (typeof part === 'number') chunk.writeUInt32LE(part)
    else chunk.writeBigUInt64LE(part)
    return chunk
  })
  const path = join(folder, name)
  await writeFile(path, Buffer.concat([...chunks, Buffer.alloc(tail)]))
  return path
}

async function failure(path: string): Promise<Error> {
  const error = await readGguf(path).catch((error: unknown) => error)
  if (!(error instanceof FileError || error instanceof UnsupportedError)) throw new Error(`${path}: ${String(error)}`)
  expect(error.message.startsWith(`${path}: `)).toBe(true)
  return error
}

describe('round trip', () => {
  it('gives back every type of value, and tensors where they are', async () => {
    const path = await write('all.gguf')
    const file = await readGguf(path)
    expect([...file.metadata.values]).toEqual(METADATA)
    expect([...file.tensors.keys()]).toEqual(['vector', 'matrix', 'half'])
    const bytes = await readFile(path)
    expect(file.bytes).toBe(bytes.length)
    for (const [i, declared] of TENSORS.entries()) {
      const tensor = file.tensors.get(declared.name)!
      expect(tensor).toMatchObject(declared)
      expect(tensor.offset % 32).toBe(0)
      expect(tensor.bytes).toBe(bytesOf(declared))
      expect(bytes.subarray(tensor.offset, tensor.offset + tensor.bytes).every((byte) => byte === i + 1)).toBe(true)
    }
  })

  it("is what Hugging Face's reader sees", async () => {
    const path = await write('oracle.gguf')
    const seen = await readByOracle(path, { allowLocalFile: true })
    const own = await readGguf(path)
    const metadata = seen.metadata as unknown as Record<string, unknown>
    for (const [key, { value }] of METADATA) {
      if (key === 'a.flags') expect(metadata[key]).toEqual([true, false])
      else if (typeof metadata[key] === 'bigint') expect(Number(metadata[key])).toBe(value)
      else expect(metadata[key]).toEqual(value)
    }
    expect(Number(seen.tensorDataOffset)).toBe(own.dataOffset)
    for (const info of seen.tensorInfos) {
      const tensor = own.tensors.get(info.name)!
      expect(info.shape.map(Number)).toEqual(tensor.shape)
      expect(info.dtype as number).toBe(TENSOR_TYPES[tensor.type].id)
      expect(Number(info.offset) + own.dataOffset).toBe(tensor.offset)
    }
  })

  it('is the same in version 2, which has the same layout', async () => {
    const path = await write('version-3.gguf')
    const bytes = await readFile(path)
    const older = join(folder, 'version-2.gguf')
    bytes.writeUInt32LE(2, 4)
    await writeFile(older, bytes)
    const [file, now] = [await readGguf(older), await readGguf(path)]
    expect([...file.metadata.values]).toEqual([...now.metadata.values])
    expect([...file.tensors]).toEqual([...now.tensors])
    // It is written again as version 3.
    await writeContent(join(folder, 'copy.gguf'), await readContent(older))
    expect(await readFile(join(folder, 'copy.gguf'))).toEqual(await readFile(path))
  })

  it('honours general.alignment', async () => {
    const path = await write('aligned.gguf', [['general.alignment', { type: 'uint32', value: 256 }]])
    for (const { offset } of (await readGguf(path)).tensors.values()) expect(offset % 256).toBe(0)
  })

  it('holds for any names, shapes and types', async () => {
    const types = Object.keys(TENSOR_TYPES) as TensorType[]
    const tensor = fc
      .tuple(fc.constantFrom(...types), fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }))
      .map(([type, [blocks, ...rest]]) => ({ type, shape: [blocks! * TENSOR_TYPES[type].blockSize, ...rest] }))
    const name = fc.stringMatching(/^[a-z.0-9]{1,40}$/)
    const key = fc.stringMatching(/^[a-z]{1,9}$/).map((end) => `test.${end}`)
    const value = fc.oneof(
      fc.string({ unit: 'binary' }).map((value): GgufValue => ({ type: 'string', value })),
      fc.maxSafeInteger().map((value): GgufValue => ({ type: 'int64', value })),
      fc.float({ noNaN: true }).map((value): GgufValue => ({ type: 'float32', value })),
      fc.array(fc.integer()).map((value): GgufValue => ({ type: 'array', of: 'int32', value })),
      fc.array(fc.stringMatching(/^\w*$/)).map((value): GgufValue => ({ type: 'array', of: 'string', value })),
    )
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, tensor), fc.dictionary(key, value), async (named, pairs) => {
        const tensors = Object.entries(named).map(([name, rest]) => ({ name, ...rest }))
        const file = await readGguf(await write('any.gguf', Object.entries(pairs), tensors))
        expect([...file.metadata.values]).toEqual(Object.entries(pairs))
        expect([...file.tensors.values()]).toMatchObject(tensors)
      }),
      { numRuns: 60 },
    )
  })

  it('reads a vocabulary of 150,000 tokens, across the borders of what it reads at a time', async () => {
    const value = Array.from({ length: 150_000 }, (_, i) => `token-${i}-${'x'.repeat(i % 40)}`)
    const file = await readGguf(
      await write('large.gguf', [['tokenizer.ggml.tokens', { type: 'array', of: 'string', value }]]),
    )
    expect(file.metadata.strings('tokenizer.ggml.tokens')).toEqual(value)
  })
})

describe('refuses', () => {
  const MAGIC = 0x46554747
  const name = (text: string): [bigint, string] => [BigInt(Buffer.byteLength(text)), text]
  const vector = (text: string, offset: bigint, length = 8n, type = 0) => [...name(text), 1, length, type, offset]
  const many = 10n ** 18n
  const cases: [string, (number | bigint | string)[], number, string][] = [
    ['another format', [0x04034b50, 3, 0n, 0n], 0, 'is not a GGUF file'],
    ['nothing but a magic number', [MAGIC], 0, 'is not a GGUF file'],
    ['version 1', [MAGIC, 1, 0n, 0n], 0, 'version 1'],
    ['version 4', [MAGIC, 4, 0n, 0n], 0, 'version 4'],
    ['version 0', [MAGIC, 0, 0n, 0n], 0, 'version 0'],
    ['big-endian files', [MAGIC, 0x03000000, 0n, 0n], 0, 'is a big-endian GGUF file; give a little-endian one'],
    ['big-endian files of version 2', [MAGIC, 0x02000000, 0n, 0n], 0, 'big-endian'],
    ['more tensors than can be', [MAGIC, 3, many, 0n], 64, 'number of tensors'],
    ['more tensors than fit', [MAGIC, 3, 1000n, 0n], 64, 'only'],
    ['more keys than fit', [MAGIC, 3, 0n, 1000n], 64, 'metadata keys of 1000'],
    ['a count beyond 2^53', [MAGIC, 3, 2n ** 63n, 0n], 64, '2^53'],
    ['a key beyond the end', [MAGIC, 3, 0n, 1n, 1000n, 'ab'], 16, 'ends in the middle'],
    ['a key that is too long', [MAGIC, 3, 0n, 1n, 70_000n], 80_000, 'at most 65535'],
    ['a key that is no UTF-8', [MAGIC, 3, 0n, 1n, 1n, 0xff], 32, 'not UTF-8'],
    ['an empty key', [MAGIC, 3, 0n, 1n, 0n, 4, 0], 16, 'is empty'],
    ['a key twice', [MAGIC, 3, 0n, 2n, ...name('ab'), 4, 1, ...name('ab'), 4, 1], 8, 'ab twice'],
    ['an unknown value type', [MAGIC, 3, 0n, 1n, ...name('ab'), 13], 16, 'unknown type 13'],
    ['a string beyond the end', [MAGIC, 3, 0n, 1n, ...name('ab'), 8, 2n ** 40n], 16, 'metadata key ab'],
    ['a list beyond the end', [MAGIC, 3, 0n, 1n, ...name('ab'), 9, 5, 2n ** 40n], 16, 'length of metadata key ab'],
    ['a list of lists', [MAGIC, 3, 0n, 1n, ...name('ab'), 9, 9, 1n], 32, 'list of lists'],
    ['a bool that is neither', [MAGIC, 3, 0n, 1n, ...name('ab'), 7, 2], 8, 'neither true nor false'],
    ['a strange alignment', [MAGIC, 3, 0n, 1n, ...name('general.alignment'), 4, 33], 8, 'general.alignment'],
    ['an alignment of 0', [MAGIC, 3, 0n, 1n, ...name('general.alignment'), 4, 0], 8, 'general.alignment'],
    ['a tensor of five dimensions', [MAGIC, 3, 1n, 0n, ...name('t'), 5, 1n, 1n, 1n, 1n, 1n, 0, 0n], 64, '5 dimensions'],
    ['an overflowing shape', [MAGIC, 3, 1n, 0n, ...name('t'), 2, 2n ** 30n, 2n ** 30n, 0, 0n], 64, 'impossible shape'],
    [
      'an unknown tensor type',
      [MAGIC, 3, 1n, 0n, ...vector('t', 0n, 8n, 97)],
      64,
      'tensor t has type 97, which ggml 0.23 does not have; files of ik_llama.cpp have such',
    ],
    [
      'the first tensor type beyond the table',
      [MAGIC, 3, 1n, 0n, ...vector('t', 0n, 8n, 43)],
      64,
      'has type 43, which ggml 0.23 does not have',
    ],
    [
      'a tensor type beyond all',
      [MAGIC, 3, 1n, 0n, ...vector('t', 0n, 8n, 2 ** 32 - 1)],
      64,
      'has type 4294967295, which',
    ],
    [
      'a removed tensor type',
      [MAGIC, 3, 1n, 0n, ...vector('t', 0n, 32n, 31)],
      64,
      'has type 31 (q4_0_4_4), which ggml has removed; convert the model again',
    ],
    ['rows of broken blocks', [MAGIC, 3, 1n, 0n, ...vector('t', 0n, 8n, 2)], 64, 'block of 32'],
    ['an odd offset', [MAGIC, 3, 1n, 0n, ...vector('t', 8n)], 64, 'not a multiple of 32'],
    ['a tensor beyond the end', [MAGIC, 3, 1n, 0n, ...vector('t', 4096n)], 64, 'truncated'],
    ['overlapping tensors', [MAGIC, 3, 2n, 0n, ...vector('t', 0n, 16n), ...vector('u', 32n)], 128, 'u overlaps t'],
    ['a tensor twice', [MAGIC, 3, 2n, 0n, ...vector('t', 0n), ...vector('t', 32n)], 128, 'tensor t twice'],
    ['a tensor without a name', [MAGIC, 3, 1n, 0n, ...vector('', 0n)], 64, 'no name'],
    ['a name that is too long', [MAGIC, 3, 1n, 0n, ...vector('t'.repeat(65), 0n)], 64, 'at most 64'],
  ]
  it.each(cases)('%s', async (_, parts, tail, reason) => {
    expect((await failure(await crafted('crafted.gguf', parts, tail))).message).toContain(reason)
  })

  it('a file that is missing, or a folder', async () => {
    expect(await failure(join(folder, 'absent'))).toMatchObject({ code: 'file_missing' })
    expect((await failure(folder)).message).toContain('is a folder')
  })

  it('a file cut off anywhere in its header or data', async () => {
    const original = await readFile(await write('whole.gguf'))
    const path = join(folder, 'cut.gguf')
    const last = (await readGguf(join(folder, 'whole.gguf'))).tensors.get('half')!
    for (let length = 0; length < last.offset + last.bytes; length += 7) {
      await writeFile(path, original.subarray(0, length))
      await failure(path)
    }
  })

  it('any damage with an error of its own, or reads what is there', async () => {
    const path = join(folder, 'mutated.gguf')
    const original = await readFile(await write('original.gguf'))
    const { dataOffset } = await readGguf(join(folder, 'original.gguf'))
    const edit = fc.record({ at: fc.nat(dataOffset - 1), byte: fc.nat(255) })
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const bytes = Buffer.from(original)
        for (const { at, byte } of edits) bytes[at] = byte
        await writeFile(path, bytes)
        const result = await readAllOf(path).catch((error: unknown) => error)
        if (result instanceof Error)
          expect(result instanceof FileError || result instanceof UnsupportedError).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

/** The header, and every value of its lists. */
async function readAllOf(path: string): Promise<void> {
  const { metadata } = await readGguf(path)
  for (const entry of metadata.values.values()) void entry.value
}

describe('what nobody needs does not stop a file from being read, and is written as it was', () => {
  const copy = async (path: string): Promise<string> => {
    const file = await readGguf(path)
    const target = join(folder, 'copy.gguf')
    const writer = await createGgufWriter(target, file.metadata, [...file.tensors.values()])
    const bytes = await readFile(path)
    for (const { name, offset, bytes: size } of file.tensors.values()) {
      await writer.append(name, bytes.subarray(offset, offset + size))
    }
    await writer.finish()
    return target
  }

  it('strings that are no UTF-8, alone and in lists', async () => {
    const odd = [Buffer.from([0xff, 0xfe]), Buffer.from([0xe2, 0x96]), Buffer.from('ok'), Buffer.from([])]
    const string = (bytes: Buffer): Buffer[] => [int64(bytes.length), bytes]
    const header = [int32(0x46554747), int32(3), int64(0), int64(2)]
    const alone = [...string(Buffer.from('a.b')), int32(8), ...string(odd[0]!)]
    const list = [...string(Buffer.from('a.tokens')), int32(9), int32(8), int64(odd.length), ...odd.flatMap(string)]
    const bytes = Buffer.concat([...header, ...alone, ...list])
    const whole = Buffer.concat([bytes, Buffer.alloc(32 - (bytes.length % 32))])
    const path = join(folder, 'odd.gguf')
    await writeFile(path, whole)
    const { metadata } = await readGguf(path)
    expect(metadata.string('a.b')).toBe('\ufffd\ufffd')
    expect(metadata.strings('a.tokens')).toEqual(['\ufffd\ufffd', '\ufffd', 'ok', ''])
    expect([metadata.length('a.tokens'), metadata.stringAt('a.tokens', 2), metadata.stringAt('a.tokens', 4)]).toEqual([
      4,
      'ok',
      null,
    ])
    expect(await readFile(await copy(path))).toEqual(whole)
  })

  it('whole numbers beyond 2^53, unless they are asked for', async () => {
    const path = await write(
      'big.gguf',
      [
        ['a.seed', { type: 'uint64', value: 2n ** 64n - 1n }],
        ['a.least', { type: 'int64', value: -(2n ** 63n) }],
      ],
      [],
    )
    const { metadata } = await readGguf(path)
    expect(metadata.values.get('a.seed')!.value).toBe(2n ** 64n - 1n)
    expect(() => metadata.count('a.seed')).toThrow(`${path}: metadata key a.seed must be a number below 2^53`)
    expect(await readFile(await copy(path))).toEqual(await readFile(path))
  })

  it('lists of such numbers', async () => {
    const bytes = [int32(0x46554747), int32(3), int64(0), int64(1), int64(1), Buffer.from('a'), int32(9), int32(10)]
    const whole = Buffer.concat([...bytes, int64(2), int64(1), Buffer.alloc(8, 0xff)])
    const path = join(folder, 'biglist.gguf')
    await writeFile(path, Buffer.concat([whole, Buffer.alloc(96 - whole.length)]))
    const { metadata } = await readGguf(path)
    expect(() => metadata.values.get('a')!.value).toThrow('metadata key a holds a number beyond 2^53')
    expect(await readFile(await copy(path))).toEqual(await readFile(path))
  })

  it('tensors of one number, and empty ones', async () => {
    const tensors: GgufTensorDeclaration[] = [
      { name: 'scalar', shape: [], type: 'f32' },
      { name: 'empty', shape: [0], type: 'f32' },
      { name: 'no rows', shape: [32, 0], type: 'q4_0' },
      { name: 'last', shape: [2], type: 'f32' },
    ]
    const path = await write('odd-tensors.gguf', [], tensors)
    const file = await readGguf(path)
    expect([...file.tensors.values()].map(({ name, bytes }) => [name, bytes])).toEqual([
      ['scalar', 4],
      ['empty', 0],
      ['no rows', 0],
      ['last', 8],
    ])
    expect(await readFile(await copy(path))).toEqual(await readFile(path))
  })

  it('a part of a list is a list of its own', async () => {
    const path = await write('lists.gguf')
    const entry = (await readGguf(path)).metadata.values.get('a.numbers')!
    const part = { ...entry, value: [-2] } as GgufValue
    await write('part.gguf', [['a.numbers', part]], [])
    const { metadata } = await readGguf(join(folder, 'part.gguf'))
    expect(metadata.values.get('a.numbers')).toEqual({ type: 'array', of: 'int32', value: [-2] })
  })

  it('reads a header of megabytes without holding up the rest of the process', async () => {
    const value = Array.from({ length: 600_000 }, (_, i) => `${i} merge`)
    const path = await write('merges.gguf', [['a.merges', { type: 'array', of: 'string', value }]], [])
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await readGguf(path)
    clearInterval(timer)
    expect(turns).toBeGreaterThan(0)
  })
})

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function int64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

describe('writing refuses', () => {
  const refused = async (metadata: [string, GgufValue][], tensors: GgufTensorDeclaration[], reason: string) => {
    const inner = await mkdtemp(join(folder, 'refused-'))
    const writer = createGgufWriter(join(inner, 'x.gguf'), new GgufMetadata('', metadata), tensors)
    await expect(writer).rejects.toThrow(reason)
    expect(await readdir(inner)).toEqual([])
  }

  it('what the format cannot hold', async () => {
    await refused([['a', { type: 'uint32', value: -1 }]], [], 'no uint32')
    await refused([['a', { type: 'array', of: 'uint8', value: [256] }]], [], 'no uint8')
    await refused([['general.alignment', { type: 'uint32', value: 12 }]], [], 'power of two')
    await refused([], [{ name: 't', shape: [-1], type: 'f32' }], 'no shape')
    await refused([['a', { type: 'uint64', value: 2n ** 64n }]], [], 'no uint64')
    await refused([['a', { type: 'int64', value: 2 ** 53 }]], [], 'no int64')
    await refused([], [{ name: 't', shape: [1, 1, 1, 1, 1], type: 'f32' }], 'no shape')
    await refused([], [{ name: 't', shape: [33], type: 'q4_0' }], 'do not divide')
    await refused([], [{ name: 't'.repeat(64), shape: [1], type: 'f32' }], 'too long')
    const tensor: GgufTensorDeclaration = { name: 't', shape: [1], type: 'f32' }
    await refused([], [tensor, tensor], 'twice')
  })

  it('tensors that are not what was declared', async () => {
    const inner = await mkdtemp(join(folder, 'incomplete-'))
    const open = () =>
      createGgufWriter(join(inner, 'x.gguf'), new GgufMetadata(), [{ name: 't', shape: [2], type: 'f32' }])
    const incomplete = await open()
    await incomplete.append('t', new Uint8Array(4))
    await expect(incomplete.finish()).rejects.toThrow('lacks 4 bytes')
    const writer = await open()
    await expect(writer.append('t', new Uint8Array(9))).rejects.toThrow('more than its shape')
    await expect(writer.append('u', new Uint8Array(1))).rejects.toThrow('not declared')
    await writer.abort()
    expect(await readdir(inner)).toEqual([])
  })
})
