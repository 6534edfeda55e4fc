import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { changedConfigs, changedMetadata } from './hostile/changed-fields.js'
import { type Case, hostileCases } from './hostile/files.js'

const MEGABYTE = 1024 * 1024

interface Outcome {
  readonly code: number
  readonly stderr: string
  /** Class of the error. */
  readonly error: string | null
  readonly ms: number
  readonly megabytes: number
}

/** Outcomes by name, and the case that never came back. */
interface Ran {
  readonly outcomes: ReadonlyMap<string, Outcome>
  readonly unfinished: string | null
}

async function runInChild(folder: string, cases: readonly { name: string; args: readonly string[] }[]): Promise<Ran> {
  const list = join(folder, 'cases.json')
  writeFileSync(list, JSON.stringify(cases.map(({ name, args }) => ({ name, args }))))
  const child = spawn(process.execPath, ['--import', './test/typescript-loader.mjs', 'test/hostile/child.ts', list], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, SHOAL_CACHE: join(folder, 'cache') },
    timeout: 150_000,
  })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  await new Promise((resolve) => child.on('close', resolve))
  const outcomes = new Map<string, Outcome>()
  let unfinished: string | null = null
  for (const line of out.split('\n').filter((text) => text !== '')) {
    const { name, ...outcome } = JSON.parse(line) as { name: string } & Partial<Outcome>
    unfinished = outcome.code === undefined ? name : null
    if (outcome.code !== undefined) outcomes.set(name, outcome as Outcome)
  }
  return { outcomes, unfinished }
}

const OWN_ERRORS: readonly (string | null)[] = [
  'FileError',
  'UnsupportedError',
  'InputError',
  'SpecError',
  'ShoalError',
]

/** One line that can be printed as it is. */
function isPrintableLine(text: string): boolean {
  const line = text.replace(/\n$/, '')
  return line.length <= 300 && !/[\p{C}\p{Zl}\p{Zp}]/u.test(line)
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-hostile-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }), 60_000)

describe.skipIf(process.platform === 'win32')('a hostile file', () => {
  let cases: Case[] = []
  let outcomes: Ran['outcomes']
  let unfinished: string | null

  beforeAll(async () => {
    cases = await hostileCases(folder)
    ;({ outcomes, unfinished } = await runInChild(folder, cases))
  }, 180_000)

  it('never stops a command from ending', () => {
    expect(unfinished).toBeNull()
    expect([...outcomes.keys()]).toEqual(cases.map(({ name }) => name))
    expect(outcomes.size).toBeGreaterThan(80)
  })

  it('gives one printable line of at most 300 characters that says why', () => {
    const wrong = cases.filter(({ name, says }) => {
      const { code, error, stderr } = outcomes.get(name)!
      return code === 0 || !OWN_ERRORS.includes(error) || !isPrintableLine(stderr) || !says.test(stderr.trim())
    })
    expect(wrong.map(({ name }) => [name, outcomes.get(name)])).toEqual([])
  })

  it('takes little time and memory', () => {
    const costly = cases.filter(({ name, bytes = 0 }) => {
      const { ms, megabytes } = outcomes.get(name)!
      // Two seconds on a machine of its own.
      return ms > 10_000 || megabytes > 256 + (3 * bytes) / MEGABYTE
    })
    expect(costly.map(({ name }) => [name, outcomes.get(name)])).toEqual([])
  })
})

describe.skipIf(process.platform === 'win32')('a model with one field changed', () => {
  it.each([
    ['config.json', changedConfigs, 17],
    ['GGUF metadata', changedMetadata, 8],
  ] as const)(
    'runs, or is refused in one line: %s',
    async (_, change, step) => {
      const cases = await change(folder, step)
      expect(cases.length).toBeGreaterThan(40)
      const { outcomes, unfinished } = await runInChild(folder, cases)
      expect(unfinished).toBeNull()
      const wrong = [...outcomes].filter(([, { code, stderr, error }]) => {
        return code !== 0 && (!OWN_ERRORS.includes(error) || !isPrintableLine(stderr))
      })
      expect(wrong).toEqual([])
      expect(outcomes.size).toBe(cases.length)
      expect([...outcomes.values()].some(({ code }) => code === 0)).toBe(true)
    },
    200_000,
  )
})
