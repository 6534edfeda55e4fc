import { expect, it } from 'vitest'
import { runPrograms } from './engine-programs.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()

it('200 random calls, many at once, say what each says alone, in a cache for three of them', async () => {
  const alone = await workspace.load('ripple-8m')
  // Nothing has run yet: it has the cells of one slot.
  const slot = (await alone.status()).kv.bytes
  const tested = await workspace.load('ripple-8m', { slots: 8, kvMemory: 3 * slot, prefixCache: 4 })
  const { ties, wrong, tokens, aborted, reused } = await runPrograms(tested, alone, { count: 200, seed: 3, tie: 1e-4 })
  console.log(
    `${tokens} tokens, ${aborted} aborted, ${reused} tokens of prompts reused, ties: ${ties.join('; ') || 'none'}`,
  )
  expect(wrong).toEqual([])
  expect(ties.length).toBeLessThan(3)
  expect(aborted).toBeGreaterThan(5)
  expect(reused).toBeGreaterThan(100)
  expect(await tested.status()).toMatchObject({ running: 0, waiting: 0, kv: { reservedBytes: 0 } })
}, 120_000)
