import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { dequantize } from '../../ggml/dequantize.js'
import { readConfig } from '../huggingface.js'
import { openSafetensors, type TensorSource } from '../safetensors.js'
import { openWeights } from '../sharded.js'
import { rowBytes, type TensorType } from '../tensor-type.js'
import { openPrequantized } from './open.js'
import type { PrequantizedSource } from './view.js'

const FIXTURES = 'test/fixtures/prequantized'
const FOLDERS = readdirSync(FIXTURES, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? entry.name : [],
)

/** What each folder's matrices are kept as; null where no type keeps them. */
const TYPES: Readonly<Record<string, TensorType | null>> = {
  'auto-round-gptq': 'q4_0',
  'auto-round-own': 'q5_0',
  'awq-4': 'q5_0',
  'awq-4-one-group': 'q5_0',
  'awq-4-zeros-8': 'q4_0',
  'bnb-fp4': null,
  'bnb-int8': null,
  'bnb-nf4': null,
  'bnb-nf4-double': null,
  'ct-fp8-block': null,
  'ct-fp8-channel': null,
  'ct-fp8-tensor': null,
  'ct-int3-asym': 'q4_0',
  'ct-int3-asym-old': 'q4_0',
  'ct-int4-actorder': null,
  'ct-int4-asym': 'q5_0',
  'ct-int4-sym': 'q4_0',
  'ct-int4-sym-f32': null,
  'ct-int6-asym': 'q8_0',
  'ct-int8-asym': null,
  'ct-int8-block': 'q8_0',
  'ct-int8-channel': 'q8_0',
  'ct-int8-packed': 'q8_0',
  'ct-int8-tensor': null,
  'ct-mxfp4': 'mxfp4',
  'ct-mxfp8': 'f16',
  'ct-nvfp4': null,
  'fp8-block': null,
  'fp8-block-e8m0': 'f16',
  'fp8-experts': null,
  'fp8-mistral': null,
  'fp8-tensor': null,
  'gptq-2-asym': 'q4_0',
  'gptq-3-asym': 'q4_0',
  'gptq-4-asym-v2': 'q5_0',
  'gptq-4-desc-act': null,
  'gptq-4-group-16': null,
  'gptq-4-one-group': 'q4_0',
  'gptq-4-sym': 'q4_0',
  'gptq-8-asym': null,
  'gptq-8-sym': 'q8_0',
  'gptq-dynamic': null,
  'modelopt-fp8': null,
  'modelopt-nvfp4': null,
  mxfp4: 'mxfp4',
}

const open: TensorSource[] = []
afterEach(async () => {
  for (const source of open.splice(0)) await source.close()
})

async function openFolder(name: string): Promise<{ view: PrequantizedSource; expected: TensorSource }> {
  const folder = join(FIXTURES, name)
  const weights = await openWeights(folder)
  open.push(weights)
  const view = await openPrequantized(await readConfig(folder), weights)
  const expected = await openSafetensors(join(folder, 'expected.safetensors'))
  open.push(expected)
  return { view, expected }
}

function dimensions(shape: readonly number[]): { rows: number; columns: number } {
  return { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), columns: shape.at(-1)! }
}

it('knows every fixture', () => {
  expect(Object.keys(TYPES).sort()).toEqual([...FOLDERS].sort())
})

describe.each(FOLDERS)('%s', (name) => {
  it('has the values that its own library reads', async () => {
    const { view, expected } = await openFolder(name)
    for (const { name, shape } of expected.tensors.values()) {
      expect(view.tensors.get(name)).toMatchObject({ shape, dtype: 'F32' })
      const values = await view.readFloats(name)
      const known = await expected.readFloats(name)
      expect(values).toHaveLength(known.length)
      let largest = 0
      for (const [i, value] of values.entries()) {
        const other = known[i]!
        if (value !== other) largest = Math.max(largest, Math.abs(value - other) / Math.abs(other))
      }
      expect(largest).toBeLessThan(3e-7)
    }
  })

  it('gives ranges of rows as they are in the whole', async () => {
    const { view, expected } = await openFolder(name)
    for (const { name, shape } of expected.tensors.values()) {
      const { rows, columns } = dimensions(shape)
      const whole = await view.readFloats(name)
      const property = fc.asyncProperty(fc.nat(rows), fc.nat(rows), async (a, b) => {
        const [start, end] = [Math.min(a, b), Math.max(a, b)]
        const out = new Float32Array((end - start) * columns + 3)
        const part = await view.readFloats(name, { start, count: end - start }, out)
        expect(part).toEqual(whole.subarray(start * columns, end * columns))
      })
      await fc.assert(property, { numRuns: 12 })
    }
  })

  it('keeps every bit in blocks of the type, where there is one', async () => {
    const { view, expected } = await openFolder(name)
    const [first] = expected.tensors.keys()
    expect(view.exactBlocks?.(first!)?.type ?? null).toBe(TYPES[name])
    for (const { name, shape } of expected.tensors.values()) {
      const blocks = view.exactBlocks?.(name) ?? null
      if (blocks === null) continue
      const { rows, columns } = dimensions(shape)
      const values = await view.readFloats(name)
      const bytes = new Uint8Array(rowBytes(blocks.type, columns) * rows)
      await blocks.readRows({ start: 0, count: rows }, bytes)
      const decoded = new Float32Array(rows * columns)
      dequantize(blocks.type, bytes, rows, columns, decoded)
      // ggml's table of E2M1 numbers has no -0.
      expect(decoded).toEqual(values.map((value) => value + 0))
      const some = new Uint8Array(rowBytes(blocks.type, columns) * 3)
      await blocks.readRows({ start: 5, count: 3 }, some)
      expect(some).toEqual(bytes.subarray(rowBytes(blocks.type, columns) * 5).subarray(0, some.length))
    }
  })

  it('shows no parts, and what is not quantised as it is', async () => {
    const { view, expected } = await openFolder(name)
    const others = [...view.tensors.keys()].filter((name) => !expected.tensors.has(name) && !name.endsWith('_bias'))
    expect(others).toEqual(['model.norm.weight'])
    expect(await view.readFloats('model.norm.weight')).toEqual(new Float32Array(4).fill(1))
    expect(view.exactBlocks?.('model.norm.weight')).toBeNull()
    expect(view.fallbackType).toBe(TYPES[name] === null ? 'f16' : null)
  })
})

it('says what becomes of the matrices', async () => {
  expect((await openFolder('gptq-dynamic')).view.summary).toBe(
    'GPTQ 8-bit: 1 matrix becomes f16 (no GGUF type keeps the values); GPTQ 4-bit: 1 matrix kept exactly as q4_0',
  )
  expect((await openFolder('mxfp4')).view.summary).toBe('MXFP4: 2 matrices kept exactly as mxfp4')
})

it('holds one matrix at a time, and gives them to all who ask at once', async () => {
  const { view, expected } = await openFolder('gptq-dynamic')
  const names = [...expected.tensors.keys()]
  const known = [await expected.readFloats(names[0]!), await expected.readFloats(names[1]!)]
  const all = await Promise.all([0, 1, 0, 1, 0].map((i) => view.readFloats(names[i]!)))
  expect(all).toEqual([0, 1, 0, 1, 0].map((i) => known[i]))
})

it('is the source itself where nothing is quantised', async () => {
  const folder = 'test/fixtures/checkpoints/llama'
  const weights = await openWeights(folder)
  open.push(weights)
  const view = await openPrequantized(await readConfig(folder), weights)
  expect(view).toMatchObject({ summary: null, fallbackType: null })
  expect(view.tensors).toBe(weights.tensors)
})

it('refuses rows, buffers and bytes that there are not', async () => {
  const { view, expected } = await openFolder('gptq-4-sym')
  const [name] = expected.tensors.keys()
  await expect(view.readFloats(name!, { start: 30, count: 3 })).rejects.toThrow('has 32 rows, not 30 .. 32')
  await expect(view.readFloats(name!, undefined, new Float32Array(9))).rejects.toThrow('3072 values do not fit 9')
  const blocks = view.exactBlocks?.(name!)
  await expect(blocks?.readRows({ start: 0, count: 32 }, new Uint8Array(9))).rejects.toThrow('1728 bytes do not fit 9')
  await expect(view.readBytes(name!, 0, new Uint8Array(1))).rejects.toThrow('is quantised')
  await expect(view.readIntegers(name!)).rejects.toThrow('is quantised')
  await expect(view.readFloats('absent')).rejects.toThrow('has no tensor absent')
  expect(() => view.fileOf(name!)).not.toThrow()
})
