import { createGgufWriter } from '../checkpoint/gguf-write.js'
import type { HuggingFaceFolder } from '../checkpoint/huggingface.js'
import { openPrequantized } from '../checkpoint/prequantized/open.js'
import type { PrequantizedSource } from '../checkpoint/prequantized/view.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import { openWeights } from '../checkpoint/sharded.js'
import { type Quantization, rowBytes, type TensorType } from '../checkpoint/tensor-type.js'
import { printable, ShoalError, UnsupportedError } from '../errors.js'
import type { ComputedTensor, Family } from '../families/family.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import type { TensorMapping } from '../families/tensor-rows.js'
import { quantize } from '../ggml/quantize.js'
import { checkText } from './check-text.js'
import { checkValues } from './check-values.js'
import { type FoundTensor, findTensor } from './find-tensor.js'
import { packageMetadata } from './metadata.js'
import { exactReader, type RowReader, rowReader } from './row-reader.js'
import { storedType } from './stored-type.js'
import { tiedHeadWarnings } from './tied-head.js'
import { tokenizerMetadata } from './tokenizer-metadata.js'

/** Values converted at a time: 8 MB of float32. Larger blocks are no faster, and memory is bounded by them. */
const BLOCK_VALUES = 2 * 1024 * 1024

/**
 * What matrices become: a type, or `stored`, which keeps the blocks of a checkpoint that is quantised already where a GGUF type
 * has every value of them, and makes the others f16.
 */
export type Target = Quantization | 'stored'

export interface ConvertOptions {
  /** What the matrices become. */
  readonly quantization: Target
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
  /** Type of the matrices, or of most of their values. */
  readonly quantization: string
  /** Size of the file. */
  readonly bytes: number
  readonly warnings: readonly string[]
}

/** A tensor of the package: where it comes from, and what it is stored as. */
interface Plan {
  readonly mapping: TensorMapping
  readonly found: FoundTensor
  readonly type: TensorType
  /** Of `mapping.columns` values. */
  readonly rows: number
  /** The checkpoint's own blocks, where they are kept. */
  readonly blocks: RowReader<Uint8Array> | null
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
    return await convertWeights(checkpoint, await openPrequantized(checkpoint.config, weights), family, options)
  } finally {
    await weights.close()
  }
}

/** Like `convert`, with the checkpoint's weights from wherever they are; they stay open. */
export async function convertWeights(
  checkpoint: HuggingFaceFolder,
  weights: PrequantizedSource,
  family: Family,
  options: ConvertOptions,
): Promise<Conversion> {
  const { path, quantization, name = checkpoint.name, baseModel, forLlamaCpp = false, progress, signal } = options
  const hyperparameters = await family.withScalars(family.fromConfig(checkpoint.config), weights)
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
  const kept = quantization === 'stored' && weights.summary !== null ? [weights.summary] : []
  const warnings = [
    // What is kept exactly is worth a line when it is written, not each time that it runs.
    ...(weights.fallbackType === null ? [] : kept),
    ...tokenizer.warnings,
    ...textWarnings,
    ...fallbackWarnings(plans, quantization),
    ...(await headWarnings(weights, plans, family.headMatrix(hyperparameters), hyperparameters)),
    ...unusedWarnings(weights, plans, family),
  ]
  const label = quantization === 'stored' ? mostOf(plans) : quantization
  const description = {
    name,
    architecture: family.architecture,
    quantization: label,
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
  return { path, quantization: label, bytes: writer.bytes, warnings: [...new Set([...kept, ...warnings])] }
}

/** Numbers in the tensors of a checkpoint with these hyperparameters. */
export function countParameters(mappings: readonly TensorMapping[]): number {
  return mappings.reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0)
}

function plan(weights: TensorSource, folder: string, mapping: TensorMapping, quantization: Target): Plan {
  const { shape, columns, quantize: isMatrix } = mapping
  const rows = shape.reduce((product, n) => product * n, 1) / columns
  const found = findTensor(weights, folder, mapping)
  const exact = quantization === 'stored' && isMatrix ? exactReader(weights, found, columns) : null
  if (exact !== null) return { mapping, found, rows, type: exact.type, blocks: exact.reader }
  const type = isMatrix ? storedType(quantization === 'stored' ? 'f16' : quantization, columns) : 'f32'
  return { mapping, found, rows, type, blocks: null }
}

/** The type of the matrices that have the most values. */
function mostOf(plans: readonly Plan[]): TensorType {
  const values = new Map<TensorType, number>()
  for (const { mapping, type, rows } of plans) {
    if (mapping.quantize) values.set(type, (values.get(type) ?? 0) + rows * mapping.columns)
  }
  return [...values].reduce((most, next) => (next[1] > most[1] ? next : most), ['f16', 0] as [TensorType, number])[0]
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
  const heights = plans.map(({ mapping, rows }) =>
    Math.min(rows, Math.max(1, Math.floor(BLOCK_VALUES / mapping.columns))),
  )
  const most = (of: (plan: Plan, height: number) => number): number =>
    plans.reduce((largest, plan, i) => Math.max(largest, of(plan, heights[i]!)), 0)
  // One set of buffers for all blocks: fresh ones would pile up until they are collected.
  const values = new Float32Array(most(({ mapping }, height) => height * mapping.columns))
  const bytes = new Uint8Array(most(({ type, mapping }, height) => height * rowBytes(type, mapping.columns)))
  for (const [i, { mapping, found, type, rows, blocks }] of plans.entries()) {
    const { name, columns, offset } = mapping
    const reader = rowReader(weights, found, columns)
    const [source = name] = found.names
    for (let start = 0; start < rows; start += heights[i]!) {
      const count = Math.min(heights[i]!, rows - start)
      const encoded = bytes.subarray(0, count * rowBytes(type, columns))
      if (blocks !== null) {
        await blocks.read(start, count, encoded)
        await write(name, encoded)
        continue
      }
      const block = values.subarray(0, count * columns)
      await reader.read(start, count, block)
      if (offset !== undefined) for (let j = 0; j < block.length; j++) block[j]! += offset
      checkValues(weights.fileOf(source), source, block, type)
      quantize(type, block, count, columns, encoded)
      await write(name, encoded)
    }
  }
}

async function headWarnings(
  weights: TensorSource,
  plans: readonly Plan[],
  head: string,
  { tiedEmbeddings }: Hyperparameters,
): Promise<string[]> {
  const embedding = plans.find(({ mapping }) => mapping.name === head)
  return tiedEmbeddings && embedding !== undefined ? tiedHeadWarnings(weights, embedding.found.names[0]!) : []
}

function fallbackWarnings(plans: readonly Plan[], quantization: Target): string[] {
  if (quantization === 'stored') return []
  const others = plans.filter(({ mapping, type }) => mapping.quantize && type !== quantization)
  return [...new Set(others.map(({ type }) => type))].map((type) => {
    const count = others.filter((other) => other.type === type).length
    const matrices = count === 1 ? '1 matrix is' : `${count} matrices are`
    return `${matrices} ${type}: rows do not divide into ${quantization} blocks`
  })
}

/** Weights that nothing reads: harmless leftovers are known, anything else may mean that the config is not the file's. */
function unusedWarnings(weights: TensorSource, plans: readonly Plan[], family: Family): string[] {
  const used = new Set(plans.flatMap(({ found }) => found.names))
  const unused = [...weights.tensors.keys()].filter((name) => !used.has(name) && !isLeftover(name))
  if (unused.length === 0) return []
  const tensors = unused.length === 1 ? '1 tensor' : `${unused.length} tensors`
  return [`${tensors} of the checkpoint have no place in ${family.architecture}, ${printable(unused[0]!, 100)} for one`]
}

/**
 * Rotary frequencies and masks that old checkpoints carry, the head of a model whose head is its embedding, numbers that go
 * into metadata, and the other parts of a multimodal model.
 */
const LEFTOVER =
  /rotary_emb\.inv_freq$|(^|\.)lm_head\.weight$|\.attn(ention)?\.(masked_)?bias$|\.act_fn\.|(^|\.)(vision_tower|vision_model|visual|audio_tower|multi_modal_projector|mtp)\./

function isLeftover(name: string): boolean {
  return LEFTOVER.test(name)
}

function throwIfAborted(signal: AbortSignal | undefined, path: string): void {
  if (signal?.aborted) throw new ShoalError('aborted', `${path}: the conversion was stopped`, { cause: signal.reason })
}
