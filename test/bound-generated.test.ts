import { expect, it } from 'vitest'
import { planQuestions, traceQuestions } from '../src/calibrate/ask.js'
import { type BoundRequest, thresholdCandidates } from '../src/calibrate/bound.js'
import { fitPolicy } from '../src/calibrate/fit.js'
import { selectTraces } from '../src/calibrate/traces.js'
import { loadModel } from '../src/engine/load.js'
import { loadTask } from '../src/tasks/index.js'
import { boundTrials } from './bound-trials.js'

const REQUESTS: readonly BoundRequest[] = [
  { maxDisagreement: 0.02, confidence: 0.95, measure: 'any' },
  { maxDisagreement: 0.1, confidence: 0.95, measure: 'any' },
  { maxDisagreement: 0.05, confidence: 0.95, measure: 'mean' },
]

it('a bound on sequences that ripple-8m generates holds for 2,000 calibration sets', async () => {
  const model = await loadModel('ripple-8m', { thread: false, threads: 1, slots: 1 })
  const asking = { shots: 0, seed: 0, positions: 'generated', maxTokens: 3, limit: 70 } as const
  const tasks = await Promise.all(['capitalize', 'fruit_v_animal_3', 'choose_first_of_3'].map((name) => loadTask(name)))
  const { questions } = planQuestions(model, tasks, asking)
  const traces = await traceQuestions(model, tasks, questions, asking)
  await model.dispose()
  const train = selectTraces(traces, (i) => i % 3 === 0)
  const population = selectTraces(traces, (i) => i % 3 !== 0)
  const policy = fitPolicy(train, { kind: 'adainfer-svm' })
  const candidates = thresholdCandidates(policy, train)
  for (const request of REQUESTS) {
    const trials = boundTrials(policy, candidates, population, request, { sets: 2000, size: 149, seed: 1 })
    // There is something to violate, and it is not met by never exiting.
    expect(Math.max(...trials.truth)).toBeGreaterThan(0.5)
    expect(trials.meanLayers).toBeLessThan(15)
    expect(trials.violations / 2000).toBeLessThanOrEqual(0.058)
  }
})
