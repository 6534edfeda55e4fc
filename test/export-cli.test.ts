import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { type Ended, shoal } from './cli-runner.js'
import { expectFailure } from './expect-failure.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const PLAN = 'layers:0,1,2,3,4,5,10,11,12,13,14,15'
const LLAMA = 'test/fixtures/checkpoints/llama'

const workspace = useWorkspace()
let folder: string
beforeAll(() => {
  folder = join(workspace.folder, 'written')
  mkdirSync(folder)
})
afterEach(() => {
  for (const entry of readdirSync(folder)) rmSync(join(folder, entry), { recursive: true })
})

function run(...args: string[]): Promise<Ended> {
  return shoal(['export', ...args, '--threads', '1'])
}

function failure(ended: Ended, code: number, line: RegExp): void {
  expectFailure(ended, code, line)
  expect(readdirSync(folder)).toEqual([])
}

it('prints one document: the perplexity that the written checkpoint has', async () => {
  const text = join(folder, 'text.txt')
  // One window, so that `score` sees the same tokens.
  writeFileSync(text, 'The old man sat by the fire and looked at the sea, as he did every night.')
  const out = join(folder, 'out')
  const args = ['ripple-8m', '--depth', PLAN, '--format', 'hf', '-o', out, '--text', text, '--json']
  const { code, stdout, stderr } = await run(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const printed = matches('export', stdout)
  expect(printed).toMatchObject({
    model: 'ripple-8m',
    out,
    format: 'hf',
    quantization: null,
    depth: PLAN,
    total_layers: 16,
  })
  expect(printed.parameters).toBeLessThan(printed.total_parameters as number)
  const perplexity = printed.perplexity as Record<string, { loss: number }> & { tokens: number }
  expect(perplexity.plan?.loss).toBeGreaterThan(perplexity.full?.loss as number)

  const ids = (
    matches('trace', (await shoal(['trace', '--text', text, '--json', '--threads', '1'])).stdout) as {
      input_ids: number[]
    }
  ).input_ids
  const promptLength = String(ids.length - perplexity.tokens)
  const score = async (model: string, depth: string): Promise<number> => {
    const common = ['--tokens', ids.join(), '--prompt-length', promptLength, '--json', '--threads', '1']
    return matches('score', (await shoal(['score', model, '--depth', depth, ...common])).stdout).loss as number
  }
  expect(await score(out, 'full')).toBe(perplexity.plan?.loss)
  expect(await score('ripple-8m', 'full')).toBe(perplexity.full?.loss)
  expect(await score('ripple-8m', PLAN)).toBe(perplexity.prompted?.loss)
  expect(await score('ripple-8m', `${PLAN},prompt=plan`)).toBe(perplexity.plan?.loss)
})

it('says to people what was written, what it costs, and that the prompt is another matter', async () => {
  const out = join(folder, 'out.gguf')
  const { code, stdout } = await run('--depth', PLAN, '--format', 'gguf', '-o', out, '--limit', '64')
  expect(code).toBe(0)
  expect(stdout).toMatch(
    /out\.gguf · 12 of 16 layers: 0, 1, 2, 3, 4, 5, 10, .* · 5\.\dM of 7\.3M parameters · \d+.* MB\n/,
  )
  expect(stdout).toMatch(/every layer +[\d.]+ +[\d.]+\n/)
  expect(stdout).toMatch(/the plan after prompts at full depth +[\d.]+ +[\d.]+ +[+-][\d.]+\n/)
  expect(stdout).toMatch(/the plan everywhere: what was written +[\d.]+ +[\d.]+ +[+-][\d.]+\n/)
  expect(stdout).toContain("49 tokens of Shoal's sample text in one window")
  expect(stdout).toContain('Unified Layer Skipping has them run every layer')
  expect(await shoal(['run', out, 'Once', '--max-tokens', '2', '--threads', '1'])).toMatchObject({
    code: 0,
    stderr: '',
  })
})

it("takes the checkpoint's own plan, which the result is not made for any more", async () => {
  const out = join(folder, 'out')
  const common = ['--format', 'hf', '-o', out, '--no-perplexity', '--json']
  const loadModel = (): never => {
    throw new Error('nothing asks for the model to be loaded')
  }
  const { stdout: document } = await shoal(['export', 'ripple-8m-unified2x', ...common], { loadModel })
  const printed = matches('export', document)
  expect(printed).toMatchObject({ layers: [0, 2, 4, 6, 8, 10, 12, 15], perplexity: null })
  const again = await shoal(['run', out, 'Once', '--max-tokens', '2', '--depth', 'full', '--threads', '1'])
  expect(again).toMatchObject({ code: 0, stderr: '' })
})

it('has no perplexity where there is no tokenizer', async () => {
  const out = join(folder, 'out.gguf')
  const { code, stdout, stderr } = await run(LLAMA, '--depth', 'layers:0,1', '--format', 'gguf', '-o', out, '--json')
  expect(code).toBe(0)
  expect(matches('export', stdout)).toMatchObject({ quantization: 'f32', perplexity: null })
  expect(stderr).toBe(
    'shoal: warning: no tokenizer.json: the model works with token ids only\nshoal: note: without a tokenizer no perplexity is measured\n',
  )
})

it.each([
  [['--depth', 'gap:0.8'], /decides while tokens run.*use layers:/],
  [['--depth', 'skipdecode:2x'], /decides while tokens run/],
  [['--depth', 'full'], /leaves no layer of ripple-8m out; shoal convert writes all/],
  [[], /leaves no layer of ripple-8m out/],
  [['--depth', 'layers:0,99'], /layer 99 does not exist/],
  [['--depth', PLAN, '--quantization', 'q4_0'], /--quantization is for --format gguf/],
])('refuses %j', async (args, line) => {
  failure(await run('ripple-8m', ...args, '--format', 'hf', '-o', join(folder, 'out')), 2, line)
})

it('needs the text that it is given', async () => {
  const args = ['--depth', PLAN, '--text', 'no-such-file.txt', '--format', 'hf', '-o', join(folder, 'out')]
  failure(await run(...args), 1, /no-such-file\.txt: no such file/)
})

it('refuses wrong usage', async () => {
  failure(await run('--depth', PLAN, '-o', join(folder, 'out')), 2, /--format/)
  failure(await run('--depth', PLAN, '--format', 'hf'), 2, /--out/)
  failure(await run('--depth', PLAN, '--format', 'onnx', '-o', join(folder, 'out')), 2, /hf, gguf/)
})

it('ends with 130 where it is stopped, and leaves nothing', async () => {
  const stop = new AbortController()
  stop.abort()
  const out = join(folder, 'out')
  const ended = await shoal(['export', '--depth', PLAN, '--format', 'hf', '-o', out], { signal: stop.signal })
  expect(ended.code).toBe(130)
  expect(existsSync(out)).toBe(false)
})
