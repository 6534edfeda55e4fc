import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'

const workspace = useWorkspace()
const PROMPT = [1, 5, 9, 30, 31]

/** The processes that this one has started and that run a model. */
function runners(): number[] {
  const listed = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
  return listed
    .split('\n')
    .filter((line) => line.includes('remote/process.'))
    .map((line) => Number.parseInt(line, 10))
}

it.skipIf(process.platform === 'win32')(
  'a process that is killed fails what runs in it, and the next call starts another',
  async () => {
    const here = await workspace.loadRandom(411, { layers: 4 })
    const there = await workspace.load(here.path, { process: true })
    const asked = { maxTokens: 6, ignoreEos: true }
    const expected = (await here.generate(PROMPT, asked).result).tokens
    const losses = there.planLosses([{ ids: PROMPT, promptLength: 2 }])
    const before = await losses.of([0, 1, 2])
    for (let round = 0; round < 3; round++) {
      const running = Array.from({ length: 3 }, () => there.generate(PROMPT, { maxTokens: 4000, ignoreEos: true }))
      for await (const _ of running[0]!) {
        for (const pid of runners()) process.kill(pid, 'SIGKILL')
        break
      }
      for (const { result } of running.slice(1)) {
        await expect(result).rejects.toMatchObject({ code: 'runner_lost', message: expect.stringMatching(/SIGKILL/) })
      }
      expect((await there.generate(PROMPT, asked).result).tokens).toEqual(expected)
      expect(runners()).toHaveLength(1)
    }
    expect(await losses.of([0, 1, 2])).toEqual(before)
    await there.dispose()
    expect(runners()).toEqual([])
    await expect(there.status()).rejects.toMatchObject({ code: 'disposed' })
  },
  // Every round starts a process.
  180_000,
)
