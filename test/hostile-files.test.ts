import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Case, hostileCases } from './hostile/files.js'

const MEGABYTE = 1024 * 1024

interface Outcome {
  readonly code: number
  readonly stderr: string
  readonly ms: number
  readonly megabytes: number
}

let folder: string
let cases: Case[] = []
const outcomes = new Map<string, Outcome>()
let unfinished: string | null = null

describe.skipIf(process.platform === 'win32')('a hostile file', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-hostile-'))
    cases = await hostileCases(folder)
    const list = join(folder, 'cases.json')
    writeFileSync(list, JSON.stringify(cases.map(({ name, args }) => ({ name, args }))))
    const child = spawn(process.execPath, ['--import', './test/typescript-loader.mjs', 'test/hostile/child.ts', list], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SHOAL_CACHE: join(folder, 'cache') },
      timeout: 100_000,
    })
    let out = ''
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
    await new Promise((resolve) => child.on('close', resolve))
    for (const line of out.split('\n').filter((text) => text !== '')) {
      const { name, ...outcome } = JSON.parse(line) as { name: string } & Partial<Outcome>
      if (outcome.code === undefined) unfinished = name
      else {
        outcomes.set(name, outcome as Outcome)
        unfinished = null
      }
    }
  }, 120_000)
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('never stops a command from ending', () => {
    expect(unfinished).toBeNull()
    expect([...outcomes.keys()]).toEqual(cases.map(({ name }) => name))
    expect(outcomes.size).toBeGreaterThan(80)
  })

  it('gives one printable line of at most 300 characters that says why', () => {
    const wrong = cases.filter(({ name, says }) => {
      const { code, stderr } = outcomes.get(name)!
      const line = stderr.replace(/\n$/, '')
      return !(code === 1 || code === 2) || line.length > 300 || /[\p{C}\p{Zl}\p{Zp}]/u.test(line) || !says.test(line)
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
