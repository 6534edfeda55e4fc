import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { labelsOf } from './labels.js'
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
  const write = (name: string, columnData: ColumnSource[], rowGroupSize = 4): string => {
    const path = join(folder, name)
    writeFileSync(path, new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize })))
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
})
