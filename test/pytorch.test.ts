import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSafetensors, type SafetensorsFile } from '../src/checkpoint/safetensors.js'
import { shoal } from './cli-runner.js'
import { useWorkspace } from './workspace.js'

/** The commands on small random checkpoints, beside what PyTorch and transformers computed for them in float32. */
const FIXTURES = ['llama', 'llama31-rope', 'opt', 'opt-350m-postnorm', 'bloom']
const TOLERANCE = 1e-3

const workspace = useWorkspace()

describe.each(FIXTURES)('fixture %s', (name) => {
  const folder = fileURLToPath(new URL(`./fixtures/checkpoints/${name}`, import.meta.url))
  let expected: SafetensorsFile
  let sequences: number[][]

  beforeAll(async () => {
    expected = await openSafetensors(join(folder, 'expected.safetensors'))
    const ids = await expected.readIntegers('input_ids')
    sequences = [ids.slice(0, 16), ids.slice(16)]
  })

  afterAll(() => expected.close())

  async function save(command: string, args: readonly string[]): Promise<SafetensorsFile> {
    const out = join(workspace.folder, `${name}-${command}.safetensors`)
    expect(await shoal([command, folder, ...args, '--out', out])).toMatchObject({ code: 0 })
    return openSafetensors(out)
  }

  it('trace gives hidden states, lens logits and logits', async () => {
    for (const [row, ids] of sequences.entries()) {
      const traced = await save('trace', ['--tokens', ids.join(',')])
      const names = [...expected.tensors.keys()].filter((key) => /^(hidden|lens_logits)\.|^logits$/.test(key))
      expect(names.length).toBeGreaterThan(2)
      for (const tensor of names) {
        const [wanted, got] = [await expected.readFloats(tensor), await traced.readFloats(tensor)]
        expect(got.length * 2, tensor).toBe(wanted.length)
        expect(distance(got, wanted.subarray(row * got.length, (row + 1) * got.length)), tensor).toBeLessThan(TOLERANCE)
      }
      await traced.close()
    }
  })

  it('run gives the greedy tokens', async () => {
    const greedy = await expected.readIntegers('greedy')
    const args = ['--tokens', (sequences[0] as number[]).join(','), '--max-tokens', String(greedy.length)]
    const { stdout } = await shoal(['run', folder, ...args, '--ignore-eos', '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ tokens: greedy, text: '' })
  })

  it('score under layers: gives the logits of the layers that run', async () => {
    const layers = await expected.readIntegers('skip_layers')
    const wanted = await expected.readFloats('skip_logits')
    const tokens = (sequences[0] as number[]).join(',')
    const scored = await save('score', [
      '--tokens',
      tokens,
      '--prompt-length',
      '11',
      '--depth',
      `layers:${layers.join()}`,
    ])
    expect(scored.tensors.get('logits')?.shape).toEqual(expected.tensors.get('skip_logits')?.shape.slice(1))
    expect(distance(await scored.readFloats('logits'), wanted)).toBeLessThan(TOLERANCE)
    expect(await scored.readIntegers('depth')).toEqual(Array.from({ length: 5 }, () => layers.length))
    await scored.close()
  })
})

function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((largest, value, i) => {
    const d = Math.abs(value - (b[i] as number))
    // NaN must not slip through.
    return d <= largest ? largest : d
  }, 0)
}
