import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { largestDifference } from '../../../test/compare.js'
import { useWorkspace } from '../../../test/workspace.js'
import { openSafetensors } from '../../checkpoint/safetensors.js'
import { createSafetensorsWriter } from '../../checkpoint/safetensors-write.js'
import { readTextFile } from '../../checkpoint/text-file.js'
import { type Bridge, planGaps } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import type { SkipPolicy } from '../../depth/policy.js'
import type { Model } from '../../engine/api.js'
import { createRandomStream } from '../../engine/schedule/random-stream.js'
import { quantize } from '../../ggml/quantize.js'
import { type ExportFormat, type ExportOptions, exportModel } from '../export.js'
import { convertModel } from '../package.js'

const FIXTURES = 'test/fixtures/checkpoints'
const IDS = Array.from({ length: 14 }, (_, i) => (i * 7 + 3) % 50)

const workspace = useWorkspace()
let written = 0

/** Maps that add about 0.7 times what they read. */
function bridgesFor(plan: Plan, layers: number, hidden: number, { on = 'mlp', rank = 0, bias = 0 } = {}): Bridge[] {
  const random = createRandomStream(5)
  const values = (count: number, size: number) =>
    Float32Array.from({ length: count }, () => size * (2 * random() - 1) * Math.sqrt(3))
  const matrix = (rows: number, columns: number, size: number) => {
    const data = new Uint8Array(4 * rows * columns)
    quantize('f32', values(rows * columns, size / Math.sqrt(columns)), rows, columns, data)
    return { type: 'f32', rows, columns, data } as const
  }
  return planGaps(plan, layers).map((gap) => ({
    ...gap,
    on: on as Bridge['on'],
    factors: rank === 0 ? [matrix(hidden, hidden, 0.7)] : [matrix(rank, hidden, 0.7), matrix(hidden, rank, 1)],
    bias: bias === 0 ? new Float32Array(hidden) : values(hidden, bias),
  }))
}

function bridged(plan: Plan, bridges: readonly Bridge[]): SkipPolicy {
  return {
    kind: 'skip',
    spec: `bridged ${plan.join()}`,
    prompt: 'plan',
    everyToken: plan,
    plan: () => plan,
    bridges,
  }
}

async function write(
  model: string,
  format: ExportFormat,
  plan: Plan,
  bridges: readonly Bridge[],
  more: Partial<ExportOptions> = {},
): Promise<string> {
  const path = join(workspace.folder, `out-${written++}${format === 'gguf' ? '.gguf' : ''}`)
  await exportModel(model, plan, { format, path, bridges, threads: 1, card: { measured: [] }, ...more })
  return path
}

/** Largest difference of logits between the plan with its bridges and the checkpoint they are folded into. */
async function distance(whole: Model, plan: Plan, bridges: readonly Bridge[], path: string): Promise<number> {
  const folded = await workspace.load(path)
  const before = await whole.score(IDS, { promptLength: 4, depth: bridged(plan, bridges) })
  const after = await folded.score(IDS, { promptLength: 4, depth: 'full' })
  const plain = await whole.score(IDS, { promptLength: 4, depth: bridged(plan, []) })
  expect(largestDifference(before.logits, plain.logits)).toBeGreaterThan(0.02)
  return largestDifference(before.logits, after.logits)
}

describe.each([
  ['llama', { rank: 0 }],
  ['llama', { rank: 3 }],
  // A bias, and its place.
  ['llama-bias', { bias: 0.5 }],
  // Matrices that are stored as [columns, rows].
  ['gpt2', { bias: 0.5, rank: 4 }],
  // Branches side by side, and branches that are scaled.
  ['gpt-neox', { bias: 0.5 }],
  ['granite', {}],
])('%s with bridges %j', (name, options) => {
  it.each(['hf', 'gguf'] as const)('says folded what it says with them (%s)', async (format) => {
    const source = join(FIXTURES, name)
    const whole = await workspace.load(source, { kvType: 'f32' })
    const { layers, hidden } = whole.hyperparameters
    const plan = [0, layers - 2]
    const bridges = bridgesFor(plan, layers, hidden, options)
    expect(bridges).toHaveLength(2)
    const path = await write(source, format, plan, bridges, format === 'gguf' ? { quantization: 'f32' } : {})
    expect(await distance(whole, plan, bridges, path)).toBeLessThan(1e-3)
  })
})

describe('a GGUF file', () => {
  it.each([
    ['f32', 1e-3],
    // Logits have a deviation of 3 here, and every step of the two roundings shows.
    ['q8_0', 0.6],
  ] as const)('keeps the types of its matrices (%s)', async (quantization, most) => {
    const source = join(workspace.folder, `whole-${quantization}.gguf`)
    const { folder } = await workspace.random(3, { layers: 5, hidden: 64, feedForward: 96, tokenizer: true })
    await convertModel(folder, source, { quantization })
    const whole = await workspace.load(source, { kvType: 'f32' })
    const plan = [0, 1, 4]
    const bridges = bridgesFor(plan, 5, 64)
    const path = join(workspace.folder, `folded-${quantization}.gguf`)
    const result = await exportModel(source, plan, { format: 'gguf', path, bridges, card: { measured: [] } })
    expect(result).toMatchObject({ folded: [1], tensors: expect.any(Number) })
    expect(result.warnings.some((line) => /1 down projection was rounded to q8_0/.test(line))).toBe(
      quantization === 'q8_0',
    )
    expect(await distance(whole, plan, bridges, path)).toBeLessThan(most)
  })
})

describe('a folder', () => {
  it('changes the down projections below the gaps and no other tensor, and its card says so', async () => {
    const source = join(FIXTURES, 'llama')
    const plan = [0, 2]
    const path = await write(source, 'hf', plan, bridgesFor(plan, 5, 32).slice(0, 1))
    const [before, after] = [
      await openSafetensors(join(source, 'model.safetensors')),
      await openSafetensors(join(path, 'model.safetensors')),
    ]
    const changed: string[] = []
    for (const name of after.tensors.keys()) {
      const old = name.replace('layers.1.', 'layers.2.')
      expect(after.tensors.get(name)).toMatchObject({ dtype: before.tensors.get(old)!.dtype })
      const [a, b] = [await before.readFloats(old), await after.readFloats(name)]
      if (a.some((value, i) => value !== b[i])) changed.push(name)
    }
    await before.close()
    await after.close()
    expect(changed).toEqual(['model.layers.0.mlp.down_proj.weight'])
    expect(await readTextFile(join(path, 'README.md'))).toMatch(
      /folded into the down projections of layers\n0 of the base/,
    )
  })
})

describe('a folder in half precision', () => {
  it.each([
    ['BF16', 2 ** -8],
    ['F16', 2 ** -10],
  ] as const)('has the folded values rounded to %s', async (dtype, step) => {
    const { folder, weights } = await workspace.random(8, { layers: 4 })
    const type = dtype === 'BF16' ? 'bf16' : 'f16'
    const plain = await openSafetensors(join(folder, 'model.safetensors'))
    const tensors = [...plain.tensors.values()]
    await plain.close()
    const writer = await createSafetensorsWriter(
      join(folder, 'model.safetensors'),
      tensors.map(({ name, shape }) => ({ name, shape, dtype })),
    )
    for (const { name } of tensors) {
      const values = weights.get(name) as Float32Array
      const bytes = new Uint8Array(2 * values.length)
      quantize(type, values, 1, values.length, bytes)
      await writer.append(name, bytes)
    }
    await writer.finish()
    const plan = [0, 1, 3]
    const bridges = bridgesFor(plan, 4, 32)
    const path = await write(folder, 'hf', plan, bridges)
    const name = 'model.layers.1.mlp.down_proj.weight'
    const [before, after] = [
      await openSafetensors(join(folder, 'model.safetensors')),
      await openSafetensors(join(path, 'model.safetensors')),
    ]
    expect(after.tensors.get(name)).toMatchObject({ dtype, shape: [32, 48] })
    const [down, folded] = [await before.readFloats(name), await after.readFloats(name)]
    const map = new Float32Array(bridges[0]!.factors[0]!.data.buffer)
    for (let r = 0; r < 32; r++) {
      for (let c = 0; c < 48; c++) {
        let value = down[r * 48 + c]!
        for (let k = 0; k < 32; k++) value += map[r * 32 + k]! * down[k * 48 + c]!
        expect(Math.abs(folded[r * 48 + c]! - value)).toBeLessThanOrEqual(Math.abs(value) * step + 1e-6)
      }
    }
    await before.close()
    await after.close()
  })

  it('leaves nothing where the export is stopped while a bridge is folded', async () => {
    const stop = new AbortController()
    const path = join(workspace.folder, 'stopped')
    const ended = exportModel(join(FIXTURES, 'llama'), [0, 2], {
      format: 'hf',
      path,
      bridges: bridgesFor([0, 2], 5, 32),
      card: { measured: [] },
      signal: stop.signal,
    })
    stop.abort()
    await expect(ended).rejects.toMatchObject({ code: 'aborted' })
    expect(existsSync(path)).toBe(false)
  })
})

describe('what does not fold', () => {
  const all = async (name: string, options: Parameters<typeof bridgesFor>[3] = {}): Promise<string> => {
    const source = join(FIXTURES, name)
    const { layers, hidden } = (await workspace.load(source)).hyperparameters
    const plan = [0, layers - 1]
    return write(source, 'hf', plan, bridgesFor(plan, layers, hidden, options))
  }

  it.each([
    ['llama', { on: 'hidden' }, /bridge over layers? \S+ reads the hidden state.*shoal bridge --on mlp/],
    ['llama', { bias: 1 }, /has a bias, and the down projection of layer 0 has none; fit it again/],
    ['gemma2', {}, /does not fold into layer 0 of gemma2: a norm stands between its MLP and the residual stream/],
    ['olmo2', {}, /does not fold into layer 0 of olmo2: a norm stands/],
    ['opt-350m-postnorm', {}, /does not fold into layer 0 of opt: a norm follows the sum/],
    ['mixtral', {}, /does not fold into layer 0 of llama: its MLP is made of experts/],
  ])('is said in one line: %s %j', async (name, options, line) => {
    await expect(all(name, options)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(line),
    })
  })

  it('and bridges of another width or plan do not either', async () => {
    const source = join(FIXTURES, 'llama')
    await expect(write(source, 'hf', [0, 2], bridgesFor([0, 2], 5, 16))).rejects.toThrow(
      /is not one of 32 dimensions, which the model has/,
    )
    await expect(write(source, 'hf', [0, 1, 2], bridgesFor([0, 3], 5, 32))).rejects.toThrow(/does not stand over a gap/)
  })
})
