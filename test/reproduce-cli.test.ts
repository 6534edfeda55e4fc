import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReproducedCell } from '../src/evaluate/reproduce/adainfer.js'
import { type Ended, shoal } from './cli-runner.js'
import { matches } from './schema.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-reproduce-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

const at = (name: string): string => join(folder, name)

/** Twenty-four questions of the bundled rule tasks. */
function reproduce(work: string, more: readonly string[] = [], overrides: Parameters<typeof shoal>[1] = {}) {
  const args = ['--limit', '24', '--shots', '0,2', '--task', 'rules', '--threads', '1', '--work', at(work)]
  return shoal(['reproduce', 'adainfer', ...args, ...more], overrides)
}

function cellsOf({ stdout }: Ended): ReproducedCell[] {
  return matches('reproduce', stdout).cells as ReproducedCell[]
}

describe('shoal reproduce', () => {
  it('lists what can be reproduced', async () => {
    expect(await shoal(['reproduce'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^adainfer /) })
    const { stdout } = await shoal(['reproduce', '--json'])
    expect(matches('reproduce-list', stdout)).toMatchObject({ names: [{ name: 'adainfer' }] })
  })

  it('refuses what it does not know, in one line', async () => {
    const unknown = await shoal(['reproduce', 'calm'])
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringMatching(/^shoal: nothing is known of calm.*\n$/) })
    const task = await reproduce('none', ['--task', 'nonsense'])
    expect(task).toMatchObject({ code: 2, stderr: expect.stringMatching(/^shoal: unknown task nonsense/) })
    expect(existsSync(at('none'))).toBe(false)
  })
})

describe('shoal reproduce adainfer', () => {
  it('gives every rule at every number of shots, and the same again from the traces that it kept', async () => {
    const ended = await reproduce('a', ['--json'])
    expect(ended.code).toBe(0)
    expect(ended.stderr).toMatch(/^shoal: rules is 3 of 53 tasks[^\n]*\n$/)
    const cells = cellsOf(ended)
    expect(cells.map(({ shots, rule }) => `${shots} ${rule}`)).toEqual(
      [0, 2].flatMap((shots) =>
        ['full', 'gap:0.8', 'paper-svm', 'paper-crf', 'adainfer-svm', 'adainfer-crf'].map((rule) => `${shots} ${rule}`),
      ),
    )
    for (const { rule, result } of cells) {
      if (rule === 'full' || rule === 'gap:0.8') expect(result).toMatchObject({ prompts: 12, skipped: 0 })
      if (rule === 'full') expect(result).toMatchObject({ depth_mean: { mean: 16 }, flops_ratio: 1 })
    }
    expect(readdirSync(at('a'))).toHaveLength(2)
    const again = await reproduce('a', ['--json'], {
      loadModel: async (name, options) => {
        const { loadModel } = await import('../src/engine/load.js')
        const model = await loadModel(name, options)
        model.predict = () => Promise.reject(new Error('nothing must run'))
        return model
      },
    })
    expect(cellsOf(again)).toEqual(cells)
  })

  it('goes on where it was stopped', async () => {
    const stop = new AbortController()
    let lines = 0
    const stopped = await reproduce('b', ['--json'], {
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write(text) {
          if (/ripple-8m: \d+ of 72/.test(text) && ++lines === 4) stop.abort()
          return true
        },
      },
    })
    expect(stopped).toMatchObject({ code: 130, stdout: '' })
    expect(readdirSync(at('b'))).toHaveLength(1)
    const ended = await reproduce('b', ['--json'])
    expect(ended.code).toBe(0)
    expect(readdirSync(at('b'))).toHaveLength(2)
    expect(cellsOf(ended)).toEqual(cellsOf(await reproduce('a', ['--json'])))
  })

  it('names the tasks that it has no data of, and writes a page', async () => {
    const ended = await reproduce('a', ['--task', 'sst2', '--out', at('page.md')])
    expect(ended.code).toBe(0)
    expect(ended.stderr).toMatch(/^shoal: sst2 is left out: no data; [^\n]*--data[^\n]*\n/m)
    expect(ended.stdout).toMatch(/^rules +0 +ripple-8m +gap:0\.8 +12 /m)
    const page = readFileSync(at('page.md'), 'utf8')
    expect(page).toMatch(/^\| rules \| 2 \| ripple-8m \| adainfer-svm \|/m)
    expect(page).toContain('- sst2 is left out')
    expect(page).toContain('| compute saved, average | 14.8% |')
  })
})
