import { realpathSync } from 'node:fs'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { withoutSplitKeys } from '../checkpoint/gguf-split.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { createGgufWriter } from '../checkpoint/gguf-write.js'
import { isWeightType, type Quantization, rowBytes, type TensorType } from '../checkpoint/tensor-type.js'
import { FileError, InputError, ShoalError } from '../errors.js'
import { familyByArchitecture } from '../families/index.js'
import { dequantize } from '../ggml/dequantize.js'
import { quantize } from '../ggml/quantize.js'
import { checkValues } from './check-values.js'
import type { Conversion } from './convert.js'
import { type GgufReader, openGgufReader, tensorBlocks } from './gguf-tensor.js'
import { FILE_TYPES, storedType } from './stored-type.js'
import { readScale, scaleRows, scaleTensors } from './weight-scale.js'

/** Values in hand at a time. */
const BLOCK_VALUES = 2 * 1024 * 1024

export interface RequantizeOptions {
  readonly path: string
  /** What the matrices become; default: what they are. */
  readonly quantization?: Quantization
  readonly progress?: (loaded: number, total: number) => void
  readonly signal?: AbortSignal
}

/**
 * Writes a GGUF file with its matrices in another type; the parts of a split one become one file, and factors beside NVFP4
 * matrices become part of them. From one quantised type to another precision is lost twice, of which it warns. The file
 * appears under its name only when it is complete. Errors: FileError, InputError, UnsupportedError, ShoalError `aborted`.
 */
export async function requantize(
  gguf: GgufFile,
  options: RequantizeOptions,
): Promise<Omit<Conversion, 'quantization'>> {
  const { path, quantization, progress, signal } = options
  if (gguf.parts.some((part) => sameFile(part.path, path))) {
    throw new InputError(`${path}: is the file that is read; give another name`)
  }
  const matrices = matricesOf(gguf)
  const tensors = plansOf(gguf, matrices, quantization)
  const declarations = tensors.map(({ tensor: { name, shape }, type }) => ({ name, shape, type }))
  const reader = await openGgufReader(gguf)
  try {
    const writer = await createGgufWriter(path, metadataWith(gguf.metadata, quantization), declarations)
    try {
      let loaded = 0
      for (const plan of tensors) {
        for await (const chunk of blocksOf(plan, reader)) {
          await writer.append(plan.tensor.name, chunk)
          loaded += chunk.length
          progress?.(loaded, writer.bytes)
          if (signal?.aborted)
            throw new ShoalError('aborted', `${path}: the conversion was stopped`, { cause: signal.reason })
        }
      }
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
    return { path, bytes: writer.bytes, warnings: lossWarnings(tensors) }
  } finally {
    await reader.close()
  }
}

interface TensorPlan {
  readonly tensor: GgufTensor
  readonly type: TensorType
  /** Factors that go into the values; null where there are none, or the type stays. */
  readonly scale: GgufTensor | null
}

function plansOf(gguf: GgufFile, matrices: ReadonlySet<string>, wanted?: Quantization): TensorPlan[] {
  const gone = new Set<string>()
  const plans = [...gguf.tensors.values()].map((tensor): TensorPlan => {
    const type = typeOf(tensor, matrices, wanted)
    if (type === tensor.type) return { tensor, type, scale: null }
    const { scale, inputScale } = scaleTensors(gguf, tensor)
    for (const each of [scale, inputScale]) if (each !== null) gone.add(each.name)
    return { tensor, type, scale }
  })
  return plans.filter(({ tensor }) => !gone.has(tensor.name))
}

/** Names of the tensors that the family multiplies by. */
function matricesOf(gguf: GgufFile): ReadonlySet<string> {
  const { metadata, tensors, path } = gguf
  const family = familyByArchitecture(metadata.string('general.architecture'), path)
  const mappings = family.tensors(family.fromMetadata(metadata, new Set(tensors.keys())))
  return new Set(mappings.filter(({ quantize: isMatrix }) => isMatrix).map(({ name }) => name))
}

function typeOf({ name, type, shape }: GgufTensor, matrices: ReadonlySet<string>, wanted?: Quantization): TensorType {
  return wanted === undefined || !matrices.has(name) ? type : storedType(wanted, shape[0]!)
}

/** Types without a step between values that the values of a block share. */
const UNQUANTIZED: readonly string[] = ['f32', 'f16', 'bf16']

function lossWarnings(tensors: readonly { readonly tensor: GgufTensor; readonly type: TensorType }[]): string[] {
  const lossy = tensors.filter(
    ({ tensor, type }) => type !== tensor.type && ![type, tensor.type].some((each) => UNQUANTIZED.includes(each)),
  )
  if (lossy.length === 0) return []
  const pairs = new Set(lossy.map(({ tensor, type }) => `${tensor.type} to ${type}`))
  return [
    `${[...pairs].join(', ')}: what was lost before is lost again; from the original checkpoint it would be more exact`,
  ]
}

function metadataWith(source: GgufMetadata, quantization?: Quantization): GgufMetadata {
  const metadata = withoutSplitKeys(source)
  if (quantization === undefined) return metadata
  const entries = new Map<string, GgufValue>(metadata.values)
  entries.set('general.file_type', { type: 'uint32', value: FILE_TYPES[quantization] })
  if (entries.has('shoal.quantization')) entries.set('shoal.quantization', { type: 'string', value: quantization })
  return new GgufMetadata(metadata.path, entries)
}

/** The bytes of a tensor in another type, some rows at a time. */
async function* blocksOf({ tensor, type, scale }: TensorPlan, reader: GgufReader): AsyncGenerator<Uint8Array> {
  const { shape } = tensor
  const path = reader.pathOf(tensor)
  if (type === tensor.type) {
    yield* tensorBlocks(reader, tensor)
    return
  }
  if (!isWeightType(tensor.type)) {
    throw new FileError(path, `tensor ${tensor.name} is ${tensor.type}, which weights cannot be`)
  }
  const [columns = 1] = shape
  const rows = shape.slice(1).reduce((product, n) => product * n, 1)
  const height = Math.min(rows, Math.max(1, Math.floor(BLOCK_VALUES / columns)))
  const source = new Uint8Array(height * rowBytes(tensor.type, columns))
  const values = new Float32Array(height * columns)
  const target = new Uint8Array(height * rowBytes(type, columns))
  const factors = scale === null ? null : await readScale(reader, scale)
  for (let start = 0; start < rows; start += height) {
    const count = Math.min(height, rows - start)
    const part = source.subarray(0, count * rowBytes(tensor.type, columns))
    await reader.read(tensor, part, start * rowBytes(tensor.type, columns))
    dequantize(tensor.type, part, count, columns, values)
    const block = values.subarray(0, count * columns)
    if (factors !== null) scaleRows(block, columns, factors, start, shape[1] ?? 1)
    checkValues(path, tensor.name, block, type)
    const encoded = target.subarray(0, count * rowBytes(type, columns))
    quantize(type, block, count, columns, encoded)
    yield encoded
  }
}

function sameFile(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b)
  } catch {
    return false
  }
}
