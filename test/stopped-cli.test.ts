import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Cli } from '../src/cli/cli.js'
import type { Generation } from '../src/engine/api.js'
import { loadModel } from '../src/engine/load.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()

const at = (name: string): string => join(workspace.folder, name)
const TASK = ['--task', 'fruit_v_animal_3', '--threads', '1']
const ANEW = /^shoal: stopped; nothing is kept: the same command begins anew/m

/** Runs a command that is stopped when its progress shows the `after`-th time, or before its model is there. */
async function stopped(args: readonly string[], after: number): Promise<{ code: number; stderr: string }> {
  const stop = new AbortController()
  let stderr = ''
  let shown = 0
  const write = (text: string): void => {
    stderr += text
    if (/answers|questions|prompts|parts|tokens/.test(text) && ++shown === after) stop.abort()
  }
  if (after === 0) stop.abort()
  const { code } = await shoal(args, { signal: stop.signal, stderr: { isTTY: after > 0, write }, loadModel })
  // The progress line is wiped before each text.
  return { code, stderr: stderr.replaceAll('\u001b[2K', '\n') }
}

it.each([
  [['eval', 'matrix', 'ripple-8m', 'ripple-8m', ...TASK], 0, /nothing is kept: with -o/],
  [['eval', 'generation', ...TASK], 0, /nothing is kept: with -o/],
  [['score', '--text', 'pretrained/sample.txt', '--threads', '1'], 2, ANEW],
  [['bench', '--depth', 'full'], 0, ANEW],
  [['convert', 'ripple-8m', '-o', 'x.gguf'], 0, ANEW],
  [['export', '--depth', 'layers:0,3', '--format', 'gguf', '-o', 'x.gguf'], 0, ANEW],
  [
    ['search', '--speedup', '2', '--texts', 'pretrained/sample.txt'],
    0,
    /nothing is kept: with -o FILE the same command/,
  ],
  [['search', '--speedup', '2', '--texts', 'pretrained/sample.txt', '-o', 'x.json'], 0, ANEW],
])('%j says what is kept when it is stopped', async (args, after, line) => {
  const { code, stderr } = await stopped(args, after)
  expect(code).toBe(130)
  expect(stderr).toMatch(line)
  expect(stderr.match(/stopped;/g)).toHaveLength(1)
})

it('calibrate --task keeps its answers', async () => {
  const args = ['calibrate', ...TASK, '--policy', 'adainfer-svm', '-o', at('x.json')]
  const { code, stderr } = await stopped(args, 3)
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped; .*x\.answers\.jsonl keeps what was done so far, and the same command goes on$/m)
})

it('trace --task keeps its questions, and goes on', async () => {
  const out = at('t.jsonl')
  const args = ['trace', ...TASK, '--limit', '20', '--out', out]
  const { code, stderr } = await stopped(args, 3)
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped; .*t\.jsonl keeps the questions so far, and the same command goes on$/m)
  const again = await shoal(args)
  expect(again.stderr).toMatch(/going on with the \d+ questions/)
  expect(again.code).toBe(0)
})

it('reproduce keeps its traces', async () => {
  const args = ['reproduce', 'adainfer', '--limit', '12', '--shots', '0', '--work', at('work'), ...TASK]
  const { code, stderr } = await stopped(args, 2)
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped; .*work keeps the traces so far, and the same command goes on$/m)
})

it('run --prompts keeps what is in --out', async () => {
  const prompts = at('prompts.jsonl')
  writeFileSync(prompts, '{"tokens": [5, 6]}\n'.repeat(6))
  const args = ['run', '--prompts', prompts, '--batch', '1', '--max-tokens', '40', '--ignore-eos', '--threads', '1']
  const kept = await stopped([...args, '--out', at('out.jsonl')], 2)
  expect(kept.code).toBe(130)
  expect(kept.stderr).toMatch(/stopped; .*out\.jsonl keeps the results so far, and the same command goes on$/m)
  const printed = await stopped(args, 2)
  expect(printed.stderr).toMatch(/stopped; finished prompts are the lines on stdout: with --out FILE\.jsonl/)
})

it('run --prompts says where no prompt was finished', async () => {
  const prompts = at('long.jsonl')
  writeFileSync(prompts, '{"tokens": [5, 6]}\n')
  const stop = new AbortController()
  const { code, stderr } = await shoal(
    ['run', '--prompts', prompts, '--out', at('long.out.jsonl'), '--max-tokens', '200', '--ignore-eos'],
    { signal: stop.signal, loadModel: stoppingAtToken(stop, 3) },
  )
  expect(code).toBe(130)
  expect(stderr).toMatch(/stopped; no prompt was finished: the same command begins anew$/m)
})

it('run --json prints what was said until it was stopped', async () => {
  const stop = new AbortController()
  const { code, stdout } = await shoal(
    ['run', 'ripple-8m', '--tokens', '5,6', '--max-tokens', '200', '--ignore-eos', '--json'],
    { signal: stop.signal, loadModel: stoppingAtToken(stop, 3) },
  )
  expect(code).toBe(130)
  const document = matches('run', stdout)
  expect(document).toMatchObject({ finish_reason: 'aborted' })
  expect(document.tokens).not.toHaveLength(0)
  expect(document.tokens).not.toHaveLength(200)
})

/** A model whose generations are stopped after some tokens. */
function stoppingAtToken(stop: AbortController, after: number): Cli['loadModel'] {
  return async (name, options) => {
    const model = await loadModel(name, options)
    const generate = model.generate.bind(model)
    model.generate = (prompt, how) => {
      const generation = generate(prompt, how)
      void stopAtToken(generation, stop, after)
      return generation
    }
    return model
  }
}

async function stopAtToken(generation: Generation, stop: AbortController, after: number): Promise<void> {
  while (generation.partial().tokens.length < after) await new Promise((resolve) => setTimeout(resolve, 1))
  stop.abort()
}
