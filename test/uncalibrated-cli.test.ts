import { beforeAll, expect, it } from 'vitest'
import { announceDepth } from '../src/cli/generation-options.js'
import { shoal } from './cli-runner.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()
let model: string

beforeAll(async () => {
  model = (await workspace.random(9)).folder
})

const NOTE =
  /shoal: note: this exit policy .* was not calibrated for this model: .*; shoal calibrate MODEL --task [^\n]*\n/g

/** How often a command says that its policy was not calibrated. */
async function said(...args: string[]): Promise<number> {
  const { code, stderr } = await shoal([...args, '--threads', '1'])
  expect(code).toBe(0)
  return stderr.match(NOTE)?.length ?? 0
}

it('one line says that a policy was not calibrated for a model, and how to do it', async () => {
  const run = ['run', model, '--tokens', '1,2', '--max-tokens', '2', '--depth']
  expect(await said(...run, 'gap:0.8')).toBe(1)
  expect(await said('score', model, '--tokens', '1,2,3', '--depth', 'entropy:0.3')).toBe(1)
  expect(await said(...run, 'exit:1')).toBe(0)
  expect(await said(...run, 'gap:0.8', '--lossless')).toBe(0)
  expect(await said('run', 'ripple-8m', 'The sea', '--max-tokens', '2', '--depth', 'gap:0.8')).toBe(0)
})

it('a command with several such policies says it once', async () => {
  let stderr = ''
  const cli = { stderr: { write: (text: string) => (stderr += text) }, signal: new AbortController().signal }
  const loaded = await workspace.load(model)
  for (const depth of ['gap:0.8', 'gap:0.9', 'patience:2']) await announceDepth(cli as never, loaded, depth)
  expect(stderr.match(NOTE)).toHaveLength(1)
})
