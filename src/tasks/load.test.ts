import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { FileError, InputError } from '../errors.js'
import { TASKS, taskDefinition } from './definitions.js'
import { loadTask } from './load.js'

const data = 'test/fixtures/tasks'
const PUBLISHED = '../shared/data'

describe('a task', () => {
  it('comes with the package', async () => {
    for (const [name, items, shots] of [
      ['fruit_v_animal_3', 200, 800],
      ['capitalize', 162, 651],
      ['choose_first_of_3', 200, 800],
    ] as const) {
      const task = await loadTask(name, { data: '' })
      expect([task.items.length, task.shots.length]).toEqual([items, shots])
      expect(task.group).toBe('rule understanding')
      const inputs = new Set(task.items.map((item) => item.input))
      expect(task.shots.some((shot) => inputs.has(shot.input))).toBe(false)
    }
  })

  it('comes from a data folder: a split first, then published files, then the bundled ones', async () => {
    const plural = await loadTask('singular-plural', { data })
    expect([plural.items.length, plural.shots.length]).toEqual([3, 6])
    expect(plural.sources.items[0]).toMatch(/tasks.test.singular-plural\.json$/)
    const antonym = await loadTask('antonym', { data })
    expect(antonym.shots).toBe(antonym.items)
    expect(antonym.kind).toBe('abstractive')
    const sst2 = await loadTask('sst2', { data })
    expect([sst2.items.length, sst2.shots.length]).toEqual([3, 4])
    expect(sst2.labels).toEqual(['negative', 'positive'])
    expect((await loadTask('squad', { data })).items).toHaveLength(2)
    expect((await loadTask('capitalize', { data })).sources.items[0]).toMatch(/pretrained/)
  })

  it('is all of MMLU or one subject', async () => {
    const all = await loadTask('mmlu', { data })
    expect(all.items.map((item) => item.subject)).toEqual([
      ...Array(3).fill('college_physics'),
      ...Array(2).fill('global_facts'),
    ])
    const one = await loadTask('mmlu:global_facts', { data })
    expect([one.name, one.items.length, one.shots.length]).toEqual(['mmlu:global_facts', 2, 3])
    await expect(loadTask('mmlu:astrology', { data })).rejects.toThrow(
      'mmlu:astrology: test/fixtures/tasks has no files of it',
    )
  })

  it("is a user's own file", async () => {
    const task = await loadTask(`${data}/own.jsonl`)
    expect(task).toMatchObject({ name: 'own', group: 'own' })
    expect(task.items).toHaveLength(3)
    await expect(loadTask('missing.jsonl')).rejects.toThrow(FileError)
  })

  it('is refused by name where there is none, or no data', async () => {
    await expect(loadTask('fruit')).rejects.toThrow(
      /^unknown task fruit; the nearest names are (\S+, ){4}\S+; shoal eval tasks shows all, and [^;]*$/,
    )
    await expect(loadTask('sst2:x')).rejects.toThrow(InputError)
    await expect(loadTask('wmt')).rejects.toThrow(InputError)
    await expect(loadTask('squad', { data: '' })).rejects.toThrow(
      'task squad: it is not bundled: give a folder of data files',
    )
    await expect(loadTask('squad', { data: `${data}/nowhere` })).rejects.toThrow(
      'test/fixtures/tasks/nowhere: no such data folder',
    )
  })
})

describe('the list of tasks', () => {
  it('has the groups of the paper and each name once', () => {
    expect(new Set(TASKS.map((task) => task.name)).size).toBe(TASKS.length)
    expect(taskDefinition('fruit_v_animal_5').kind).toBe('extractive')
    expect(new Set(TASKS.map((task) => task.group))).toEqual(
      new Set(['question answering', 'text classification', 'rule understanding']),
    )
  })

  it.skipIf(!existsSync(PUBLISHED))('reads every published file', async () => {
    const names = readdirSync(`${PUBLISHED}/function_vectors`).map((file) => file.replace(/\.json$/, ''))
    const lists = TASKS.filter((task) => task.format === 'list').map((task) => task.name)
    expect(lists.toSorted()).toEqual(names.toSorted())
    for (const name of names) {
      const whole = await loadTask(name, { data: `${PUBLISHED}/function_vectors` })
      const split = await loadTask(name, { data: PUBLISHED })
      expect(whole.items.length).toBeGreaterThan(split.items.length)
      expect(split.sources.shots[0]).toMatch(/ripple-8m.train/)
    }
    expect((await loadTask('mmlu', { data: PUBLISHED })).items).toHaveLength(14042)
    expect((await loadTask('squad', { data: PUBLISHED })).items).toHaveLength(9)
    expect((await loadTask('sst2', { data: PUBLISHED })).items).toHaveLength(1821)
  })
})
