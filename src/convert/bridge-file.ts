import { createHash } from 'node:crypto'
import { openReader } from '../checkpoint/file-reader.js'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { createGgufWriter, type GgufTensorDeclaration } from '../checkpoint/gguf-write.js'
import { checkUnchanged } from '../checkpoint/regular-file.js'
import { rowBytes } from '../checkpoint/tensor-type.js'
import {
  BRIDGE_TYPES,
  type Bridge,
  type BridgeMatrix,
  type BridgeSet,
  type BridgeType,
  checkBridges,
  checkLens,
} from '../depth/bridge.js'
import { checkPlan, type Plan } from '../depth/plan.js'
import { FileError, ShoalError } from '../errors.js'
import { dequantize } from '../ggml/dequantize.js'
import { checkValues } from './check-values.js'

/** `general.architecture` of files of bridges. */
export const BRIDGE_ARCHITECTURE = 'shoal-bridge'

const VERSION = 1
/** Far more than any model has. */
const MOST_HIDDEN = 1 << 20
/** Values that are checked at a time. */
const BLOCK_VALUES = 1 << 20

/** What a file of bridges says beside the maps: numbers by name, in nats per token where they are losses. */
export type BridgeFigures = Readonly<Record<string, number>>

/** A file of bridges to be written. */
export interface BridgeFile {
  /** The plan whose gaps they stand over; null for a lens, whose bridges lead to the end of the model. */
  readonly plan: Plan | null
  readonly layers: number
  readonly hidden: number
  readonly bridges: readonly Bridge[]
  readonly model: { readonly name: string; readonly fingerprint: string; readonly quantization: string }
  /** SHA-256 of the texts that they were fitted on. */
  readonly texts: string
  readonly figures: BridgeFigures
}

/** Writes bridges as a GGUF file, which appears whole or not at all. */
export async function writeBridgeFile(path: string, file: BridgeFile): Promise<void> {
  const { bridges, model, figures } = file
  const tensors = bridges.flatMap((bridge, i) => tensorsOf(bridge, i))
  const key = (name: string): string => `${BRIDGE_ARCHITECTURE}.${name}`
  const numbers = (value: readonly number[]): GgufValue => ({ type: 'array', of: 'int32', value })
  const entries: [string, GgufValue][] = [
    ['general.architecture', text(BRIDGE_ARCHITECTURE)],
    ['general.name', text(`bridges of ${model.name}`)],
    [key('version'), count(VERSION)],
    [key('kind'), text(file.plan === null ? 'lens' : 'plan')],
    [key('layers'), count(file.layers)],
    [key('hidden'), count(file.hidden)],
    ...(file.plan === null ? [] : ([[key('plan'), numbers(file.plan)]] satisfies [string, GgufValue][])),
    [key('from'), numbers(bridges.map(({ from }) => from))],
    [key('to'), numbers(bridges.map(({ to }) => to))],
    [key('on'), { type: 'array', of: 'string', value: bridges.map(({ on }) => on) }],
    [key('model.name'), text(model.name)],
    [key('model.fingerprint'), text(model.fingerprint)],
    [key('model.quantization'), text(model.quantization)],
    [key('texts.sha256'), text(file.texts)],
    ...Object.entries(figures).map(([name, value]): [string, GgufValue] => [
      key(`figures.${name}`),
      { type: 'float64', value },
    ]),
  ]
  const declared = tensors.map(({ name, shape, type }): GgufTensorDeclaration => ({ name, shape, type }))
  const writer = await createGgufWriter(path, new GgufMetadata('', entries), declared)
  try {
    for (const { name, data } of tensors) await writer.append(name, data)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}

/** Reads and checks a file of bridges. Throws FileError. */
export async function readBridgeFile(path: string): Promise<BridgeSet> {
  const gguf = await readGguf(path)
  const { metadata } = gguf
  if (!isBridgeFile(gguf)) throw new FileError(path, 'is a GGUF file, and holds no bridges')
  const key = (name: string): string => `${BRIDGE_ARCHITECTURE}.${name}`
  const version = metadata.count(key('version'))
  if (version !== VERSION)
    throw new FileError(path, `holds bridges of version ${version}, and ${VERSION} is known here`)
  const layers = metadata.count(key('layers'))
  const hidden = metadata.count(key('hidden'))
  if (layers < 1 || layers > 100_000 || hidden < 1 || hidden > MOST_HIDDEN) {
    throw new FileError(path, `is for a model of ${layers} layers and ${hidden} dimensions, which cannot be`)
  }
  const kind = metadata.string(key('kind'))
  if (kind !== 'plan' && kind !== 'lens') throw new FileError(path, `metadata key ${key('kind')} must be plan or lens`)
  const from = integers(metadata, key('from'))
  const to = integers(metadata, key('to'))
  const on = metadata.strings(key('on'))
  if (from.length !== to.length || from.length !== on.length || from.length > layers + 1) {
    throw new FileError(path, 'does not say of every bridge which layers it stands over')
  }
  const plan = kind === 'lens' ? null : integers(metadata, key('plan'))
  const reader = await openReader(path)
  const hash = createHash('sha256')
  try {
    checkUnchanged(path, gguf.parts[0] as GgufFile['parts'][number], reader)
    const read = async (tensor: GgufTensor): Promise<Uint8Array> => {
      const data = new Uint8Array(tensor.bytes)
      await reader.read(data, tensor.offset)
      hash.update(`${tensor.name} ${tensor.type} ${tensor.shape.join()}\n`).update(data)
      return data
    }
    const bridges: Bridge[] = []
    for (const [i, start] of from.entries()) {
      const input = on[i]
      if (input !== 'hidden' && input !== 'mlp') throw new FileError(path, `bridge ${i} reads neither hidden nor mlp`)
      const names = gguf.tensors.has(`bridge.${i}.weight`) ? ['weight'] : ['down', 'up']
      const tensors = names.map((name) => matrixOf(gguf, `bridge.${i}.${name}`, hidden))
      const bias = vectorOf(gguf, `bridge.${i}.bias`, hidden)
      const factors: BridgeMatrix[] = []
      for (const tensor of tensors) {
        const [columns = 0, rows = 0] = tensor.shape
        const matrix = { type: tensor.type as BridgeType, columns, rows, data: await read(tensor) }
        checkFinite(path, tensor.name, matrix)
        factors.push(matrix)
      }
      const values = new Float32Array((await read(bias)).buffer)
      if (!values.every(Number.isFinite)) throw new FileError(path, `tensor ${bias.name} holds what is no number`)
      bridges.push({ from: start, to: to[i] as number, on: input, factors, bias: values })
    }
    check(path, { plan, layers, hidden, bridges })
    return {
      path,
      source: hash.update(JSON.stringify({ plan, from, to, on })).digest('hex'),
      layers,
      hidden,
      plan,
      model: optional(metadata, key('model.fingerprint')),
      modelName: optional(metadata, key('model.name')),
      bridges,
    }
  } finally {
    await reader.close()
  }
}

export function isBridgeFile({ metadata }: GgufFile): boolean {
  const architecture = metadata.values.get('general.architecture')
  return architecture?.type === 'string' && architecture.value === BRIDGE_ARCHITECTURE
}

function check(
  path: string,
  { plan, layers, hidden, bridges }: Pick<BridgeSet, 'plan' | 'layers' | 'hidden' | 'bridges'>,
): void {
  try {
    if (plan !== null) {
      checkPlan(plan, layers, 'its plan')
      checkBridges(bridges, plan, layers, hidden)
    } else checkLens(bridges, layers, hidden)
    const starts = bridges.map(({ from }) => from)
    if (new Set(starts).size < starts.length) throw new FileError(path, 'has two bridges from one layer')
  } catch (error) {
    if (error instanceof FileError || !(error instanceof ShoalError)) throw error
    throw new FileError(path, error.message, 'file_invalid', { cause: error })
  }
}

function tensorsOf(bridge: Bridge, index: number): (GgufTensorDeclaration & { readonly data: Uint8Array })[] {
  const { factors, bias } = bridge
  const names = factors.length === 1 ? ['weight'] : ['down', 'up']
  return [
    ...factors.map(({ type, columns, rows, data }, i) => ({
      name: `bridge.${index}.${names[i]}`,
      type,
      shape: [columns, rows],
      data,
    })),
    {
      name: `bridge.${index}.bias`,
      type: 'f32',
      shape: [bias.length],
      data: new Uint8Array(bias.buffer, bias.byteOffset, bias.byteLength),
    },
  ]
}

function matrixOf(gguf: GgufFile, name: string, hidden: number): GgufTensor {
  const tensor = gguf.tensors.get(name)
  if (tensor === undefined) throw new FileError(gguf.path, `has no tensor ${name}`)
  const [columns = 0, rows = 0, ...more] = tensor.shape
  const sensible = more.every((n) => n === 1) && columns <= hidden && rows <= hidden && columns > 0 && rows > 0
  if (!sensible || !BRIDGE_TYPES.includes(tensor.type as BridgeType)) {
    throw new FileError(gguf.path, `tensor ${name} is no map of ${hidden} dimensions in ${BRIDGE_TYPES.join(', ')}`)
  }
  return tensor
}

function vectorOf(gguf: GgufFile, name: string, hidden: number): GgufTensor {
  const tensor = gguf.tensors.get(name)
  if (tensor === undefined) throw new FileError(gguf.path, `has no tensor ${name}`)
  const [length = 0, ...more] = tensor.shape
  if (tensor.type !== 'f32' || length !== hidden || !more.every((n) => n === 1)) {
    throw new FileError(gguf.path, `tensor ${name} is no vector of ${hidden} numbers in f32`)
  }
  return tensor
}

/** One NaN in a map would be in every row that a bridge gives. */
function checkFinite(path: string, tensor: string, { type, columns, rows, data }: BridgeMatrix): void {
  const width = rowBytes(type, columns)
  const height = Math.min(rows, Math.ceil(BLOCK_VALUES / columns))
  const values = new Float32Array(height * columns)
  for (let start = 0; start < rows; start += height) {
    const count = Math.min(height, rows - start)
    dequantize(type, data.subarray(start * width, (start + count) * width), count, columns, values)
    checkValues(path, tensor, values.subarray(0, count * columns), 'f32')
  }
}

function integers(metadata: GgufMetadata, key: string): number[] {
  const value = metadata.values.get(key)
  const list = value?.type === 'array' && value.of !== 'string' ? Array.from(value.value) : null
  if (list === null || !list.every(Number.isSafeInteger)) {
    throw new FileError(metadata.path, `metadata key ${key} must be a list of whole numbers`)
  }
  return list
}

function optional(metadata: GgufMetadata, key: string): string | null {
  return metadata.has(key) ? metadata.string(key) : null
}

function text(value: string): GgufValue {
  return { type: 'string', value }
}

function count(value: number): GgufValue {
  return { type: 'uint32', value }
}
