import { afterAll, beforeAll, expect, it } from 'vitest'
import { randomBridge } from '../../test/random-bridge.js'
import type { ExitPolicy, SkipPolicy } from '../depth/policy.js'
import { parseDepth } from '../depth/spec.js'
import { loadModel } from '../engine/load.js'
import { familyByArchitecture } from '../families/index.js'
import { loadTask, questionsOf, type TaskItem } from '../tasks/index.js'
import { answerFlops } from './answer-cost.js'
import { answer } from './answers.js'
import { checkFlops, headFlops, layerFlops, type ModelSize, modelSize } from './cost.js'

let size: ModelSize
let model: Awaited<ReturnType<typeof loadModel>>
beforeAll(async () => {
  model = await loadModel('ripple-8m', { thread: false, threads: 1, slots: 1 })
  const h = model.hyperparameters
  size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
})
afterAll(() => model.dispose())

const depth = (spec: string) => parseDepth(spec, { layers: 16 })
/** All layers of ripple-8m are alike. */
const row = (context: number): number => layerFlops(size, 0, context)

it('a plan runs its layers for generated tokens, and for the prompt only where it says so', () => {
  const head = headFlops(size)
  const plan = 'layers:0,2,4,6,8,10,12,15'
  const full = answerFlops(size, 10, [16, 8, 8], depth(plan))
  expect(full.flops).toBe(16 * 10 * row(5.5) + 8 * (row(11) + row(12)) + 3 * head)
  expect(full.flopsWithChecks).toBe(full.flops)
  expect(full.full).toBe(16 * (10 * row(5.5) + row(11) + row(12)) + 3 * head)
  const everywhere = answerFlops(size, 10, [8, 8], depth(`${plan},prompt=plan`))
  expect(everywhere.flops).toBe(8 * (10 * row(5.5) + row(11)) + 2 * head)
})

it('bridges count for every row that runs the plan', () => {
  const layers = [0, 1, 2, 3, 8, 9, 10, 15]
  const bridges = [
    randomBridge({ from: 3, to: 8 }, { hidden: 192, seed: 1 }),
    randomBridge({ from: 10, to: 15 }, { hidden: 192, seed: 2 }),
  ]
  const plain = depth(`layers:${layers.join()}`) as SkipPolicy
  const added = (prompt: 'full' | 'plan'): number =>
    answerFlops(size, 10, [8, 8, 8], { ...plain, prompt, bridges }).flops -
    answerFlops(size, 10, [8, 8, 8], { ...plain, prompt }).flops
  const both = 2 * bridges.flatMap(({ factors }) => factors).reduce((sum, m) => sum + m.rows * m.columns, 0)
  expect(added('full')).toBe(2 * both)
  expect(added('plan')).toBe(12 * both)
})

it('rows that left run the layers that a later one needs of them', () => {
  const head = headFlops(size)
  const policy = depth('gap:0.8,from=3,every=4')
  const { flops, flopsWithChecks } = answerFlops(size, 10, [4, 16, 8], policy)
  expect(flops).toBe(16 * (10 * row(5.5) + row(11)) + 8 * row(12) + 3 * head)
  // Checks after layers 3, 7 and 11: one, three and two, of which two are heads already.
  expect(flopsWithChecks).toBe(flops + 6 * checkFlops(size) - 2 * head)
})

it('checks cost the maps that they are read through, and a token that a cut-down head stops one more', () => {
  const lens = Array.from({ length: 15 }, (_, from) => randomBridge({ from, to: 16 }, { hidden: 192, seed: from }))
  const raw = depth('gap:0.8,from=3,every=4') as ExitPolicy
  const extra = (policy: ExitPolicy): number =>
    answerFlops(size, 10, [4, 16, 8], { ...policy, lens }).flopsWithChecks -
    answerFlops(size, 10, [4, 16, 8], policy).flopsWithChecks
  const map = 2 * 192 * 192
  expect(extra(raw)).toBe(6 * map)
  expect(extra({ ...raw, checkTokens: [1, 2] })).toBe((6 + 2) * map)
})

it.each(['exit:5', 'gap:0.5', 'layers:0,2,4,6,8,10,12,15'])(
  'counts what the engine computed under %s',
  async (spec) => {
    const { tokens, depths, rowLayers } = await model.generate('Once upon a time', { depth: spec, maxTokens: 12 })
      .result
    expect(depths).toHaveLength(tokens.length)
    const free: ModelSize = {
      ...size,
      hidden: 0,
      layer: size.layer.map((l) => ({ ...l, matrixParameters: 0.5, queryWidth: 0 })),
    }
    // One row, so that the prompt's others do not count.
    expect(answerFlops(free, 1, depths, depth(spec)).flops).toBe(rowLayers)
  },
)

it('an answer knows the rows of every candidate, and of every generated token', async () => {
  const task = await loadTask('choose_first_of_3')
  const options = { maxTokens: 4, stop: '\n' }
  const ask = async (score: 'token' | 'likelihood' | 'generate') => {
    const { questions } = questionsOf(model, task, { shots: 1, seed: 0, score, maxTokens: 4, limit: 1 })
    return {
      prompt: questions[0]!.prompt,
      ...(await answer(model, task, questions[0]!, 'exit:5', { ...options, score })),
    }
  }
  expect((await ask('token')).runs).toEqual([[6]])
  const generated = (await ask('generate')).runs
  expect(generated).toHaveLength(1)
  expect(generated[0]!.length).toBeGreaterThan(1)
  const labelled = await loadTask('fruit_v_animal_3')
  const item: TaskItem = { ...labelled.items[0]!, candidates: [' fig', ' strawberry tart'], answers: [' fig'] }
  const own = { ...labelled, items: [item] }
  const { questions } = questionsOf(model, own, { shots: 0, seed: 0, score: 'likelihood' })
  const { runs, depth: mean } = await answer(model, own, questions[0]!, 'exit:5', { ...options, score: 'likelihood' })
  expect(runs.map((run) => run.length)).toEqual(questions[0]!.prompt.candidates!.map(({ ids }) => ids.length))
  expect(mean).toBe(6)
})
