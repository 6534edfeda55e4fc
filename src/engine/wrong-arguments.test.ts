import { describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { InputError } from '../errors.js'
import type { Model } from './api.js'

const workspace = useWorkspace()

describe('what is no prompt or option is refused with an InputError', () => {
  it.each<[string, (model: Model) => unknown]>([
    ['no prompt', (model) => model.generate(null as never)],
    ['a number', (model) => model.generate(5 as never)],
    ['an object', (model) => model.generate({} as never)],
    ['a list of nothing', (model) => model.generate([null] as never)],
    ['no depth', (model) => model.generate([1], { depth: null as never })],
    ['a signal that is none', (model) => model.generate([1], { signal: 5 as never })],
    ['a stop that is no text', (model) => model.generate([1], { stop: [5] as never })],
    ['options that are none', (model) => model.generate([1], 7 as never)],
    ['no ids to trace', (model) => model.trace(null as never)],
    ['no ids to score', (model) => model.score(undefined as never, { promptLength: 1 })],
  ])('%s', async (_, call) => {
    const model = await workspace.loadRandom(1)
    await expect((async () => call(model))()).rejects.toThrow(InputError)
  })

  it('and more threads than processors compute on as many as there are, with a warning', async () => {
    const { folder } = await workspace.random(2)
    const model = await workspace.load(folder, { threads: 64 })
    expect(model.warnings.join()).toMatch(/64 threads on \d+ processors? would wait for each other/)
    expect((await model.generate([1, 2], { maxTokens: 1, ignoreEos: true }).result).tokens).toHaveLength(1)
  })
})
