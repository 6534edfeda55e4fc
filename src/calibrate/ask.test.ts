import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { shoal } from '../../test/cli-runner.js'
import { useWorkspace } from '../../test/workspace.js'
import type { Model } from '../engine/api.js'
import { loadModel } from '../engine/load.js'
import { loadTask, type Task } from '../tasks/index.js'
import { type AskOptions, drawnForTraining, planQuestions, traceQuestions } from './ask.js'
import { chooseCheckTokens } from './check-tokens.js'
import { createSplit } from './split.js'

const workspace = useWorkspace()
const ASKING: AskOptions = { shots: 1, draws: 3, seed: 0, positions: 'answer', maxTokens: 1, limit: 6 }

let model: Model
let tasks: Task[]
beforeAll(async () => {
  model = await loadModel('ripple-8m', { thread: false, threads: 1, slots: 1 })
  tasks = [await loadTask('capitalize'), await loadTask('fruit_v_animal_3')]
})
afterAll(() => model.dispose())

it('training questions are asked with every draw of shots, the others once', () => {
  const { questions } = planQuestions(model, tasks, ASKING)
  expect(questions).toHaveLength(2 * 6 * 3)
  const split = createSplit(['train', 'test'] as const, 0)
  const asked = drawnForTraining(questions, split)
  for (const { input, task } of questions) {
    const own = asked.filter((question) => question.input === input && question.task === task)
    expect(own.map(({ draw }) => draw)).toEqual(split([input])[0] === 'train' ? [0, 1, 2] : [0])
  }
})

it('check tokens are those of all tasks', async () => {
  const { questions } = planQuestions(model, tasks, ASKING)
  const tokens = await chooseCheckTokens(model, questions, ASKING, 64)
  for (const { prompt } of questions) expect(tokens).toContain(prompt.golds[0]![0])
})

it('a file of questions is gone on with only where its tasks are the same', async () => {
  const path = join(workspace.folder, 'questions.jsonl')
  const asking = { ...ASKING, draws: 1, limit: 2 }
  const kept: number[] = []
  const trace = async (own: readonly Task[]) => {
    const { questions } = planQuestions(model, own, asking)
    return await traceQuestions(model, own, questions, asking, { path, onKept: (count) => kept.push(count) })
  }
  const first = await trace(tasks)
  expect(await trace(tasks)).toEqual(first)
  expect(kept).toEqual([4])
  const other = tasks.map((task) => ({ ...task, shots: task.shots.slice(1) }))
  await expect(trace(other)).rejects.toThrow(/was begun by a run with contents of tasks "\w+", not "\w+"/)
})

it('--train-first leaves no question on both sides, whatever its shots', async () => {
  const path = join(workspace.folder, 'draws.jsonl')
  const how = ['--task', 'capitalize', '--shots', '1', '--draws', '2', '--limit', '12', '--threads', '1']
  expect(await shoal(['trace', 'ripple-8m', ...how, '-o', path])).toMatchObject({ code: 0 })
  const fit = ['calibrate', '--traces', path, '--policy', 'adainfer-svm', '--target', 'agreement=0.9']
  const { code, stderr } = await shoal([...fit, '--train-first', '12', '-o', join(workspace.folder, 'p.json')])
  expect(code).toBe(2)
  expect(stderr).toMatch(/there are no instances left to calibrate the threshold on/)
})
