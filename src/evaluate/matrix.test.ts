import { describe, expect, it } from 'vitest'
import { pooledTraces, type TraceInstance, type TraceSet } from '../calibrate/traces.js'
import { InputError } from '../errors.js'
import { generalisationMatrix, type MatrixOptions, matrixChecks } from './matrix.js'
import type { TracedModel, TracedTask } from './matrix-traces.js'

/** Gap by layer, and from which layer on the argmax is the last one's and the gold answer. */
interface Shape {
  readonly gap: readonly number[]
  readonly from: number
}

/** Right from layer 1 on, with a gap that says so. */
const EARLY: Shape = { gap: [0.1, 0.9, 0.9, 0.9], from: 1 }
/** As sure as EARLY at layer 1, but wrong there. */
const LATE: Shape = { gap: [0.1, 0.9, 0.95, 0.95], from: 2 }
const NEVER: Shape = { gap: [0.1, 0.1, 0.1, 0.9], from: 3 }

function instances(task: string, { gap, from }: Shape, count: number): TraceInstance[] {
  const right = Uint8Array.from(gap, (_, layer) => Number(layer >= from))
  const values = Float64Array.from(gap)
  return Array.from({ length: count }, (_, sequence) => ({
    task,
    sequence,
    question: String(sequence),
    features: { gap: values, top_prob: values },
    agree: right,
    correct: right,
  }))
}

function traceSet(layers: number, own: readonly TraceInstance[]): TraceSet {
  const about = {
    path: '',
    layers,
    unit: 'answer',
    checkTokens: null,
    lens: null,
    model: null,
    prompts: null,
    sequences: 0,
  } as const
  return pooledTraces([{ ...about, instances: own }])
}

function traced(task: string, group: string, shape: Shape, test = shape): TracedTask {
  const set = (of: Shape) => traceSet(of.gap.length, instances(task, of, 12))
  return {
    task,
    group,
    parts: { train: set(shape), test: set(test) },
    skipped: 0,
    beyondWindow: false,
  }
}

const model = (tasks: readonly TracedTask[], name = 'model'): TracedModel => ({
  name,
  layers: tasks[0]!.parts.test.layers,
  vocabulary: 'words',
  fingerprint: null,
  tasks,
})

const OPTIONS: MatrixOptions = {
  fit: { kind: 'adainfer-svm' },
  policy: 'adainfer-svm',
  target: { kind: 'accuracy-loss', value: 0.01 },
  shots: 5,
  seed: 0,
}

/** Every layer of four twice. */
const doubled = ({ gap, from }: Shape): Shape => ({ gap: gap.flatMap((value) => [value, value]), from: from * 2 })

describe('the matrix', () => {
  const tasks = [traced('early', 'a', EARLY), traced('late', 'b', LATE)]

  it('tries a classifier of each task on the test prompts of each', async () => {
    const matrix = await generalisationMatrix([model(tasks)], OPTIONS)
    expect(matrix.train.map(({ name, group, tasks: own }) => [name, group, own])).toEqual([
      ['early', 'a', ['early']],
      ['late', 'b', ['late']],
    ])
    expect(matrix.train[0]).toMatchObject({ trained: 12 })
    expect(matrix.test).toEqual([
      { name: 'early', model: 'model', group: 'a', task: 'early', layers: 4, prompts: 12, accuracy: 1 },
      { name: 'late', model: 'model', group: 'b', task: 'late', layers: 4, prompts: 12, accuracy: 1 },
    ])
    // What early learned leaves late's prompts at layer 1, where they are wrong.
    expect(matrix.depthMean).toEqual([
      [2, 2],
      [4, 3],
    ])
    expect(matrix.accuracy).toEqual([
      [1, 0],
      [1, 1],
    ])
    expect(matrix.agreement).toEqual(matrix.accuracy)
    expect(matrix.accuracyDifference[0]).toEqual([
      { mean: 0, low: 0, high: 0, n: expect.any(Number) },
      { mean: -1, low: -1, high: -1, n: expect.any(Number) },
    ])
    expect(matrix).toMatchObject({ policy: 'adainfer-svm', target: 'accuracy-loss=0.01', shots: 5 })
  })

  it('pools the training parts of a group, and puts groups together', async () => {
    const same = [traced('early', 'a', EARLY), traced('other', 'b', EARLY), traced('late', 'a', LATE)]
    const matrix = await generalisationMatrix([model(same)], OPTIONS)
    expect(matrix.train.map(({ name }) => name)).toEqual(['early', 'late', 'all of a', 'other'])
    expect(matrix.test.map(({ name }) => name)).toEqual(['early', 'late', 'other'])
    expect(matrix.train[2]).toMatchObject({ tasks: ['early', 'late'], trained: 24 })
    const { count, mean_layers, losses } = matrix.train[2]!.splits!
    expect([count, mean_layers.length, losses?.length]).toEqual([20, 3, 3])
    expect(matrix.depthMean[2]).toEqual([4, 3, 4])
  })

  it('learns nothing from test prompts', async () => {
    const [row] = (await generalisationMatrix([model(tasks)], OPTIONS)).train
    const changed = [traced('early', 'a', EARLY, NEVER), traced('late', 'b', LATE)]
    const matrix = await generalisationMatrix([model(changed)], OPTIONS)
    expect(matrix.train[0]).toEqual(row)
    expect(matrix.depthMean[0]).toEqual([4, 2])
  })

  it('leaves a row empty and says why where there is nothing to fit', async () => {
    const matrix = await generalisationMatrix([model([...tasks, traced('never', 'c', NEVER)])], OPTIONS)
    expect(matrix.accuracy[2]).toEqual([Number.NaN, Number.NaN, Number.NaN])
    expect(matrix.train[2]).toMatchObject({ name: 'never', threshold: null, splits: null })
    expect(matrix.notes).toContain('No classifier for never: there is nothing to fit: every sample has label 0.')
    await expect(generalisationMatrix([model([traced('never', 'c', NEVER)])], OPTIONS)).rejects.toThrow(
      /^never: there is nothing to fit/,
    )
  })

  it('says where no threshold meets the target', async () => {
    // As sure as the others of what is wrong, in every second question.
    const misled = traced('misled', 'a', EARLY)
    const wrong = instances('misled', { ...EARLY, from: 3 }, 12)
    const mixed = misled.parts.train.instances.map((instance, i) => (i % 2 === 0 ? instance : wrong[i]!))
    const parts = { ...misled.parts, train: traceSet(4, mixed) }
    const matrix = await generalisationMatrix([model([{ ...misled, parts }, traced('late', 'b', LATE)])], OPTIONS)
    expect(matrix.train[0]!.threshold).toBeNull()
    expect(matrix.depthMean[0]).toEqual([4, 4])
    expect(matrix.notes).toContain(
      'No threshold reaches accuracy-loss=0.01 for misled: these run full depth everywhere.',
    )
  })

  it('ends where it is stopped', async () => {
    const stop = new AbortController()
    const stopped = generalisationMatrix([model(tasks)], {
      ...OPTIONS,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    })
    await expect(stopped).rejects.toThrow(/abort/)
  })
})

describe('two models', () => {
  const one = model([traced('early', 'a', EARLY)], 'one')
  const two = model([traced('early', 'a', doubled(EARLY))], 'two')

  it.each([false, true])('of other numbers of layers share classifiers (per layer: %s)', async (perLayer) => {
    const fit = { ...OPTIONS.fit, perLayer }
    const matrix = await generalisationMatrix([one, two], { ...OPTIONS, fit, notes: ['They are relatives.'] })
    expect(matrix.train.map(({ name }) => name)).toEqual(['early · one', 'early · two'])
    expect(matrix.test).toMatchObject([
      { model: 'one', layers: 4 },
      { model: 'two', layers: 8 },
    ])
    expect(matrix.depthMean[0]![0]).toBe(2)
    expect(matrix.depthMean[1]![1]).toBe(3)
    expect(matrix.accuracy).toEqual([
      [1, 1],
      [1, 1],
    ])
    expect(matrix.notes[0]).toBe('They are relatives.')
    expect(matrix.notes.at(-1)).toMatch(perLayer ? /^one has 4 layers, two has 8 layers: .* nearest/ : /used as it is/)
  })

  it('check their own layers at the same relative depth, or are refused', () => {
    const shapes = (other: number, vocabulary = 'words') =>
      [
        { name: 'one', layers: 16, vocabulary: 'words' },
        { name: 'two', layers: other, vocabulary },
      ] as const
    expect(matrixChecks({ kind: 'adainfer-svm', layers: [7, 11] }, shapes(32))).toEqual([
      [7, 11],
      [15, 23],
    ])
    expect(() => matrixChecks({ kind: 'adainfer-crf', perLayer: true }, shapes(32))).toThrow(InputError)
    expect(() => matrixChecks({ kind: 'adainfer-crf', perLayer: true }, shapes(16))).not.toThrow()
    expect(() => matrixChecks({ kind: 'adainfer-crf', C: 1 }, shapes(16))).toThrow(/C is not an option of adainfer-crf/)
    expect(() => matrixChecks({ kind: 'adainfer-svm', tokens: 4 }, shapes(16))).not.toThrow()
    expect(() => matrixChecks({ kind: 'adainfer-svm', tokens: 4 }, shapes(16, 'others'))).toThrow(
      'tokens=4 tells the tokens of one vocabulary apart, and one and two have different ones',
    )
  })
})
