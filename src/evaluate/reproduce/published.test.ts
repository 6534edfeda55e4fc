import { expect, it } from 'vitest'
import { CLAIMS, PUBLISHED } from './published.js'
import { PAPER_SETS } from './sets.js'

it('has the figures as they are published, with their sources', () => {
  const of = (model: string, task: string) => PUBLISHED.filter((f) => f.model === model && f.task === task)
  expect(of('Llama-2-7B', 'mmlu')).toMatchObject([
    { rule: 'full', accuracy: 0.453, source: 'reported by SpecEE and FlexEE' },
    { rule: 'adainfer', accuracy: 0.4373, depthMean: 28.91, layers: 32, flopsRatio: 0.9 },
  ])
  expect(of('Llama-2-13B', 'commonsense_qa')).toMatchObject([
    { accuracy: 0.6757 },
    { accuracy: 0.6248, depthMean: 34.6, layers: 40, flopsRatio: 0.87 },
  ])
  expect(of('Llama-2-7B', 'sst2')).toMatchObject([
    { accuracy: null, source: null },
    { accuracy: null, accuracyDifference: 0.001, flopsRatio: 0.64, source: 'reported by FlexEE' },
  ])
  expect(CLAIMS.filter(({ what }) => what === 'compute saved, average').map(({ figure }) => figure)).toEqual([
    '14.8%',
    '17.8%',
  ])
})

it('has a place for every task and names a source where anything is known', () => {
  for (const model of new Set(PUBLISHED.map((f) => f.model))) {
    const tasks = PUBLISHED.filter((f) => f.model === model).map(({ task }) => task)
    expect([...new Set(tasks)].sort()).toEqual([...PAPER_SETS].sort())
  }
  for (const { accuracy, accuracyDifference, depthMean, flopsRatio, source } of PUBLISHED) {
    expect([accuracy, accuracyDifference, depthMean, flopsRatio].some((v) => v !== null)).toBe(source !== null)
  }
})
