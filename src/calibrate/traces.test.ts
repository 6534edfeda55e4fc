import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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
