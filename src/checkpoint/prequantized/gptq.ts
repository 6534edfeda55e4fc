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
import {
  ambiguous,
  checkPart,
  matrixShape,
  readScaleValues,
  readWords,
  requirePart,
  SCALE_DTYPES,
  sameShape,
  wrongPart,
} from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

const BITS = [2, 3, 4, 8] as const

/** Bits and columns per group that modules may have; null for one group of all columns. */
export interface GptqSetting {
  readonly bits: number
  readonly groupSize: number | null
}

export interface GptqConfig {
  /** What the summary calls it. */
  readonly label: string
  /** The first is that of modules that nothing more is said of. */
  readonly settings: readonly GptqSetting[]
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
export function gptqTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  return gptqModules(weights, readGptqConfig(quantization))
}

/** `gptqTensors` of a configuration that was read elsewhere. */
export async function gptqModules(weights: TensorSource, config: GptqConfig): Promise<QuantizedTensor[]> {
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    if (part.name.endsWith('.qweight')) tensors.push(await gptqTensor(weights, part, config))
  }
  return tensors
}

/** Fields that would make some modules another layout than the others. */
const LAYOUTS = ['format', 'checkpoint_format', 'pack_dtype', 'adapter', 'rotation', 'method', 'quant_method']

function readGptqConfig(quantization: ConfigReader): GptqConfig {
  // Each of these is another layout, or changes what the matrix is multiplied with.
  const format = quantization.has('checkpoint_format') ? 'checkpoint_format' : 'format'
  quantization.only('checkpoint_format', ['gptq', 'gptq_v2'])
  quantization.only('format', ['gptq', 'gptq_v2'])
  quantization.only('is_marlin_format', [false])
  quantization.only('pack_dtype', ['int32'])
  quantization.only('rotation', [])
  quantization.only('adapter', [])
  const usual = readSetting(quantization)
  const settings = [usual]
  const dynamic = quantization.object('dynamic')
  for (const field of Object.keys(dynamic?.fields ?? {})) {
    // `-:` excludes modules: those have a plain weight.
    if (field.startsWith('-:') || dynamic?.fields[field] === false) continue
    const override = dynamic?.object(field) ?? null
    if (override === null) continue
    for (const layout of LAYOUTS) override.only(layout, [])
    settings.push(readSetting(override, usual))
  }
  return {
    label: 'GPTQ',
    settings,
    zeroOffset: quantization.string(format, { default: 'gptq' }) === 'gptq' ? 1 : 0,
    symmetric: quantization.boolean('sym', { default: true }),
  }
}

/** Bits and group size; what is absent is as `usual`. */
export function readSetting(fields: ConfigReader, usual?: GptqSetting): GptqSetting {
  fields.only('bits', BITS)
  const bits = usual !== undefined && !fields.has('bits') ? usual.bits : fields.count('bits')
  if (usual !== undefined && !fields.has('group_size')) return { bits, groupSize: usual.groupSize }
  const groupSize = fields.count('group_size', { default: 128, min: -1 })
  if (groupSize === 0) throw fields.unsupported('group_size')
  return { bits, groupSize: groupSize === -1 ? null : groupSize }
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
    scheme: `${config.label} ${bits}-bit`,
    exactType,
    open: async () => codedRows(await openMatrix(weights, module), exactType),
  }
}

/** Finds the setting that a module's parts fit; where none does, says what the first would make them. */
function describe(weights: TensorSource, qweight: SafetensorsTensor, config: GptqConfig): GptqModule {
  const name = qweight.name.slice(0, -'.qweight'.length)
  checkPart(weights, qweight, ['I32'])
  const [wordRows, rows] = matrixShape(weights, qweight)
  const scales = requirePart(weights, `${name}.scales`, qweight.name)
  checkPart(weights, scales, SCALE_DTYPES)
  const groupIndices = weights.tensors.get(`${name}.g_idx`) ?? null
  if (groupIndices !== null) {
    checkPart(weights, groupIndices, ['I32', 'I64'])
    if (groupIndices.shape.length !== 1 || groupIndices.bytes === 0) throw wrongPart(weights, groupIndices, 'a list')
  }
  const qzeros = weights.tensors.get(`${name}.qzeros`) ?? null
  if (qzeros !== null) checkPart(weights, qzeros, ['I32'])
  else if (!config.symmetric) requirePart(weights, `${name}.qzeros`, qweight.name)
  const shapesUnder = ({ bits, groupSize }: GptqSetting) => {
    const columns = groupIndices?.shape[0] ?? Math.floor((wordRows * 32) / bits)
    const size = Math.min(groupSize ?? columns, columns)
    const groups = size === 0 ? 0 : Math.ceil(columns / size)
    const words = streamWords(columns, bits)
    return { bits, columns, groupSize: size, groups, expected: [words, rows], zeros: [groups, streamWords(rows, bits)] }
  }
  const settings = config.settings.map(shapesUnder)
  const fitting = settings.filter(
    ({ expected, groups, zeros }) =>
      sameShape(qweight.shape, expected) &&
      sameShape(scales.shape, [groups, rows]) &&
      (qzeros === null || sameShape(qzeros.shape, zeros)),
  )
  const [setting = settings[0]!] = fitting
  if (
    fitting.some(
      ({ bits, groupSize }) => bits !== setting.bits || (groupIndices === null && groupSize !== setting.groupSize),
    )
  ) {
    throw ambiguous(weights, qweight)
  }
  const { expected, zeros, ...shapes } = setting
  checkPart(weights, qweight, ['I32'], expected)
  checkPart(weights, scales, SCALE_DTYPES, [shapes.groups, rows])
  if (qzeros !== null) checkPart(weights, qzeros, ['I32'], zeros)
  return { name, qweight, scales, qzeros, groupIndices, rows, ...shapes, config }
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
  // The first version stores zero points less one. It subtracts, and adds, whole words: a zero point of 0 borrows from the
  // next. Only with 3 bits, which run on over words, each is taken by itself.
  const [ofWord, ofZero] = bits === 3 ? [0, config.zeroOffset] : [config.zeroOffset * onesIn(bits), 0]
  for (let i = 0; i < (packed?.length ?? 0); i++) packed![i]! += ofWord
  const words = streamWords(rows, bits)
  const scales = new Float32Array(stored.length)
  const zeros = new Int16Array(stored.length).fill(2 ** (bits - 1))
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < rows; row++) {
      scales[row * groups + group] = stored[group * rows + row]!
      if (packed === null) continue
      const zero = bitsAt(packed, row, bits, group * words)
      zeros[row * groups + group] = (zero + ofZero) & (2 ** bits - 1)
    }
  }
  return { scales, zeros }
}

/** A word with 1 in each of its `bits`-bit numbers. */
function onesIn(bits: number): number {
  return (2 ** 32 - 1) / (2 ** bits - 1)
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
