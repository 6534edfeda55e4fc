import { FileError, InputError, UnsupportedError } from '../../errors.js'
import type { RowRange, SafetensorsTensor, TensorSource } from '../safetensors.js'
import { rowBytes } from '../tensor-type.js'
import { elementCount } from './parts.js'
import type { QuantizedTensor, RowReader } from './quantized-tensor.js'

/** Stored parts of quantised matrices, by the ends of their names: one that belongs to none says that something is amiss. */
const PART_NAME =
  /\.(qweight|qzeros|scales|g_idx|weight_(packed|shape|scale|scale_inv|scale_2|zero_point|g_idx|global_scale|format)|qscale_weight|SCB|absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[^.]*|pre_quant_scale|weight_quantizer\.[^.]*)$|_(blocks|scales|scale_inv)$/

/** Scales of activations and of cached keys and values. What a matrix is does not depend on them. */
const ACTIVATION_NAME =
  /[._]((input|output|activation|k|v|q|kv|prob_output|prob)_(scale|zero_point|global_scale)|(k|v|q)_proj\.(k|v|q)_scale|activation_scale|qscale_act|input_scale_ub|activation_scale_ub)$/

/** A checkpoint's tensors with each quantised matrix as one tensor in the place of its parts. */
export interface PrequantizedSource extends TensorSource {
  /** What the quantised matrices become, in one line; null where there are none. */
  readonly summary: string | null
  /** What matrices that no type keeps exactly become unless somebody says otherwise; null where all are kept. */
  readonly fallbackType: 'f16' | null
}

/**
 * The view of `weights` in which quantised matrices are whole. Rows of such a matrix, in ranges for `readFloats` and
 * `exactBlocks`, are those of all dimensions but the last. One matrix at a time is held in memory.
 */
export function quantizedView(weights: TensorSource, quantized: readonly QuantizedTensor[]): PrequantizedSource {
  const byName = new Map<string, QuantizedTensor>()
  const hidden = new Set(quantized.flatMap(({ parts }) => parts))
  for (const tensor of quantized) {
    const { name, parts } = tensor
    if (byName.has(name) || (weights.tensors.has(name) && !parts.includes(name))) {
      throw new FileError(weights.fileOf(parts[0]!), `tensor ${name} is there twice, plain and as ${parts[0]}`)
    }
    byName.set(name, tensor)
  }
  const tensors = new Map<string, SafetensorsTensor>()
  for (const part of weights.tensors.values()) {
    if (hidden.has(part.name) || ACTIVATION_NAME.test(part.name)) continue
    if (PART_NAME.test(part.name)) {
      throw new FileError(
        weights.fileOf(part.name),
        `tensor ${part.name} belongs to no matrix that is quantised as config.json says`,
      )
    }
    tensors.set(part.name, part)
  }
  for (const { name, shape } of quantized) {
    tensors.set(name, { name, dtype: 'F32', shape, offset: 0, bytes: 4 * elementCount(shape) })
  }

  let current: { tensor: QuantizedTensor; reader: Promise<RowReader> } | null = null
  let queue: Promise<unknown> = Promise.resolve()
  /** One after the other: readers keep buffers of their own, and only one matrix may be in memory. */
  const inTurn = async (tensor: QuantizedTensor, use: (reader: RowReader) => Promise<void>): Promise<void> => {
    const turn = queue.then(async () => {
      if (current?.tensor !== tensor) current = { tensor, reader: tensor.open() }
      await use(await current.reader)
    })
    queue = turn.catch(() => {
      current = null
    })
    await turn
  }
  const asStored = (name: string): void => {
    if (byName.has(name))
      throw new UnsupportedError(`tensor ${name} is quantised: it has values, but no bytes of its own`)
  }

  return {
    tensors,
    ...describe(quantized),
    fileOf: (name) => weights.fileOf(byName.get(name)?.parts[0] ?? name),
    async readFloats(name, rows, out) {
      const tensor = byName.get(name)
      if (tensor === undefined) return weights.readFloats(name, rows, out)
      const { start, count, columns } = checkRows(tensor, rows)
      if (out !== undefined && out.length < count * columns) {
        throw new InputError(`${name}: ${count * columns} values do not fit ${out.length}`)
      }
      const values = out === undefined ? new Float32Array(count * columns) : out.subarray(0, count * columns)
      if (values.length > 0) await inTurn(tensor, (reader) => reader.readFloats(start, count, values))
      return values
    },
    async readBytes(name, position, into) {
      asStored(name)
      return weights.readBytes(name, position, into)
    },
    async readIntegers(name) {
      asStored(name)
      return weights.readIntegers(name)
    },
    exactBlocks(name) {
      const tensor = byName.get(name)
      const type = tensor?.exactType ?? null
      if (tensor === undefined || type === null) return null
      return {
        type,
        async readRows(rows, out) {
          const { start, count, columns } = checkRows(tensor, rows)
          const bytes = count * rowBytes(type, columns)
          if (out.length < bytes) throw new InputError(`${name}: ${bytes} bytes do not fit ${out.length}`)
          if (bytes > 0) await inTurn(tensor, (reader) => reader.readBlocks(start, count, out.subarray(0, bytes)))
        },
      }
    },
    async close() {
      current = null
      await weights.close()
    },
  }
}

function checkRows({ name, shape }: QuantizedTensor, range?: RowRange): RowRange & { readonly columns: number } {
  const height = elementCount(shape.slice(0, -1))
  const { start, count } = range ?? { start: 0, count: height }
  if (
    !Number.isSafeInteger(start) ||
    !Number.isSafeInteger(count) ||
    start < 0 ||
    count < 0 ||
    start + count > height
  ) {
    throw new InputError(`tensor ${name} has ${height} rows, not ${start} .. ${start + count - 1}`)
  }
  return { start, count, columns: shape.at(-1)! }
}

/** `GPTQ 4-bit: 196 matrices kept exactly as q4_0, 2 become f16 (no GGUF type keeps their values)`, for each scheme. */
function describe(quantized: readonly QuantizedTensor[]): Pick<PrequantizedSource, 'summary' | 'fallbackType'> {
  const texts = groupBy(quantized, ({ scheme }) => scheme).map(([scheme, tensors]) => {
    const types = groupBy(tensors, ({ exactType }) => exactType).map(([type, { length }]) => {
      const matrices = length === 1 ? '1 matrix' : `${length} matrices`
      if (type !== null) return `${matrices} kept exactly as ${type}`
      return `${matrices} ${length === 1 ? 'becomes' : 'become'} f16 (no GGUF type keeps the values)`
    })
    return `${scheme}: ${types.join(', ')}`
  })
  return {
    summary: texts.length === 0 ? null : texts.join('; '),
    fallbackType: quantized.some(({ exactType }) => exactType === null) ? 'f16' : null,
  }
}

/** Items by what they have in common, in the order of their first. */
function groupBy<K, T>(items: readonly T[], keyOf: (item: T) => K): [K, T[]][] {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return [...groups]
}
