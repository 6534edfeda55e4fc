import { expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import { bundledModels } from '../../convert/package.js'
import type { ExitPolicy } from '../../depth/policy.js'
import { triedOn } from '../../depth/raw-lens.js'
import type { Model } from '../api.js'

const workspace = useWorkspace()
const SPECS = ['gap:0.8', 'entropy:0.3', 'patience:2', 'calm:0.9']

async function notes(model: Model, depth: string): Promise<readonly string[]> {
  return ((await model.policy(depth)) as ExitPolicy).generationNotes ?? []
}

it('a policy without calibration says so on a model that it was not tried on', async () => {
  const model = await workspace.loadRandom(5)
  for (const depth of SPECS) {
    expect(await notes(model, depth)).toEqual([expect.stringMatching(/not calibrated for this model.*shoal calibrate/)])
  }
  expect(await notes(model, 'exit:1')).toEqual([])
})

it('and says nothing on the bundled models', async () => {
  for (const name of bundledModels()) {
    const model = await workspace.load(name)
    expect(triedOn(model.fingerprint)).toBe(true)
    for (const depth of SPECS) expect(await notes(model, depth)).toEqual([])
  }
})
