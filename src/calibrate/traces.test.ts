import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import type { ColumnMetaData } from 'hyparquet'
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError } from '../errors.js'
import { labelsOf } from './labels.js'
import { checkedDecompressor } from './parquet-pages.js'
import { featureOf, parseTraces, readTraces, selectTraces, sliceTraces, taskNames } from './traces.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-traces-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const instance = (more: object = {}): object => ({
  task: 't',
  gap: [0.1, 0.2, 0.3],
  top: [0.4, 0.5, 0.6],
  agree: [0, 1, 1],
  ...more,
})
const parse = (...instances: object[]): ReturnType<typeof parseTraces> =>
  parseTraces('t.json', JSON.stringify({ layers: 3, instances }))

describe('JSON traces', () => {
  it('are read with their features and labels', () => {
    const traces = parse(instance(), instance({ task: 'a', entropy: [1, 2, 3] }))
    expect(traces).toMatchObject({ layers: 3, unit: 'answer', sequences: 2 })
    expect(taskNames(traces)).toEqual(['a', 't'])
    expect([...featureOf(traces, traces.instances[0]!, 'top_prob')]).toEqual([0.4, 0.5, 0.6])
    expect([...featureOf(traces, traces.instances[1]!, 'entropy')]).toEqual([1, 2, 3])
    expect(() => featureOf(traces, traces.instances[0]!, 'entropy')).toThrow(
      't.json: the traces lack the feature entropy',
    )
    expect(traces.instances[0]!.correct).toBeNull()
  })

  it('take agreement and correctness from ids where they are given', () => {
    const { instances } = parse(instance({ agree: undefined, top1: [7, 8, 9], gold: 8 }))
    expect([...instances[0]!.agree]).toEqual([0, 0, 1])
    expect([...instances[0]!.correct!]).toEqual([0, 1, 0])
  })

  it('group tokens of one sequence', () => {
    const traces = parse(instance({ sequence: 4 }), instance({ sequence: 4 }), instance({ sequence: 2 }))
    expect(traces).toMatchObject({ unit: 'generated', sequences: 2 })
    expect(sliceTraces(traces, 1)).toMatchObject({ sequences: 1, instances: [{ sequence: 1 }] })
    expect(selectTraces(traces, (s) => s === 0).instances).toHaveLength(2)
    expect(() => parse(instance({ sequence: 4 }), instance(), instance({ sequence: 4 }))).toThrow(/next to the others/)
  })

  it.each([
    [instance({ gap: [1, 2] }), /^t\.json: field instances\[0\]\.gap must be a list of 3/],
    [instance({ top: [1, 2, 'x'] }), /instances\[0\]\.top\[2\] must be a number/],
    [instance({ agree: [0, 2, 1] }), /instances\[0\]\.agree\[1\] must be a whole number from 0 to 1/],
    [instance({ agree: [0, 1, 0] }), /instances\[0\]\.agree must be 1 at the last layer/],
    [instance({ agree: undefined }), /instances\[0\]\.agree is missing/],
    [instance({ colour: 1 }), /unknown field instances\[0\]\.colour/],
  ])('that lie are refused: %j', (bad, message) => {
    expect(() => parse(bad)).toThrow(message)
  })

  it('without instances, and files that are none, are refused', async () => {
    expect(() => parse()).toThrow('field instances must be a list of at least 1')
    expect(() => parseTraces('t.json', '{')).toThrow('t.json: the traces file is not valid JSON')
    await expect(readTraces(join(folder, 'none.json'))).rejects.toThrow('none.json: no such file')
  })
})

describe('labels', () => {
  const { instances } = parseTraces(
    't.json',
    JSON.stringify({
      layers: 6,
      instances: [
        { gap: Array(6).fill(0), top: Array(6).fill(0), agree: [0, 1, 0, 1, 1, 1], correct: [1, 0, 0, 1, 1, 1] },
        { gap: Array(6).fill(0), top: Array(6).fill(0), agree: [1, 1, 1, 1, 1, 1] },
        { gap: Array(6).fill(0), top: Array(6).fill(0), agree: [0, 0, 0, 0, 0, 1] },
      ],
    }),
  )
  it.each([
    ['agreement', ['010111', '111111', '000001']],
    ['stable', ['000111', '111111', '000001']],
    ['first-match', ['011111', '111111', '000001']],
  ] as const)('%s', (label, wanted) => {
    expect(instances.map((i) => labelsOf(label, i).join(''))).toEqual(wanted)
  })
  it('correctness, where the answer is known', () => {
    expect(labelsOf('correctness', instances[0]!).join('')).toBe('100111')
    expect(() => labelsOf('correctness', instances[1]!)).toThrow(/needs traces with the gold answer/)
  })
})

describe('Parquet traces', () => {
  // Two instances of one position and one of two, three layers each.
  const positions = [
    { instance: 3, position: 10, task: 'a', gold: 5, top1: [4, 5, 5] },
    { instance: 8, position: 12, task: 'b', gold: null, top1: [1, 2, 1] },
    { instance: 8, position: 13, task: 'b', gold: null, top1: [9, 9, 9] },
  ]
  const rows = positions.flatMap(({ top1, ...rest }) => top1.map((id, layer) => ({ ...rest, layer, top1: id })))
  type Row = (typeof rows)[number]
  const column = (name: string, type: 'INT32' | 'STRING' | 'FLOAT', value: (row: Row) => unknown): ColumnSource => ({
    name,
    data: rows.map(value),
    type,
    nullable: true,
  })
  const columns = (): ColumnSource[] => [
    column('instance', 'INT32', (r) => r.instance),
    column('task', 'STRING', (r) => r.task),
    column('position', 'INT32', (r) => r.position),
    column('layer', 'INT32', (r) => r.layer),
    column('gap', 'FLOAT', (r) => r.layer / 4),
    column('top_prob', 'FLOAT', (r) => r.layer / 2),
    column('top1', 'INT32', (r) => r.top1),
    column('top2', 'INT32', () => 0),
    column('cos_hidden', 'FLOAT', (r) => (r.layer === 0 ? Number.NaN : 0.5)),
    column('gold', 'INT32', (r) => r.gold),
  ]
  type Codec = 'UNCOMPRESSED' | 'SNAPPY'
  const write = (name: string, columnData: ColumnSource[], rowGroupSize = 4, codec: Codec = 'SNAPPY'): string => {
    const path = join(folder, name)
    writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize, codec })))
    return path
  }

  it('are read as JSON traces are, across row groups', async () => {
    const traces = await readTraces(write('good.parquet', columns()))
    expect(traces).toMatchObject({ layers: 3, unit: 'generated', sequences: 2 })
    expect(traces.instances.map(({ task, sequence }) => [task, sequence])).toEqual([
      ['a', 0],
      ['b', 1],
      ['b', 1],
    ])
    expect(traces.instances.map(({ agree }) => agree.join(''))).toEqual(['011', '101', '111'])
    expect(traces.instances.map(({ correct }) => correct?.join('') ?? null)).toEqual(['011', null, null])
    expect([...featureOf(traces, traces.instances[0]!, 'gap')]).toEqual([0, 0.25, 0.5])
    expect([...featureOf(traces, traces.instances[2]!, 'cos_hidden')]).toEqual([0, 0.5, 0.5])
  })

  it('that are damaged are refused in one line', async () => {
    const without = write(
      'without.parquet',
      columns().filter(({ name }) => name !== 'gap'),
    )
    await expect(readTraces(without)).rejects.toThrow('without.parquet: the traces file lacks the column gap')
    const order = columns().map((c) => (c.name === 'layer' ? { ...c, data: rows.map((r) => 2 - r.layer) } : c))
    await expect(readTraces(write('order.parquet', order))).rejects.toThrow(
      /order\.parquet: .*do not begin with layer 0/,
    )
    const path = join(folder, 'broken.parquet')
    writeFileSync(path, 'PAR1 and nothing else PAR1')
    await expect(readTraces(path)).rejects.toThrow(/^[^\n]*broken\.parquet: is not a Parquet file[^\n]*$/)
    await expect(readTraces(join(folder, 'none.parquet'))).rejects.toThrow('none.parquet: no such file')
  })

  it.each(['UNCOMPRESSED', 'SNAPPY'] as const)('(%s) with any damage are read or refused', async (codec) => {
    const original = readFileSync(write('original.parquet', columns(), 6, codec))
    const path = join(folder, 'mutated.parquet')
    const edit = fc.record({ at: fc.nat(original.length - 1), byte: fc.oneof(fc.nat(255), fc.constant(0xff)) })
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        const bytes = Buffer.from(original)
        for (const { at, byte } of edits) bytes[at] = byte
        writeFileSync(path, bytes)
        const result = await readTraces(path).catch((error: unknown) => error)
        if (result instanceof Error) expect(result).toBeInstanceOf(FileError)
      }),
      { numRuns: 400 },
    )
  })

  it('that claim more than they hold are refused before room is made for it', async () => {
    const original = readFileSync(write('claims.parquet', columns(), 9, 'UNCOMPRESSED'))
    const footer = original.length - 8 - original.readUInt32LE(original.length - 8)
    const claim = async (bytes: Buffer): Promise<string> => {
      const path = join(folder, 'claim.parquet')
      writeFileSync(path, bytes)
      return readTraces(path).then(
        () => 'read',
        (error: Error) => error.message.replace(/^.*claim\.parquet: /, ''),
      )
    }
    // A footer that is a list of 2^31 lists; one of four million empty structs; rows that no byte stands for.
    const [begin, end] = [original.subarray(0, footer), Buffer.from('    PAR1')]
    const withFooter = (bytes: Buffer): Buffer => {
      end.writeUInt32LE(bytes.length)
      return Buffer.concat([begin, bytes, end])
    }
    expect(await claim(withFooter(Buffer.from([0x29, 0xf9, 0xff, 0xff, 0xff, 0xff, 0x07, 0x00])))).toContain(
      'longer than the header',
    )
    expect(await claim(withFooter(Buffer.alloc(4_000_000)))).toContain('footer would take 4000000 bytes')
    const rows = original.lastIndexOf(Buffer.from([0x16, 0x12]))
    const many = Buffer.concat([
      original.subarray(0, rows),
      Buffer.from([0x16, 0xfe, 0xff, 0xff, 0xff, 0x0f]),
      original.subarray(rows + 2),
    ])
    many.writeUInt32LE(many.readUInt32LE(many.length - 8) + 4, many.length - 8)
    expect(await claim(many)).toMatch(/row group of 2147483647 rows/)
  })

  it('with pages that claim more than they hold are refused by the page', () => {
    const meta = { codec: 'UNCOMPRESSED', type: 'INT32' } as ColumnMetaData
    // Page header: kind, both sizes, {values, encoding, level encodings}; all zigzag.
    const page = (size: number, values: number, encoding: number, body: number[]): Uint8Array => {
      const zigzag = (n: number): number[] => {
        const bytes: number[] = []
        for (let rest = 2 * n; ; rest = Math.floor(rest / 128)) {
          bytes.push(rest < 128 ? rest : (rest % 128) | 0x80)
          if (rest < 128) return bytes
        }
      }
      const inner = [0x15, ...zigzag(values), 0x15, ...zigzag(encoding), 0x15, 6, 0x15, 6, 0]
      return Uint8Array.from([0x15, 0, 0x15, ...zigzag(size), 0x15, ...zigzag(body.length), 0x2c, ...inner, 0, ...body])
    }
    const read = (bytes: Uint8Array, rows: number, body: number[]): unknown =>
      checkedDecompressor(bytes, meta, rows, false)(Uint8Array.from(body), body.length)
    const runs = [1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1]
    const short = [1, 16, 1]
    expect(read(page(3, 8, 8, short), 8, short)).toEqual(Uint8Array.from(short))
    expect(() => read(page(runs.length, 8, 8, runs), 8, runs)).toThrow('a run of more values than its page')
    expect(() => read(page(2 ** 31, 8, 0, []), 8, [])).toThrow('a page of more bytes')
    expect(() => read(page(4, 2 ** 31, 0, [1, 2, 3, 4]), 8, [])).toThrow('more values than its row group has rows')
    expect(() => read(page(4, 1, 7, [1, 2, 3, 4]), 1, [])).toThrow('it has the encoding 7')
    expect(() => read(page(4, 1, 0, [1, 2, 3, 4]), 2, [])).toThrow('1 values and its row group 2 rows')
  })
})
