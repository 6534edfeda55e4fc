import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readBridgeFile } from '../src/convert/bridge-file.js'
import { loadModel } from '../src/engine/load.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()
const at = (name: string): string => join(workspace.folder, name)
const load = { loadModel }
const TEXTS = ['--texts', 'pretrained/sample.txt', '--window', '48', '--samples', '10', '--held-out', '8']
const MODEL = ['ripple-8m', '--threads', '1']

interface Result {
  readonly plan: number[]
  readonly gaps: readonly { readonly from: number; readonly to: number; readonly unexplained: number }[]
  readonly units: number
  readonly held_out: { readonly plain: { readonly mean: number }; readonly bridged: { readonly mean: number } }
}

beforeAll(() => {
  writeFileSync(at('few.jsonl'), '{"tokens": [1, 2, 3]}\n{"tokens": [4, 5, 6]}\n')
})

describe('shoal bridge', () => {
  it('writes bridges that run, whose file says what they are', async () => {
    const out = at('a.bridge.gguf')
    const ended = await shoal(
      ['bridge', ...MODEL, '--depth', 'layers:0,1,2,3,8,9,14,15', ...TEXTS, '-o', out, '--json'],
      load,
    )
    expect(ended.code).toBe(0)
    const result = matches('bridge', ended.stdout) as unknown as Result
    expect(result.gaps).toMatchObject([
      { from: 3, to: 8 },
      { from: 9, to: 14 },
    ])
    expect(result.units).toBe(2)
    expect(result.held_out.bridged.mean).toBeLessThan(result.held_out.plain.mean)
    expect(existsSync(`${out}.bridge.jsonl`)).toBe(false)
    const set = await readBridgeFile(out)
    expect(set).toMatchObject({ plan: result.plan, layers: 16, modelName: 'ripple-8m' })
    const run = await shoal(['run', ...MODEL, '--depth', `plan:${out}`, '--max-tokens', '4', '--json', 'The'], load)
    expect(run.code).toBe(0)
    const plan = await shoal(['plan', 'ripple-8m', '--depth', `plan:${out}`, '--json'], load)
    const plain = await shoal(['plan', 'ripple-8m', '--depth', 'layers:0,1,2,3,8,9,14,15', '--json'], load)
    const flops = ({ stdout }: typeof plan): number => (JSON.parse(stdout) as { token: { flops: number } }).token.flops
    expect(flops(plan) - flops(plain)).toBe(2 * 2 * 192 * 192)
  })

  it('goes on where it was stopped', async () => {
    const out = at('b.bridge.gguf')
    const command = ['bridge', ...MODEL, '--depth', 'layers:0,1,6,15', ...TEXTS, '--rank', '16', '-o', out, '--json']
    const whole = await shoal(command.with(-2, at('c.bridge.gguf')), load)
    const stop = new AbortController()
    const stopping = {
      ...load,
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write: () => {
          if (existsSync(`${out}.bridge.jsonl`) && readFileSync(`${out}.bridge.jsonl`, 'utf8').split('\n').length > 2)
            stop.abort()
        },
      },
    }
    const stopped = await shoal(command, stopping)
    expect(stopped.code).toBe(130)
    expect(existsSync(out)).toBe(false)
    const again = await shoal(command, load)
    expect(again.code).toBe(0)
    const held = ({ stdout }: typeof again): unknown => (JSON.parse(stdout) as { held_out: unknown }).held_out
    expect(held(again)).toEqual(held(whole))
    expect(readFileSync(out)).toEqual(readFileSync(at('c.bridge.gguf')))
  })

  it('samples texts where none are given, and reads MLPs', async () => {
    const out = at('d.bridge.gguf')
    const args = ['--samples', '6', '--held-out', '3', '--window', '24', '--on', 'mlp', '--depth', 'layers:0,1,2,15']
    const ended = await shoal(['bridge', ...MODEL, ...args, '-o', out], load)
    expect(ended.code).toBe(0)
    expect(ended.stdout).toMatch(/^4 of 16 layers; bridges over layers 3-14$/m)
    const [bridge] = (await readBridgeFile(out)).bridges
    expect(bridge).toMatchObject({ from: 2, to: 15, on: 'mlp' })
    // The model's down projections have no bias that one could go into.
    expect(bridge?.bias.every((value) => value === 0)).toBe(true)
  })

  it('on MLPs become part of a checkpoint, those on the hidden state do not', async () => {
    const folder = at('folded')
    const target = ['--format', 'hf', '-o', folder, '--threads', '1', '--limit', '64', '--json']
    const ended = await shoal(['export', 'ripple-8m', '--depth', `plan:${at('d.bridge.gguf')}`, ...target], load)
    expect(ended.code).toBe(0)
    const { folded, layers, perplexity } = matches('export', ended.stdout) as unknown as {
      folded: number[]
      layers: number[]
      perplexity: { plan: { loss: number } }
    }
    expect({ folded, layers }).toEqual({ folded: [2], layers: [0, 1, 2, 15] })
    const plain = ['export', 'ripple-8m', '--depth', 'layers:0,1,2,15', ...target.with(3, at('plain'))]
    const without = matches('export', (await shoal(plain, load)).stdout) as unknown as { perplexity: typeof perplexity }
    expect(perplexity.plan.loss).not.toBeCloseTo(without.perplexity.plan.loss, 2)
    const run = ['run', folder, 'The', '--max-tokens', '2', '--threads', '1', '--depth', 'full']
    expect(await shoal(run, load)).toMatchObject({ code: 0 })

    const hidden = ['export', 'ripple-8m', '--depth', `plan:${at('a.bridge.gguf')}`, ...target.with(3, at('none'))]
    const refused = await shoal(hidden, load)
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/layers 4-7 reads the hidden state/) })
    expect(existsSync(at('none'))).toBe(false)
  })

  it.each([
    [['--depth', 'full', '-o', 'x.gguf'], 2, /leaves out no layer/],
    [['--depth', 'gap:0.8', '-o', 'x.gguf'], 2, /has no plan that all tokens run/],
    [['--depth', 'layers:0,15', '-o', 'x.json'], 2, /must end in \.gguf/],
    [
      ['--depth', 'layers:1,15', '--on', 'mlp', '-o', 'x.gguf'],
      1,
      /over layer 0 folds .*: there is none below it; leave/,
    ],
    [['--depth', 'layers:0,15', '--texts', 'few.jsonl', '-o', 'x.gguf'], 2, /must hold ten texts/],
    [['--depth', 'layers:0,15', '--texts', 'none.txt', '-o', 'x.gguf'], 1, /none\.txt: no such file/],
    [['--depth', 'layers:0,15'], 2, /--out/],
  ])('refuses %j', async (args, code, message) => {
    const given = args.map((arg) => (/\.(gguf|json|jsonl|txt)$/.test(arg) ? at(arg) : arg))
    const ended = await shoal(['bridge', ...MODEL, ...given], load)
    expect(ended).toMatchObject({ code, stderr: expect.stringMatching(message) })
  })

  it('files that are cut or of another model are refused in one line', async () => {
    const out = at('a.bridge.gguf')
    const copy = at('cut.bridge.gguf')
    writeFileSync(copy, readFileSync(out))
    truncateSync(copy, 4000)
    const cut = await shoal(['run', ...MODEL, '--depth', `plan:${copy}`, 'The'], load)
    expect(cut).toMatchObject({ code: 1, stderr: expect.stringMatching(/cut\.bridge\.gguf/) })
    const { folder } = await workspace.random(4, { layers: 5 })
    const other = await shoal(['score', folder, '--depth', `plan:${out}`, '--tokens', '1,2,3'], load)
    expect(other.stderr).toMatch(/made for a model of 16 layers and this one has 5/)
  })
})

describe('shoal search --bridge', () => {
  const TEXT = ['--texts', 'pretrained/sample.txt', '--window', '48', '--samples', '8', '--held-out', '6']
  const SEARCH = ['search', ...MODEL, '--bridge', '--by', 'layers', ...TEXT]

  it('writes a plan with its bridges, and goes on where it was stopped', async () => {
    const out = at('s.bridge.gguf')
    const stop = new AbortController()
    const stopping = {
      ...load,
      signal: stop.signal,
      stderr: { isTTY: true, write: (text: string) => /3 plans tried/.test(text) && stop.abort() },
    }
    const command = [...SEARCH, '--speedup', '1.3', '-o', out, '--json']
    expect((await shoal(command, stopping)).code).toBe(130)
    expect(existsSync(`${out}.search.jsonl`)).toBe(true)
    const ended = await shoal(command, load)
    expect(ended).toMatchObject({ code: 0, stderr: expect.stringMatching(/going on with [34] plans/) })
    const { targets } = matches('search-bridge', ended.stdout) as unknown as {
      targets: readonly [{ plan: number[]; held_out: Result['held_out'] }]
    }
    const [{ plan, held_out: heldOut }] = targets
    expect(plan).toHaveLength(12)
    expect(heldOut.bridged.mean).toBeLessThan(heldOut.plain.mean)
    expect(await readBridgeFile(out)).toMatchObject({ plan })
    expect(existsSync(`${out}.search.jsonl`)).toBe(false)
  })

  it.each([
    [['--speedup', '1.5', '-o', 'x.json'], /must end in \.gguf/],
    [['--speedup', '1.5,2', '--dynamic', '2'], /--dynamic picks from plans without bridges/],
    [['--speedup', '1'], /leaves out no layer/],
  ])('refuses %j', async (args, message) => {
    const ended = await shoal([...SEARCH, ...args], load)
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringMatching(message) })
  })
})
