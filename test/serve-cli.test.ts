import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'

const bin = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-serve-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it.each(['SIGTERM', 'SIGINT'] as const)('shoal serve answers, and after %s lets a text end', async (signal) => {
  const child = spawn(process.execPath, [bin, 'serve', '--port', '0', '--max-batch', '2'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SHOAL_CACHE: folder },
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const ended = new Promise((resolve) => child.on('close', resolve))
  while (!said.includes('is served at')) await new Promise((resolve) => setTimeout(resolve, 50))
  const url = /http:\S+/.exec(said)![0].replace(/,$/, '')
  const body = { prompt: 'Once upon a time', max_tokens: 100, ignore_eos: true, stream: true }
  const response = await fetch(`${url}/completions`, { method: 'POST', body: JSON.stringify(body) })
  child.kill(signal)
  const text = await response.text()
  expect(text).toMatch(/"finish_reason":"length"/)
  expect(text).toMatch(/data: \[DONE\]\n\n$/)
  expect(await ended).toBe(0)
  expect(said).toMatch(/ripple-8m is served at http:\/\/127\.0\.0\.1:\d+\/v1, depth full\n.*stopping/)
})

it('shoal serve refuses what it could not do well', async () => {
  const empty = join(folder, 'keys.txt')
  writeFileSync(empty, '# none\n')
  expect(await shoal(['serve', '--host', '0.0.0.0', '--port', '0'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('give API keys'),
  })
  expect(await shoal(['serve', '--api-key-file', empty])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('has no key'),
  })
})
