import { createGgufWriter } from '../checkpoint/gguf-write.js'
import type { HuggingFaceFolder } from '../checkpoint/huggingface.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import { openWeights } from '../checkpoint/sharded.js'
import { type Quantization, rowBytes, type TensorType } from '../checkpoint/tensor-type.js'
import { printable, ShoalError, UnsupportedError } from '../errors.js'
import type { ComputedTensor, Family, Hyperparameters, TensorMapping } from '../families/family.js'
import { quantize } from '../ggml/quantize.js'
import { checkText } from './check-text.js'
import { checkValues } from './check-values.js'
import { findTensor } from './find-tensor.js'
import { packageMetadata } from './metadata.js'
import { fusedRow, permuteRotaryRows } from './permute.js'
import { storedType } from './stored-type.js'
import { tiedHeadWarnings } from './tied-head.js'
import { tokenizerMetadata } from './tokenizer-metadata.js'

/** Values converted at a time: 8 MB of float32. Larger blocks are no faster, and memory is bounded by them. */
const BLOCK_VALUES = 2 * 1024 * 1024

export interface ConvertOptions {
  /** What the matrices become. */
  readonly quantization: Quantization
  /** The GGUF file to write. */
  readonly path: string
  /** `general.name`; default the folder's. */
  readonly name?: string
  /** Name of the model that the checkpoint was made from, for the file to say. */
  readonly baseModel?: string
  /** Refuse a tokenizer that llama.cpp has no equal of. */
  readonly forLlamaCpp?: boolean
  /** Told bytes written, and bytes in all. */
  readonly progress?: (loaded: number, total: number) => void
  readonly signal?: AbortSignal
}

export interface Conversion {
  readonly path: string
  /** Size of the file. */
  readonly bytes: number
  readonly warnings: readonly string[]
}

/** A tensor of the package: where it comes from, and what it is stored as. */
interface Plan {
  readonly mapping: TensorMapping
  /** Name in the checkpoint. */
  readonly source: string
  readonly type: TensorType
  /** The first dimension; `columns` is all the others. */
  readonly rows: number
  readonly columns: number
}

/**
 * Writes a checkpoint folder as one GGUF file that llama.cpp runs too. Works through it tensor by tensor and block of
 * rows by block of rows: memory does not grow with the model. The file appears under its name only when it is complete.
 * Weights that are NaN or infinite, or that the type would make so, are refused. Errors: FileError, UnsupportedError,
 * ShoalError `aborted`.
 */
export async function convert(
  checkpoint: HuggingFaceFolder,
  family: Family,
  options: ConvertOptions,
): Promise<Conversion> {
  const weights = await openWeights(checkpoint.folder)
  try {
    return await convertWeights(checkpoint, weights, family, options)
  } finally {
    await weights.close()
  }
}

/** Like `convert`, with the checkpoint's weights from wherever they are; they stay open. */
export async function convertWeights(
  checkpoint: HuggingFaceFolder,
  weights: TensorSource,
  family: Family,
  options: ConvertOptions,
): Promise<Conversion> {
  const { path, quantization, name = checkpoint.name, baseModel, forLlamaCpp = false, progress, signal } = options
  const hyperparameters = family.fromConfig(checkpoint.config)
  const mappings = family.tensors(hyperparameters)
  const computed = family.computedTensors(hyperparameters)
  const plans = mappings.map((mapping) => plan(weights, checkpoint.folder, mapping, quantization))
  const textWarnings = checkText(checkpoint)
  const tokenizer = tokenizerMetadata(checkpoint, hyperparameters.vocabulary)
  if (forLlamaCpp && !tokenizer.inLlamaCpp) {
    throw new UnsupportedError(
      `${checkpoint.folder}: llama.cpp has no equal of this tokenizer, so no GGUF file of it would run there`,
    )
  }
  const warnings = [
    ...tokenizer.warnings,
    ...textWarnings,
    ...fallbackWarnings(plans, quantization),
    ...(await headWarnings(weights, plans, family.headMatrix(hyperparameters), hyperparameters)),
    ...unusedWarnings(weights, plans, family),
  ]
  const description = {
    name,
    architecture: family.architecture,
    quantization,
    warnings,
    ...(baseModel !== undefined && { baseModel }),
  }
  const metadata = packageMetadata(description, family.toMetadata(hyperparameters), tokenizer.entries, checkpoint)
  const declarations = [
    ...computed.map(({ name, length }) => ({ name, shape: [length], type: 'f32' as const })),
    ...plans.map(({ mapping, type }) => ({ name: mapping.name, shape: mapping.shape.toReversed(), type })),
  ]
  throwIfAborted(signal, path)
  const writer = await createGgufWriter(path, metadata, declarations)
  try {
    let loaded = 0
    const write = async (tensor: string, chunk: Uint8Array): Promise<void> => {
      await writer.append(tensor, chunk)
      loaded += chunk.length
      progress?.(loaded, writer.bytes)
      throwIfAborted(signal, path)
    }
    await writeTensors(weights, computed, plans, write)
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
  return { path, bytes: writer.bytes, warnings }
}

/** Numbers in the tensors of a checkpoint with these hyperparameters. */
export function countParameters(mappings: readonly TensorMapping[]): number {
  return mappings.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)
}

function plan(weights: TensorSource, folder: string, mapping: TensorMapping, quantization: Quantization): Plan {
  const { name: source } = findTensor(weights, folder, mapping)
  const { shape, quantize: isMatrix } = mapping
  const columns = shape.slice(1).reduce((product, n) => product * n, 1)
  return { mapping, source, rows: shape[0]!, columns, type: isMatrix ? storedType(quantization, shape.at(-1)!) : 'f32' }
}

async function writeTensors(
  weights: TensorSource,
  computed: readonly ComputedTensor[],
  plans: readonly Plan[],
  write: (name: string, chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  for (const { name, values } of computed) {
    if (values === null) throw new TypeError(`computed tensor ${name} has no values`)
    await write(name, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }
  const heights = plans.map(blockRows)
  const largest = Math.max(0, ...plans.map(({ columns }, i) => heights[i]! * columns))
  // One set of buffers for all blocks: fresh ones would pile up until they are collected.
  const values = new Float32Array(largest)
  const permuted = new Float32Array(plans.some(({ mapping }) => mapping.rotaryHeads !== undefined) ? largest : 0)
  const bytes = new Uint8Array(
    Math.max(0, ...plans.map(({ type, columns }, i) => heights[i]! * rowBytes(type, columns))),
  )
  for (const [i, plan] of plans.entries()) {
    const { mapping, source, type, rows, columns } = plan
    const { name, rotaryHeads } = mapping
    for (let start = 0; start < rows; start += heights[i]!) {
      const count = Math.min(heights[i]!, rows - start)
      let block = await weights.readFloats(source, { start: sourceRow(plan, start), count }, values)
      checkValues(weights.fileOf(source), source, block, type)
      if (rotaryHeads !== undefined) {
        const out = permuted.subarray(0, block.length)
        permuteRotaryRows(block, rows / rotaryHeads, columns, out)
        block = out
      }
      const encoded = bytes.subarray(0, count * rowBytes(type, columns))
      quantize(type, block, count, columns, encoded)
      await write(name, encoded)
    }
  }
}

/** Where a block's rows begin in the checkpoint. */
function sourceRow({ mapping: { fusedHeads, skipRows = 0 }, rows }: Plan, start: number): number {
  return skipRows + (fusedHeads === undefined ? start : fusedRow(start, fusedHeads, rows / 3 / fusedHeads))
}

/** Rows converted at a time: whole heads where they are permuted, one part of a head where they come from a fused one. */
function blockRows({ mapping, rows, columns }: Plan): number {
  if (mapping.fusedHeads !== undefined) return rows / 3 / mapping.fusedHeads
  const unit = mapping.rotaryHeads === undefined ? 1 : rows / mapping.rotaryHeads
  return Math.min(rows, Math.max(1, Math.floor(BLOCK_VALUES / columns / unit)) * unit)
}

async function headWarnings(
  weights: TensorSource,
  plans: readonly Plan[],
  head: string,
  { tiedEmbeddings }: Hyperparameters,
): Promise<string[]> {
  const embedding = plans.find(({ mapping }) => mapping.name === head)
  return tiedEmbeddings && embedding !== undefined ? tiedHeadWarnings(weights, embedding.source) : []
}

function fallbackWarnings(plans: readonly Plan[], quantization: Quantization): string[] {
  const others = plans.filter(({ mapping, type }) => mapping.quantize && type !== quantization)
  return [...new Set(others.map(({ type }) => type))].map((type) => {
    const count = others.filter((other) => other.type === type).length
    const matrices = count === 1 ? '1 matrix is' : `${count} matrices are`
    return `${matrices} ${type}: rows do not divide into ${quantization} blocks`
  })
}

/** Weights that nothing reads: harmless leftovers are known, anything else may mean that the config is not the file's. */
function unusedWarnings(weights: TensorSource, plans: readonly Plan[], family: Family): string[] {
  const used = new Set(plans.map(({ source }) => source))
  const unused = [...weights.tensors.keys()].filter((name) => !used.has(name) && !isLeftover(name))
  if (unused.length === 0) return []
  const tensors = unused.length === 1 ? '1 tensor' : `${unused.length} tensors`
  return [`${tensors} of the checkpoint have no place in ${family.architecture}, ${printable(unused[0]!, 100)} for one`]
}

/** Rotary frequencies that old checkpoints carry, and the head of a model whose head is its embedding. */
function isLeftover(name: string): boolean {
  return name.endsWith('rotary_emb.inv_freq') || name === 'lm_head.weight'
}

function throwIfAborted(signal: AbortSignal | undefined, path: string): void {
  if (signal?.aborted) throw new ShoalError('aborted', `${path}: the conversion was stopped`, { cause: signal.reason })
}
