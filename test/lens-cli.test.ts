import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readBridgeFile } from '../src/convert/bridge-file.js'
import type { Policy } from '../src/depth/policy.js'
import { loadModel } from '../src/engine/load.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()
const at = (name: string): string => join(workspace.folder, name)
const load = { loadModel }
const MODEL = ['ripple-8m', '--threads', '1']
const TEXTS = ['--window', '64', '--samples', '12', '--held-out', '8']
const TASK = ['--task', 'fruit_v_animal_3', '--shots', '2', '--draws', '1', '--limit', '24', '--policy', 'adainfer-svm']

interface Fitted {
  readonly held_out: { readonly rows: number }
  readonly lens: readonly {
    readonly layer: number
    readonly raw: { readonly agreement: number; readonly kl: number }
    readonly lens: { readonly agreement: number; readonly kl: number }
  }[]
}

function mapsOf(policy: Policy): number | undefined {
  return policy.kind === 'exit' ? policy.lens?.length : undefined
}

beforeAll(async () => {
  const ended = await shoal(
    ['bridge', ...MODEL, '--lens', '--texts', 'pretrained/sample.txt', ...TEXTS, '-o', at('a.lens.gguf'), '--json'],
    load,
  )
  expect(ended).toMatchObject({ code: 0 })
  writeFileSync(at('fitted.json'), ended.stdout)
}, 60_000)

describe('a lens', () => {
  it('is fitted for every layer but the last, and tells better what the last one says', async () => {
    const { lens, held_out } = matches('bridge-lens', readFileSync(at('fitted.json'), 'utf8')) as unknown as Fitted
    expect(held_out.rows).toBeGreaterThan(100)
    expect(lens.map(({ layer }) => layer)).toEqual(Array.from({ length: 15 }, (_, l) => l))
    for (const { layer, raw, lens: through } of lens) if (layer < 14) expect(through.kl).toBeLessThan(raw.kl)
    const set = await readBridgeFile(at('a.lens.gguf'))
    expect(set).toMatchObject({ plan: null, layers: 16, hidden: 192, modelName: 'ripple-8m' })
    expect(set.bridges).toHaveLength(15)
    expect(existsSync(at('a.lens.gguf.bridge.jsonl'))).toBe(false)
  })

  it('is named by SPECs of exit policies', async () => {
    const lens = `lens=${at('a.lens.gguf')}`
    const model = await workspace.load('ripple-8m')
    for (const spec of ['gap:0.8', 'entropy:1', 'patience:3', 'calm:0.9', 'exit:9']) {
      const policy = await model.policy(`${spec},${lens}`)
      expect(policy).toMatchObject({ kind: 'exit', spec: `${spec},${lens}` })
      expect(mapsOf(policy)).toBe(15)
    }
    const ids = model.tokenizer!.encode('Once upon a time')
    const options = { maxTokens: 12, ignoreEos: true }
    const full = await model.generate(ids, options).result
    const depth = `gap:0.5,${lens}`
    expect((await model.generate(ids, { ...options, depth, lossless: true }).result).tokens).toEqual(full.tokens)
    const json = await shoal(['plan', 'ripple-8m', '--depth', `gap:0.8,${lens}`, '--json'], load)
    const raw = await shoal(['plan', 'ripple-8m', '--depth', 'gap:0.8', '--json'], load)
    const flops = ({ stdout }: typeof json): number =>
      (JSON.parse(stdout) as { token: { flops_with_checks: number } }).token.flops_with_checks
    expect(flops(json) - flops(raw)).toBe(15 * 2 * 192 * 192)
  })

  it('is shown beside the layers as they are by trace', async () => {
    const args = ['trace', ...MODEL, 'Once upon a time', '--lens', at('a.lens.gguf')]
    const text = await shoal(args, load)
    expect(text).toMatchObject({ code: 0, stdout: expect.stringMatching(/^layer +next token .* through the lens/) })
    const ended = await shoal([...args, '-o', at('t.safetensors'), '--json'], load)
    const { layers } = matches('trace', ended.stdout) as unknown as { layers: { mapped: object | null }[] }
    expect(layers.map(({ mapped }) => mapped !== null)).toEqual(Array.from({ length: 16 }, (_, l) => l < 15))
    expect(readFileSync(at('t.safetensors')).subarray(0, 20_000).toString('latin1')).toContain('mapped_logits.14')
  })

  it('is what a policy is calibrated and run with', async () => {
    mkdirSync(at('policies'))
    const out = at('policies/p.policy.json')
    const args = ['calibrate', ...MODEL, ...TASK, '--lens', at('a.lens.gguf'), '-o', out, '--json']
    const ended = await shoal(args, load)
    expect(ended).toMatchObject({ code: 0 })
    matches('calibrate', ended.stdout)
    const policy = matches('policy', readFileSync(out, 'utf8'))
    expect(policy.lens).toMatchObject({ file: '../a.lens.gguf' })
    const model = await workspace.load('ripple-8m')
    const parsed = await model.policy(`adainfer:${out}`)
    expect(mapsOf(parsed)).toBe(15)
    const traces = ['trace', ...MODEL, ...TASK.slice(0, -2), '--lens', at('a.lens.gguf'), '-o', at('t.jsonl')]
    expect(await shoal(traces, load)).toMatchObject({ code: 0 })
    const fit = ['calibrate', '--traces', at('t.jsonl'), '--policy', 'adainfer-svm', '-o', at('q.policy.json')]
    expect(await shoal(fit, load)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/through a lens: give .*--lens FILE/),
    })
    expect(await shoal([...fit, '--lens', at('a.lens.gguf')], load)).toMatchObject({ code: 0 })
    // Another lens under the same name is noticed.
    const other = ['bridge', ...MODEL, '--lens', '--rank', '4', '--texts', 'pretrained/sample.txt', ...TEXTS]
    expect(await shoal([...other, '-o', at('a.lens.gguf')], load)).toMatchObject({ code: 0 })
    await expect(model.policy(`adainfer:${out}`)).rejects.toThrow(/is another lens than .* was calibrated with/)
  })

  it('is what controls of its policies read too', async () => {
    const depth = `exit:5,lens=${at('a.lens.gguf')}`
    const task = ['--task', 'fruit_v_animal_3', '--shots', '2', '--limit', '12', '--controls']
    const ended = await shoal(
      ['eval', 'answers', ...MODEL, ...task, '--depth', depth, '--depth', 'exit:5', '--json'],
      load,
    )
    const { cells } = matches('eval', ended.stdout) as unknown as {
      cells: { depth: string; accuracy: object; agreement: { mean: number }; depth_mean: object }[]
    }
    const of = (name: string) => {
      const { accuracy, agreement, depth_mean } = cells.find((cell) => cell.depth === name)!
      return { accuracy, agreement, depth_mean }
    }
    // All leave after one layer: exits fixed there, and exits drawn anew, are the policy's own.
    for (const own of [depth, 'exit:5']) {
      expect(of(`fixed at ${own}`)).toEqual(of(own))
      expect(of(`random at ${own}`)).toEqual(of(own))
    }
    expect(of(depth).agreement.mean).not.toBe(of('exit:5').agreement.mean)
  })

  it('is fitted beside a policy on texts that the model samples, once', async () => {
    const out = at('fruit.policy.json')
    const texts = ['--lens', '--lens-texts', 'pretrained/calibration.txt']
    const first = await shoal(['calibrate', ...MODEL, ...TASK, ...texts, '-o', out], load)
    expect(first).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/reads layers through the lens .*fruit\.lens\.gguf/),
    })
    const again = await shoal(['calibrate', ...MODEL, ...TASK, '--lens', '-o', out], load)
    expect(again).toMatchObject({ code: 0, stderr: expect.stringMatching(/taking the lens .*fruit\.lens\.gguf/) })
  })

  it.each([
    [['bridge', ...MODEL, '--lens', '--depth', 'layers:0,15', '-o', 'x.gguf'], 2, /either --depth SPEC.* or --lens/],
    [['bridge', ...MODEL, '-o', 'x.gguf'], 2, /either --depth SPEC.* or --lens/],
    [['bridge', ...MODEL, '--lens', '--on', 'mlp', '-o', 'x.gguf'], 2, /go with --depth/],
    [['calibrate', ...MODEL, ...TASK, '--lens-texts', 'a.txt', '-o', 'x.json'], 2, /goes with --lens without a file/],
    [['calibrate', ...MODEL, ...TASK, '--lens', 'none.gguf', '-o', 'x.json'], 1, /none\.gguf: no such file/],
    [['trace', ...MODEL, 'The', '--lens', 'package.json'], 1, /package\.json/],
    [['run', ...MODEL, 'The', '--depth', 'gap:0.8,lens=none.gguf'], 1, /none\.gguf: no such file/],
    [['score', ...MODEL, '--tokens', '1,2,3', '--depth', 'plan:a.lens.gguf'], 2, /holds a lens, and no plan/],
  ])('refuses %j', async (args, code, message) => {
    const given = args.map((arg) => arg.replace('a.lens.gguf', at('a.lens.gguf')))
    expect(await shoal(given, load)).toMatchObject({ code, stderr: expect.stringMatching(message) })
  })
})
