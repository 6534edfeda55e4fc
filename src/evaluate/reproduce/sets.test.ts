import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { loadSets, shares } from './sets.js'

const DATA = fileURLToPath(new URL('../../../test/fixtures/tasks', import.meta.url))

it('shares out no more than there is, evenly', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 8 }), fc.nat(60), (sizes, limit) => {
      const counts = shares(sizes, limit)
      expect(counts.reduce((a, b) => a + b, 0)).toBe(
        Math.min(
          limit,
          sizes.reduce((a, b) => a + b, 0),
        ),
      )
      const most = Math.max(0, ...counts)
      for (const [i, count] of counts.entries()) expect(count).toBeGreaterThanOrEqual(Math.min(sizes[i]!, most - 1))
    }),
  )
})

it('takes questions from the whole of a task, once each, and the same ones again', async () => {
  const { sets } = await loadSets(['mmlu', 'rules'], { data: DATA, limit: 4 })
  const all = await loadSets(['mmlu', 'rules'], { data: DATA })
  for (const [s, set] of sets.entries()) {
    const items = set.tasks.flatMap((task) => task.items)
    expect(items).toHaveLength(4)
    expect(new Set(items).size).toBe(4)
    expect(set.tasks[0]!.shots).toEqual(all.sets[s]!.tasks[0]!.shots)
  }
  expect(new Set(sets[0]!.tasks[0]!.items.map(({ subject }) => subject)).size).toBe(2)
  expect(await loadSets(['mmlu', 'rules'], { data: DATA, limit: 4 })).toEqual({
    sets,
    missing: [expect.any(String)],
  })
})

it('leaves out what there is no data of, and knows names from nonsense', async () => {
  const { sets, missing } = await loadSets(['squad', 'ag_news', 'english-french'], { data: DATA })
  expect(sets.map(({ name }) => name)).toEqual(['squad', 'ag_news'])
  expect(missing).toEqual([expect.stringMatching(/^english-french is left out: no data; .*--data/)])
  await expect(loadSets(['nonsense'])).rejects.toThrow(/unknown task nonsense/)
})
