import { FileError } from '../../errors.js'
import type { ConfigReader } from '../config-reader.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import { bitsAt, streamWords } from './bit-stream.js'
import {
  type CodedLayout,
  type CodedMatrix,
  codedRows,
  exactTypeOf,
  type ScaleRows,
  unsignedCodes,
} from './coded-matrix.js'
import { checkPart, matrixShape, readScaleValues, readWords, requirePart, SCALE_DTYPES, wrongPart } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

const BITS = [2, 3, 4, 8] as const

interface GptqConfig {
  /** Bits that a module may have; the first is the default. */
  readonly bits: readonly number[]
  /** Columns per group; null where one group takes all, undefined where modules differ. */
  readonly groupSize: number | null | undefined
  /** What is added to stored zero points. */
  readonly zeroOffset: 0 | 1
  readonly symmetric: boolean
}

interface GptqModule {
  readonly name: string
  readonly qweight: SafetensorsTensor
  readonly scales: SafetensorsTensor
  readonly qzeros: SafetensorsTensor | null
  readonly groupIndices: SafetensorsTensor | null
  readonly bits: number
  readonly rows: number
  readonly columns: number
  readonly groups: number
  readonly groupSize: number
  readonly config: GptqConfig
}

/**
 * The matrices of a GPTQ checkpoint (AutoGPTQ, GPTQModel): X.qweight I32 [in * bits / 32, out] holds codes along `in`, the
 * lowest bits first, X.qzeros I32 [groups, out * bits / 32] zero points along `out`, X.scales [groups, out], X.g_idx I32
 * [in] the group of each column. w[o, i] = scales[g, o] * (q - zero).
 */
export async function gptqTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  const config = readGptqConfig(quantization)
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    if (part.name.endsWith('.qweight')) tensors.push(await gptqTensor(weights, part, config))
  }
  return tensors
}

function readGptqConfig(quantization: ConfigReader): GptqConfig {
  // Each of these is another layout, or changes what the matrix is multiplied with.
  const format = quantization.has('checkpoint_format') ? 'checkpoint_format' : 'format'
  quantization.only('checkpoint_format', ['gptq', 'gptq_v2'])
  quantization.only('format', ['gptq', 'gptq_v2'])
  quantization.only('is_marlin_format', [false])
  quantization.only('pack_dtype', ['int32'])
  quantization.only('rotation', [])
  quantization.only('adapter', [])
  const bits = new Set([readBits(quantization)])
  const dynamic = quantization.object('dynamic')
  const overrides = Object.keys(dynamic?.fields ?? {})
  for (const field of overrides) {
    // `-:` excludes modules: those have a plain weight.
    if (field.startsWith('-:') || dynamic?.fields[field] === false) continue
    const override = dynamic?.object(field)
    for (const layout of [
      'format',
      'checkpoint_format',
      'pack_dtype',
      'adapter',
      'rotation',
      'method',
      'quant_method',
    ]) {
      override?.only(layout, [])
    }
    if (override?.has('bits')) bits.add(readBits(override))
  }
  const groupSize = quantization.count('group_size', { default: 128, min: -1 })
  if (groupSize === 0) throw quantization.unsupported('group_size')
  return {
    bits: [...bits],
    groupSize: overrides.length > 0 ? undefined : groupSize === -1 ? null : groupSize,
    zeroOffset: quantization.string(format, { default: 'gptq' }) === 'gptq' ? 1 : 0,
    symmetric: quantization.boolean('sym', { default: true }),
  }
}

function readBits(quantization: ConfigReader): number {
  quantization.only('bits', BITS)
  return quantization.count('bits')
}

async function gptqTensor(
  weights: TensorSource,
  qweight: SafetensorsTensor,
  config: GptqConfig,
): Promise<QuantizedTensor> {
  const module = describe(weights, qweight, config)
  const { name, scales, qzeros, groupIndices, bits, rows, columns } = module
  const exactType = exactTypeOf(await layoutOf(weights, module), await readGrid(weights, module))
  return {
    name: `${name}.weight`,
    shape: [rows, columns],
    parts: [qweight, scales, qzeros, groupIndices].flatMap((part) => part?.name ?? []),
    scheme: `GPTQ ${bits}-bit`,
    exactType,
    open: async () => codedRows(await openMatrix(weights, module), exactType),
  }
}

/** Checks the parts of a module against each other and the configuration. */
function describe(weights: TensorSource, qweight: SafetensorsTensor, config: GptqConfig): GptqModule {
  const name = qweight.name.slice(0, -'.qweight'.length)
  checkPart(weights, qweight, ['I32'])
  const [wordRows, rows] = matrixShape(weights, qweight)
  const scales = requirePart(weights, `${name}.scales`, qweight.name)
  checkPart(weights, scales, SCALE_DTYPES)
  const [groups] = matrixShape(weights, scales)
  const groupIndices = weights.tensors.get(`${name}.g_idx`) ?? null
  if (groupIndices === null && config.groupSize === undefined) {
    throw new FileError(
      weights.fileOf(qweight.name),
      `tensor ${qweight.name} has no ${name}.g_idx beside it: with quantization_config.dynamic nothing else tells its groups`,
    )
  }
  const columns = groupIndices === null ? Math.floor((wordRows * 32) / config.bits[0]!) : (groupIndices.shape[0] ?? 0)
  if (groupIndices !== null) checkPart(weights, groupIndices, ['I32', 'I64'], [columns])
  const bits = config.bits.find((bits) => streamWords(columns, bits) === wordRows)
  if (bits === undefined || columns === 0) {
    const expected = config.bits.map((bits) => `I32 [${streamWords(columns, bits)}, ${rows}]`)
    throw wrongPart(weights, qweight, expected.join(' or '))
  }
  const groupSize = config.groupSize === undefined ? Math.ceil(columns / groups) : (config.groupSize ?? columns)
  checkPart(weights, scales, SCALE_DTYPES, [Math.ceil(columns / groupSize), rows])
  const qzeros = weights.tensors.get(`${name}.qzeros`) ?? null
  if (qzeros !== null) checkPart(weights, qzeros, ['I32'], [groups, streamWords(rows, bits)])
  else if (!config.symmetric) requirePart(weights, `${name}.qzeros`, qweight.name)
  return { name, qweight, scales, qzeros, groupIndices, bits, rows, columns, groups, groupSize, config }
}

async function layoutOf(weights: TensorSource, module: GptqModule): Promise<CodedLayout> {
  const { bits, columns, groups, groupSize } = module
  return {
    columns,
    table: unsignedCodes(bits),
    rowsPerScale: 1,
    columnsPerScale: groupSize,
    groups,
    groupOf: await readGroups(weights, module),
  }
}

async function openMatrix(weights: TensorSource, module: GptqModule): Promise<CodedMatrix> {
  const { qweight, bits, rows, columns, groups } = module
  const words = await readWords(weights, qweight.name)
  const { scales, zeros } = await readGrid(weights, module)
  return {
    ...(await layoutOf(weights, module)),
    async readCodes(start, count, into) {
      // Words of neighbouring rows lie side by side: a few rows at a time keep to the same cache lines.
      for (let first = 0; first < count; first += 16) {
        const last = Math.min(count, first + 16)
        for (let column = 0; column < columns; column++) {
          for (let row = first; row < last; row++) {
            into[row * columns + column] = bitsAt(words, column, bits, start + row, rows)
          }
        }
      }
    },
    async readScales(start, count) {
      return {
        scales: scales.subarray(start * groups, (start + count) * groups),
        zeros: zeros?.subarray(start * groups, (start + count) * groups) ?? null,
      }
    },
  }
}

/** Scales and zero points as [out, groups]. */
async function readGrid(weights: TensorSource, module: GptqModule): Promise<ScaleRows> {
  const { scales: part, qzeros, bits, rows, groups, config } = module
  const stored = await readScaleValues(weights, part)
  const packed = qzeros === null ? null : await readWords(weights, qzeros.name)
  const words = streamWords(rows, bits)
  const scales = new Float32Array(stored.length)
  const zeros = new Int16Array(stored.length).fill(2 ** (bits - 1))
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < rows; row++) {
      scales[row * groups + group] = stored[group * rows + row]!
      if (packed === null) continue
      const zero = bitsAt(packed, row, bits, group * words)
      zeros[row * groups + group] = (zero + config.zeroOffset) & (2 ** bits - 1)
    }
  }
  return { scales, zeros }
}

/** The group of each column; null where they come in order. */
async function readGroups(
  weights: TensorSource,
  { groupIndices, groups, groupSize }: GptqModule,
): Promise<Uint32Array | null> {
  if (groupIndices === null) return null
  const indices = await weights.readIntegers(groupIndices.name)
  for (const [column, group] of indices.entries()) {
    if (group >= 0 && group < groups) continue
    throw new FileError(
      weights.fileOf(groupIndices.name),
      `tensor ${groupIndices.name} gives group ${group} for column ${column}, there are ${groups}`,
    )
  }
  return indices.every((group, column) => group === Math.floor(column / groupSize)) ? null : Uint32Array.from(indices)
}
