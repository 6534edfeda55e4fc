import { FileError, UnsupportedError } from '../../errors.js'
import type { ConfigReader } from '../config-reader.js'
import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import {
  type CodedLayout,
  type CodedMatrix,
  codedRows,
  exactTypeOf,
  type ScaleRows,
  unsignedCodes,
} from './coded-matrix.js'
import { checkPart, matrixShape, readScaleValues, readWords, requirePart, SCALE_DTYPES } from './parts.js'
import type { QuantizedTensor } from './quantized-tensor.js'

/** Which nibble of a word holds a column, by column mod 8. */
const NIBBLE_OF_COLUMN = [0, 4, 1, 5, 2, 6, 3, 7]

interface AwqConfig {
  /** Null for one group. */
  readonly groupSize: number | null
  readonly hasZeros: boolean
}

interface AwqModule {
  readonly name: string
  readonly qweight: SafetensorsTensor
  readonly scales: SafetensorsTensor
  readonly qzeros: SafetensorsTensor | null
  readonly rows: number
  readonly columns: number
  readonly groups: number
  readonly groupSize: number
}

/**
 * The matrices of an AWQ checkpoint in the layout `gemm` (AutoAWQ): X.qweight I32 [in, out / 8] holds eight outputs in a word,
 * nibble k the output with number 0, 2, 4, 6, 1, 3, 5, 7 [k]; X.qzeros [groups, out / 8] likewise; X.scales [groups, out].
 * w[o, i] = (q - zero) * scale.
 */
export async function awqTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  const config = readAwqConfig(quantization)
  const tensors: QuantizedTensor[] = []
  for (const part of weights.tensors.values()) {
    if (!part.name.endsWith('.qweight')) continue
    const module = describe(weights, part, config)
    const exactType = exactTypeOf(layoutOf(module), await readGrid(weights, module, config))
    tensors.push({
      name: `${module.name}.weight`,
      shape: [module.rows, module.columns],
      parts: [part, module.scales, module.qzeros].flatMap((stored) => stored?.name ?? []),
      scheme: 'AWQ 4-bit',
      exactType,
      open: async () => codedRows(await openMatrix(weights, module, config), exactType),
    })
  }
  return tensors
}

function readAwqConfig(quantization: ConfigReader): AwqConfig {
  for (const field of ['version', 'format', 'checkpoint_format']) {
    const value = quantization.string(field, { default: 'gemm' })
    if (value.toLowerCase() === 'gemm') continue
    throw new UnsupportedError(
      `${quantization.path}: AWQ weights in the layout ${field} = ${JSON.stringify(value)} are not read, only gemm is; ` +
        'take the unquantised checkpoint or a GGUF file of the model',
    )
  }
  quantization.only('bits', [4])
  quantization.only('pack_dtype', ['int32'])
  if (quantization.fields.backend === 'llm-awq') throw quantization.unsupported('backend')
  const groupSize = quantization.count('group_size', { default: 128, min: -1 })
  if (groupSize === 0) throw quantization.unsupported('group_size')
  return {
    groupSize: groupSize === -1 ? null : groupSize,
    hasZeros: quantization.boolean('zero_point', { default: true }),
  }
}

function describe(weights: TensorSource, qweight: SafetensorsTensor, config: AwqConfig): AwqModule {
  const name = qweight.name.slice(0, -'.qweight'.length)
  checkPart(weights, qweight, ['I32'])
  const [columns, words] = matrixShape(weights, qweight)
  const rows = words * 8
  const groupSize = config.groupSize ?? columns
  const groups = Math.ceil(columns / groupSize)
  const scales = requirePart(weights, `${name}.scales`, qweight.name)
  checkPart(weights, scales, SCALE_DTYPES, [groups, rows])
  const qzeros = config.hasZeros
    ? requirePart(weights, `${name}.qzeros`, qweight.name)
    : (weights.tensors.get(`${name}.qzeros`) ?? null)
  if (qzeros !== null) checkPart(weights, qzeros, ['I32'], [groups, words])
  return { name, qweight, scales, qzeros, rows, columns, groups, groupSize }
}

function layoutOf({ columns, groups, groupSize }: AwqModule): CodedLayout {
  return {
    columns,
    table: unsignedCodes(4),
    rowsPerScale: 1,
    columnsPerScale: groupSize,
    groups,
    groupOf: null,
  }
}

async function openMatrix(weights: TensorSource, module: AwqModule, config: AwqConfig): Promise<CodedMatrix> {
  const { qweight, rows, columns, groups } = module
  const words = await readWords(weights, qweight.name)
  const { scales, zeros } = await readGrid(weights, module, config)
  return {
    ...layoutOf(module),
    async readCodes(start, count, into) {
      // Rows of a word, and those beside it, lie in the same cache lines.
      for (let first = 0; first < count; first += 64) {
        const last = Math.min(count, first + 64)
        for (let column = 0; column < columns; column++) {
          for (let row = first; row < last; row++) {
            into[row * columns + column] = nibbleAt(words, column * rows + start + row)
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

/** The number at this place of a packed matrix whose rows are whole words. */
function nibbleAt(words: Uint32Array, index: number): number {
  return (words[index >> 3]! >>> (4 * NIBBLE_OF_COLUMN[index & 7]!)) & 15
}

/** Scales and zero points as [out, groups]. */
async function readGrid(weights: TensorSource, module: AwqModule, { hasZeros }: AwqConfig): Promise<ScaleRows> {
  const { scales: part, qzeros, rows, groups } = module
  const stored = await readScaleValues(weights, part)
  const packed = qzeros === null ? null : await readWords(weights, qzeros.name)
  const scales = new Float32Array(stored.length)
  const zeros = new Int16Array(stored.length).fill(8)
  for (let group = 0; group < groups; group++) {
    for (let row = 0; row < rows; row++) {
      scales[row * groups + group] = stored[group * rows + row]!
      if (packed !== null) zeros[row * groups + group] = nibbleAt(packed, group * rows + row)
    }
  }
  if (!hasZeros && qzeros !== null && zeros.some((zero) => zero !== 8)) {
    throw new FileError(
      weights.fileOf(qzeros.name),
      `tensor ${qzeros.name} holds zero points, though quantization_config.zero_point is false`,
    )
  }
  return { scales, zeros }
}
