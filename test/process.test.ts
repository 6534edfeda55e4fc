import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { speakChatml } from './chatml-checkpoint.js'
import { writeRandomCheckpoint } from './random-checkpoint.js'

/** What only a process of its own shows: signals, pipes, and nothing of ggml's own on either stream. */
const bin = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
let cache: string

beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'shoal-process-'))
})

afterAll(() => rmSync(cache, { recursive: true, force: true }))

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [bin, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SHOAL_CACHE: cache },
  })
}

function ended(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
}

it('builds, converts and runs, with nothing but one JSON document on stdout and nothing on stderr', async () => {
  const { code, stdout, stderr } = await ended(start('run', 'Once upon a time', '--max-tokens', '4', '--json'))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(JSON.parse(stdout)).toMatchObject({ model: 'ripple-8m' })
})

it('ends with 130 and its figures after Ctrl-C', async () => {
  const child = start('run', 'Once upon a time', '--max-tokens', '1000', '--ignore-eos')
  child.stdout?.once('data', () => child.kill('SIGINT'))
  const { code, stdout, stderr } = await ended(child)
  expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
  expect(stdout).toMatch(/\n\n\d+ tokens? · mean depth .* · stopped\n$/)
})

it('ends an answer of a chat after Ctrl-C, and the chat where there is none', async () => {
  const { folder } = await writeRandomCheckpoint(join(cache, 'talker'), 62, { tokenizer: true })
  await speakChatml(folder)
  const child = spawn(process.execPath, [bin, 'chat', folder, '--max-tokens', '4000', '--ignore-eos'], {
    env: { ...process.env, SHOAL_CACHE: cache },
  })
  let said = ''
  let answers = 0
  let stopping = false
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
    if (said.endsWith('stopped\n')) {
      answers++
      said = ''
      stopping = false
      if (answers === 1) child.stdin.write('And then?\n')
      else child.kill('SIGINT')
    } else if (!stopping) {
      stopping = true
      child.kill('SIGINT')
    }
  })
  child.stdin.write('Hello\n')
  const { code, stderr } = await ended(child)
  expect({ code, stderr, answers }).toEqual({ code: 130, stderr: '', answers: 2 })
})

it('ends quietly where the reader of its pipe goes away', async () => {
  const child = start('run', 'Once upon a time', '--max-tokens', '1000', '--ignore-eos')
  child.stdout?.once('data', () => child.stdout?.destroy())
  const { code, stderr } = await ended(child)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})

it('takes text through a pipe that is open already', async () => {
  const line = `{"prompt": "Once upon a time"}`
  const command = `"${process.execPath}" "${bin}" run --prompts <(echo '${line}') --max-tokens 2`
  const child = spawn('bash', ['-c', command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SHOAL_CACHE: cache },
  })
  const { code, stdout, stderr } = await ended(child)
  expect(code, stderr).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ index: 0, prompt: 'Once upon a time' })
})
