import { expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { InputError } from '../errors.js'
import type { Model } from './api.js'
import { refuseUnknownOptions } from './known-options.js'
import { loadModel } from './load.js'

const workspace = useWorkspace()

it('refuses an option that a call does not have, and names the nearest', () => {
  const refused = (options: object): void => refuseUnknownOptions('generate', options)
  expect(() => refused({ maxTokns: 3 })).toThrow(InputError)
  expect(() => refused({ maxTokns: 3 })).toThrow(/^generate has no option "maxTokns"; .*; did you mean maxTokens\?$/)
  expect(() => refused({ zzz: 3 })).toThrow(/"zzz"; it has temperature, .*signal$/)
  expect(() => refused({ constructor: 3 })).toThrow(/no option "constructor"/)
  expect(() => refused([3])).toThrow(/no option "0"/)
  expect(() => refuseUnknownOptions('generate', null as never)).toThrow(/must be an object, not null/)
  refused({ maxTokens: undefined, seed: 1 })
})

it('keeps the line short whatever the name is', () => {
  let message = ''
  try {
    refuseUnknownOptions('generate', { [`\u0000${'x'.repeat(1e6)}`]: 1 })
  } catch (error) {
    message = (error as Error).message
  }
  expect(message).toMatch(/^generate has no option/)
  expect(message.length).toBeLessThan(300)
})

it('every call of the library refuses what it would ignore', async () => {
  await expect(loadModel('ripple-8m', { thredas: 1 } as object)).rejects.toThrow(/did you mean threads\?/)
  const model: Model = await workspace.loadRandom(1)
  const given = (options: object): never => options as never
  expect(() => model.generate([1], given({ temprature: 1 }))).toThrow(/did you mean temperature\?/)
  expect(() => model.generate([1], given({ lossless: { draft: 2 } }))).toThrow(/did you mean drafts\?/)
  await expect(model.beamSearch([1], given({ beam: 2 }))).rejects.toThrow(/did you mean beams\?/)
  await expect(model.score([1, 2], given({ promptLength: 1, strid: 2 }))).rejects.toThrow(/did you mean stride\?/)
  await expect(model.predict([1], given({ continuations: [1] }))).rejects.toThrow(/did you mean continuation\?/)
  await expect(model.trace([1], given({ signals: null }))).rejects.toThrow(/did you mean signal\?/)
  await expect(model.policy('full', given({ onMeasures: null }))).rejects.toThrow(/did you mean onMeasure\?/)
  await expect(model.costs(1, given({ anow: true }))).rejects.toThrow(/did you mean anew\?/)
  expect(() => model.planLosses([], given({ promt: 'full' }))).toThrow(/did you mean prompt\?/)
})
