import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { createGgufWriter, type GgufTensorDeclaration } from '../checkpoint/gguf-write.js'
import type { Bridge, BridgeType } from '../depth/bridge.js'
import { ShoalError } from '../errors.js'
import { quantize } from '../ggml/quantize.js'
import { type BridgeFile, readBridgeFile, writeBridgeFile } from './bridge-file.js'

const LAYERS = 8
const HIDDEN = 32
const PLAN = [0, 1, 4, 7]

const workspace = useWorkspace()
let count = 0
const fresh = (): string => join(workspace.folder, `${count++}.bridge.gguf`)

function matrix(type: BridgeType, rows = HIDDEN, columns = HIDDEN, value = 0.01): Bridge['factors'][number] {
  const values = new Float32Array(rows * columns).fill(value)
  const data = new Uint8Array(
    type === 'f32' ? 4 * values.length : type === 'f16' ? 2 * values.length : (values.length / 32) * 34,
  )
  quantize(type, values, rows, columns, data)
  return { type, rows, columns, data }
}

function bridge(from: number, to: number, ...factors: Bridge['factors']): Bridge {
  return {
    from,
    to,
    on: 'mlp',
    factors: factors.length > 0 ? factors : [matrix('q8_0')],
    bias: new Float32Array(HIDDEN),
  }
}

async function written(more: Partial<BridgeFile> = {}): Promise<string> {
  const path = fresh()
  await writeBridgeFile(path, {
    plan: PLAN,
    layers: LAYERS,
    hidden: HIDDEN,
    bridges: [bridge(1, 4), bridge(4, 7, matrix('f16', 4, HIDDEN), matrix('f32', HIDDEN, 4))],
    model: { name: 'model', fingerprint: 'abc', quantization: 'f32' },
    texts: 'def',
    figures: { full: 1 },
    ...more,
  })
  return path
}

/** The file with other metadata, tensors declared otherwise, or tensors left out (null). */
async function changed(
  keys: Readonly<Record<string, GgufValue | null>>,
  tensors: Readonly<Record<string, Partial<GgufTensorDeclaration> | null>> = {},
): Promise<string> {
  const source = await readGguf(await written())
  const entries = new Map<string, GgufValue>(source.metadata.values)
  for (const [key, value] of Object.entries(keys)) {
    const name = key.includes('.') ? key : `shoal-bridge.${key}`
    if (value === null) entries.delete(name)
    else entries.set(name, value)
  }
  const kept = [...source.tensors.values()].filter(({ name }) => tensors[name] !== null)
  const declared = kept.map(({ name, shape, type }) => ({ name, shape, type, ...tensors[name] }))
  const path = fresh()
  const writer = await createGgufWriter(path, new GgufMetadata('', entries), declared)
  const bytes = readFileSync(source.path)
  for (const [i, { offset, bytes: length }] of kept.entries()) {
    const { name, shape, type } = declared[i]!
    const size =
      shape.reduce((n, m) => n * m, 1) *
      ({ f32: 4, f16: 2, q8_0: 34 / 32, q4_0: 18 / 32, i32: 4 } as Record<string, number>)[type]!
    const data = new Uint8Array(size)
    data.set(bytes.subarray(offset, offset + Math.min(length, size)))
    await writer.append(name, data)
  }
  await writer.finish()
  return path
}

/** The file with bytes of a tensor replaced. */
async function withBytes(tensor: string, at: number, value: Uint8Array): Promise<string> {
  const path = await written()
  const { offset } = (await readGguf(path)).tensors.get(tensor) as { offset: number }
  const bytes = readFileSync(path)
  bytes.set(value, offset + at)
  writeFileSync(path, bytes)
  return path
}

const text = (value: string): GgufValue => ({ type: 'string', value })
const number = (value: number): GgufValue => ({ type: 'uint32', value })
const list = (...value: number[]): GgufValue => ({ type: 'array', of: 'int32', value })
const texts = (...value: string[]): GgufValue => ({ type: 'array', of: 'string', value })

describe('a file of bridges', () => {
  it('gives back what was written', async () => {
    const set = await readBridgeFile(await written())
    expect(set).toMatchObject({ plan: PLAN, layers: LAYERS, hidden: HIDDEN, model: 'abc', modelName: 'model' })
    expect(set.bridges.map(({ factors }) => factors.map(({ type, rows, columns }) => [type, rows, columns]))).toEqual([
      [['q8_0', 32, 32]],
      [
        ['f16', 4, 32],
        ['f32', 32, 4],
      ],
    ])
  })

  it('is another source where any byte of a map is another', async () => {
    const { source } = await readBridgeFile(await written())
    expect((await readBridgeFile(await written())).source).toBe(source)
    const other = await withBytes('bridge.0.weight', 40, new Uint8Array([7]))
    expect((await readBridgeFile(other)).source).not.toBe(source)
  })
})

type Made = () => Promise<string>
const NAN16 = new Uint8Array([0x00, 0x7e])
const HOSTILE: readonly (readonly [string, Made, RegExp])[] = [
  ['is of another kind', () => changed({ 'general.architecture': text('llama') }), /holds no bridges/],
  ['has another version', () => changed({ version: number(9) }), /version 9/],
  ['has no version', () => changed({ version: null }), /shoal-bridge\.version/],
  ['has no layers', () => changed({ layers: number(0) }), /0 layers and 32 dimensions, which cannot be/],
  ['has too many layers', () => changed({ layers: number(4e9) }), /layers and 32 dimensions, which cannot be/],
  ['has no dimensions', () => changed({ hidden: number(0) }), /0 dimensions, which cannot be/],
  ['has too many dimensions', () => changed({ hidden: number(4e9) }), /which cannot be/],
  ['has other dimensions', () => changed({ hidden: number(64) }), /tensor bridge\.0\.(weight|bias)|64 dimensions/],
  ['is of no known kind', () => changed({ kind: text('other') }), /must be plan or lens/],
  ['counts layers in words', () => changed({ from: texts('1', '4') }), /must be a list of whole numbers/],
  ['has half a layer', () => changed({ from: { type: 'array', of: 'float32', value: [1.5, 4] } }), /whole numbers/],
  ['has one end too few', () => changed({ to: list(4) }), /does not say of every bridge/],
  [
    'has more bridges than gaps',
    () => changed({ from: list(1, 4, 7), to: list(4, 7, 8), on: texts('mlp', 'mlp', 'mlp') }),
    /bridge\.2|does not stand/,
  ],
  [
    'has a hundred thousand bridges',
    () =>
      changed({
        from: list(...Array.from({ length: 1e5 }, () => 1)),
        to: list(...Array.from({ length: 1e5 }, () => 4)),
      }),
    /does not say of every bridge/,
  ],
  ['begins below the model', () => changed({ from: list(-2, 4) }), /does not stand over a gap/],
  ['begins above the model', () => changed({ from: list(99, 4) }), /does not stand over a gap/],
  ['ends above the model', () => changed({ to: list(99, 7) }), /does not stand over a gap/],
  ['ends below where it begins', () => changed({ to: list(0, 7) }), /does not stand over a gap/],
  ['stands on layers that run', () => changed({ from: list(0, 4), to: list(1, 7) }), /does not stand over a gap/],
  ['has two bridges from a layer', () => changed({ from: list(1, 1), to: list(4, 4) }), /two bridges from one layer/],
  ['has a plan that goes down', () => changed({ plan: list(4, 1, 0, 7) }), /plan/],
  ['has a plan with a layer twice', () => changed({ plan: list(0, 1, 1, 4, 7) }), /plan/],
  ['has a plan with a layer that is not there', () => changed({ plan: list(0, 1, 4, 99) }), /plan/],
  ['has an empty plan', () => changed({ plan: list() }), /plan/],
  ['has no plan', () => changed({ plan: null }), /shoal-bridge\.plan/],
  ['reads something else', () => changed({ on: texts('mlp', 'attention') }), /bridge 1 reads neither hidden nor mlp/],
  ['lacks a matrix', () => changed({}, { 'bridge.0.weight': null }), /has no tensor bridge\.0\.down/],
  ['lacks half of a map', () => changed({}, { 'bridge.1.up': null }), /has no tensor bridge\.1\.up/],
  ['lacks a bias', () => changed({}, { 'bridge.0.bias': null }), /has no tensor bridge\.0\.bias/],
  [
    'has a matrix of another type',
    () => changed({}, { 'bridge.0.weight': { type: 'q4_0' } }),
    /no map of 32 dimensions/,
  ],
  ['has a matrix of integers', () => changed({}, { 'bridge.0.weight': { type: 'i32' } }), /no map of 32 dimensions/],
  ['has a flat matrix', () => changed({}, { 'bridge.0.weight': { shape: [1024] } }), /no map of 32 dimensions/],
  [
    'has a matrix of three dimensions',
    () => changed({}, { 'bridge.0.weight': { shape: [32, 16, 2] } }),
    /no map of 32/,
  ],
  ['has a matrix that is wider', () => changed({}, { 'bridge.0.weight': { shape: [64, 16] } }), /no map of 32/],
  [
    'has a matrix that is lower',
    () => changed({}, { 'bridge.0.weight': { shape: [32, 16] } }),
    /not one of 32 dimensions/,
  ],
  [
    'has factors that do not meet',
    () => changed({}, { 'bridge.1.up': { shape: [8, 16] } }),
    /not one of 32 dimensions/,
  ],
  [
    'has a bias of another type',
    () => changed({}, { 'bridge.0.bias': { type: 'f16' } }),
    /no vector of 32 numbers in f32/,
  ],
  ['has a longer bias', () => changed({}, { 'bridge.0.bias': { shape: [33] } }), /no vector of 32 numbers/],
  [
    'has NaN in a bias',
    () => withBytes('bridge.0.bias', 4, new Uint8Array([0, 0, 0xc0, 0x7f])),
    /bridge\.0\.bias holds/,
  ],
  [
    'has an infinity in a bias',
    () => withBytes('bridge.1.bias', 4, new Uint8Array([0, 0, 0x80, 0x7f])),
    /bridge\.1\.bias holds/,
  ],
  ['has NaN for a scale of q8_0', () => withBytes('bridge.0.weight', 34, NAN16), /tensor bridge\.0\.weight holds/],
  ['has NaN in f16', () => withBytes('bridge.1.down', 10, NAN16), /tensor bridge\.1\.down holds/],
  [
    'has NaN in f32',
    () => withBytes('bridge.1.up', 8, new Uint8Array([0, 0, 0xc0, 0xff])),
    /tensor bridge\.1\.up holds/,
  ],
  [
    'has an infinity in f16',
    () => withBytes('bridge.1.down', 10, new Uint8Array([0, 0x7c])),
    /tensor bridge\.1\.down holds/,
  ],
]

describe('a file of bridges that', () => {
  it.each(HOSTILE)('%s is refused in one line that names it', async (_, make, line) => {
    const path = await make()
    const error: unknown = await readBridgeFile(path).then(
      () => null,
      (reason: unknown) => reason,
    )
    expect(error).toBeInstanceOf(ShoalError)
    const { message } = error as ShoalError
    expect(message).toContain(path)
    expect(message.slice(path.length)).toMatch(line)
    expect(message).not.toContain('\n')
  })

  describe('is cut', () => {
    let whole: Buffer
    let gguf: GgufFile
    beforeAll(async () => {
      const path = await written()
      whole = readFileSync(path)
      gguf = await readGguf(path)
    })

    it('anywhere, or has any of its lengths and offsets changed, is refused or reads as numbers', async () => {
      const start = Math.min(...[...gguf.tensors.values()].map(({ offset }) => offset))
      for (let i = 0; i < 60; i++) {
        const path = fresh()
        writeFileSync(path, whole.subarray(0, Math.floor((whole.length * i) / 60)))
        await expect(readBridgeFile(path)).rejects.toBeInstanceOf(ShoalError)
      }
      for (let at = 0; at < start; at += 7) {
        for (const value of [0, 0xff, (whole[at] as number) ^ 1]) {
          const bytes = Buffer.from(whole)
          bytes[at] = value
          const path = fresh()
          writeFileSync(path, bytes)
          const ended = await readBridgeFile(path).catch((reason: unknown) => reason)
          if (ended instanceof Error) expect(ended).toBeInstanceOf(ShoalError)
        }
      }
    }, 60_000)
  })
})
