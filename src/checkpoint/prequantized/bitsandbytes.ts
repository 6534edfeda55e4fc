import { FileError } from '../../errors.js'
import { CONFIG_LIMITS, parseJsonObject } from '../../json.js'
import { ConfigReader } from '../config-reader.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { codedRows, exactTypeOf, SIGNED_BYTES } from './coded-matrix.js'
import { channelGrid } from './grid.js'
import { checkPart, elementCount, matrixShape, readScaleValues, requirePart } from './parts.js'
import type { QuantizedTensor, RowReader } from './quantized-tensor.js'

/** Longer than any state that bitsandbytes writes. */
const MAX_STATE_BYTES = 65_536

/** The 16 values of the two codes, each over the largest. */
const TABLES: Readonly<Record<FourBitType, readonly number[]>> = {
  nf4: [
    -1, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.091050036, 0, 0.0795803, 0.1609302, 0.2461123,
    0.33791524, 0.44070983, 0.562617, 0.72295684, 1,
  ],
  fp4: [0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3].map((value) => value / 12),
}

type FourBitType = 'nf4' | 'fp4'

/**
 * The matrices of a checkpoint of bitsandbytes. 8 bits: X.weight I8 [out, in] with X.SCB F32 [out], w = q * SCB / 127. 4
 * bits: X.weight holds two codes in a byte, the first in the upper half, over all rows; w = table[code] * absmax of its block.
 */
export async function bitsandbytesTensors(
  weights: TensorSource,
  quantization: ConfigReader,
): Promise<QuantizedTensor[]> {
  quantization.only('bnb_4bit_quant_type', ['nf4', 'fp4'])
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    if (part.name.endsWith('.SCB')) tensors.push(await byteTensor(weights, part))
    else if (part.name.endsWith('.absmax') && !part.name.endsWith('.nested_absmax')) {
      tensors.push(await fourBitTensor(weights, part))
    }
  }
  return tensors
}

async function byteTensor(weights: TensorSource, scale: SafetensorsTensor): Promise<QuantizedTensor> {
  const module = scale.name.slice(0, -'.SCB'.length)
  const part = requirePart(weights, `${module}.weight`, scale.name)
  checkPart(weights, part, ['I8'])
  const [rows, columns] = matrixShape(weights, part)
  checkPart(weights, scale, ['F32'], [rows])
  const format = weights.tensors.get(`${module}.weight_format`)
  if (format !== undefined) {
    checkPart(weights, format, ['U8', 'I8', 'I32', 'I64'], [], [1])
    const [layout] = await weights.readIntegers(format.name)
    if (layout !== 0) {
      throw new FileError(weights.fileOf(format.name), `tensor ${format.name} is ${layout}: only rows (0) are read`)
    }
  }
  const layout = { ...channelGrid(columns), columns, table: SIGNED_BYTES, groupOf: null }
  const readScales = async (start: number, count: number) => ({
    scales: (await readScaleValues(weights, scale, start, count)).map((value) => value / 127),
    zeros: null,
  })
  const exactType = exactTypeOf(layout, await readScales(0, rows))
  return {
    name: part.name,
    shape: [rows, columns],
    parts: [part, scale, format].flatMap((stored) => stored?.name ?? []),
    scheme: 'bitsandbytes int8',
    exactType,
    open: async () =>
      codedRows(
        {
          ...layout,
          readCodes: (start, count, into) =>
            weights.readBytes(part.name, start * columns, into.subarray(0, count * columns)),
          readScales,
        },
        exactType,
      ),
  }
}

interface FourBitState {
  readonly type: FourBitType
  readonly shape: readonly number[]
  readonly blockSize: number
  readonly nested: { readonly blockSize: number; readonly offset: number } | null
}

async function fourBitTensor(weights: TensorSource, absmax: SafetensorsTensor): Promise<QuantizedTensor> {
  const name = absmax.name.slice(0, -'.absmax'.length)
  const part = requirePart(weights, name, absmax.name)
  const stateName = (['nf4', 'fp4'] as const)
    .map((type) => `${name}.quant_state.bitsandbytes__${type}`)
    .find((name) => weights.tensors.has(name))
  if (stateName === undefined) requirePart(weights, `${name}.quant_state.bitsandbytes__nf4`, name)
  const statePart = weights.tensors.get(stateName!)!
  const state = await readState(weights, statePart)
  const { type, shape, blockSize, nested } = state
  const elements = elementCount(shape)
  if (part.bytes !== Math.ceil(elements / 2)) {
    throw new FileError(
      weights.fileOf(name),
      `tensor ${name} has ${part.bytes} bytes, ${statePart.name} says [${shape.join(', ')}], which takes ${Math.ceil(elements / 2)}`,
    )
  }
  const map = requirePart(weights, `${name}.quant_map`, name)
  checkPart(weights, map, ['F32'], [16])
  const table = await readScaleValues(weights, map)
  if (TABLES[type].some((value, i) => Math.abs(value - table[i]!) > 1e-6)) {
    throw new FileError(weights.fileOf(map.name), `tensor ${map.name} is not the table of ${type}`)
  }
  const blocks = Math.ceil(elements / blockSize)
  checkPart(weights, absmax, nested === null ? ['F32'] : ['U8'], [blocks], [blocks, 1])
  const parts = [name, absmax.name, map.name, statePart.name]
  if (nested !== null) {
    const nestedAbsmax = requirePart(weights, `${name}.nested_absmax`, name)
    checkPart(weights, nestedAbsmax, ['F32'], [Math.ceil(blocks / nested.blockSize)])
    const nestedMap = requirePart(weights, `${name}.nested_quant_map`, name)
    checkPart(weights, nestedMap, ['F32'], [256])
    parts.push(nestedAbsmax.name, nestedMap.name)
  }
  return {
    name,
    shape,
    parts,
    scheme: `bitsandbytes ${type}`,
    exactType: null,
    open: async () => fourBitRows(weights, name, state, table, await readAbsmax(weights, absmax, name, state)),
  }
}

/** The state that bitsandbytes packs as a tensor of the bytes of a JSON object. */
async function readState(weights: TensorSource, part: SafetensorsTensor): Promise<FourBitState> {
  const path = weights.fileOf(part.name)
  checkPart(weights, part, ['U8'])
  if (part.bytes > MAX_STATE_BYTES)
    throw new FileError(path, `tensor ${part.name} of ${part.bytes} bytes is no quant_state`)
  const bytes = new Uint8Array(part.bytes)
  await weights.readBytes(part.name, 0, bytes)
  const json = parseJsonObject(path, new TextDecoder().decode(bytes), `tensor ${part.name}`, CONFIG_LIMITS)
  const fields = new ConfigReader(path, json, `${part.name}: `)
  const type = fields.string('quant_type')
  if (!part.name.endsWith(`__${type}`) || (type !== 'nf4' && type !== 'fp4')) throw fields.unsupported('quant_type')
  const shape: unknown = json.shape
  if (!Array.isArray(shape) || shape.length < 2 || !shape.every(isSize) || !Number.isSafeInteger(elementCount(shape))) {
    throw new FileError(path, `tensor ${part.name}: its shape is not that of a matrix`)
  }
  const nested =
    fields.has('nested_blocksize') || weights.tensors.has(part.name.replace(/quant_state.*$/, 'nested_absmax'))
  fields.only('nested_dtype', ['float32'])
  return {
    type,
    shape,
    blockSize: fields.count('blocksize'),
    nested: nested ? { blockSize: fields.count('nested_blocksize'), offset: fields.number('nested_offset') } : null,
  }
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0
}

/** The largest magnitude of each block, itself quantised where `nested`. */
async function readAbsmax(
  weights: TensorSource,
  absmax: SafetensorsTensor,
  name: string,
  { nested }: FourBitState,
): Promise<Float32Array> {
  if (nested === null) return readScaleValues(weights, absmax)
  const codes = new Uint8Array(absmax.bytes)
  await weights.readBytes(absmax.name, 0, codes)
  const table = await readScaleValues(weights, weights.tensors.get(`${name}.nested_quant_map`)!)
  const scales = await readScaleValues(weights, weights.tensors.get(`${name}.nested_absmax`)!)
  const offset = Math.fround(nested.offset)
  return Float32Array.from(codes, (code, i) => {
    return Math.fround(table[code]! * scales[Math.floor(i / nested.blockSize)]!) + offset
  })
}

function fourBitRows(
  weights: TensorSource,
  name: string,
  { shape, blockSize }: FourBitState,
  table: Float32Array,
  absmax: Float32Array,
): RowReader {
  const columns = shape.at(-1)!
  return {
    async readFloats(start, count, out) {
      const first = start * columns
      const end = first + count * columns
      // Rows may begin and end in the middle of a byte.
      const firstByte = Math.floor(first / 2)
      const bytes = new Uint8Array(Math.ceil(end / 2) - firstByte)
      await weights.readBytes(name, firstByte, bytes)
      for (let i = first; i < end; i++) {
        const byte = bytes[Math.floor(i / 2) - firstByte]!
        out[i - first] = table[i % 2 === 0 ? byte >> 4 : byte & 15]! * absmax[Math.floor(i / blockSize)]!
      }
    },
    readBlocks: () => Promise.reject(new TypeError('no type keeps this matrix')),
  }
}
