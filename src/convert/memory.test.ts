import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

it('converts a model of 357 MB (f32) in a fraction of that memory', async () => {
  const shape = ['--layers', '8', '--hidden', '512', '--heads', '8', '--feed-forward', '1408', '--vocabulary', '64000']
  const script = ['--import', './test/typescript-loader.mjs', 'bench/convert-memory.ts']
  const { stdout } = await promisify(execFile)(process.execPath, [...script, ...shape])
  const result = JSON.parse(stdout) as { ok: boolean; growth_mb: number; parameters: number }
  expect(result).toMatchObject({ ok: true, parameters: 89_137_664 })
  // Blocks of 2 Mi values, their permuted copy and their bytes are 18 MB; the rest is for the garbage collector.
  expect(result.growth_mb).toBeLessThan(128)
})
