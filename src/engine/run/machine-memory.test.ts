import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import { MachineMemory } from './machine-memory.js'

const workspace = useWorkspace()

it('keeps what another process has learned meanwhile', async () => {
  const folder = join(workspace.folder, 'learned')
  const several = await Promise.all(Array.from({ length: 8 }, () => MachineMemory.open(folder)))
  await Promise.all(several.map((memory, i) => memory.add({ [`key ${i}`]: i })))
  const kept: unknown = JSON.parse(await readFile(join(folder, 'machine.json'), 'utf8'))
  expect(kept).toEqual(Object.fromEntries(several.map((_, i) => [`key ${i}`, i])))
})
