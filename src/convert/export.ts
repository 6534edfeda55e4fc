import { existsSync, realpathSync, statSync } from 'node:fs'
import { basename, join, resolve, sep } from 'node:path'
import { createAtomicFolder } from '../checkpoint/atomic-folder.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { type HuggingFaceFolder, openHuggingFace } from '../checkpoint/huggingface.js'
import { licenceLines } from '../checkpoint/model-card.js'
import { openPrequantized } from '../checkpoint/prequantized/open.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import { openWeights } from '../checkpoint/sharded.js'
import type { Quantization } from '../checkpoint/tensor-type.js'
import { readOptionalTextFile, readTextFile } from '../checkpoint/text-file.js'
import type { Bridge } from '../depth/bridge.js'
import { checkPlan, type Plan } from '../depth/plan.js'
import { FileError, InputError, ShoalError, UnsupportedError } from '../errors.js'
import type { Family } from '../families/family.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import { familyByArchitecture } from '../families/index.js'
import { haveSameLayers, keepLayers } from '../families/keep-layers.js'
import { unlikeLlamaCpp } from '../families/llama-cpp.js'
import { convertWeights, countParameters, type Target } from './convert.js'
import { findTensor } from './find-tensor.js'
import { readGgufModel } from './gguf-model.js'
import { readPackageFacts } from './metadata.js'
import { chooseQuantization, familyOf, locateModel } from './package.js'
import { type CardFacts, modelCard } from './reduce/card.js'
import { readerOf, reduceConfig } from './reduce/config.js'
import { type DownFold, downFolds, type FoldOptions } from './reduce/down-folds.js'
import { foldWeights } from './reduce/folded-weights.js'
import { copySmallFiles, type Written, writeText, writeWeights } from './reduce/folder.js'
import { type KeptTensor, keptBytes, keptTensors, reduceMetadata, writeReducedGguf } from './reduce/gguf.js'
import { keptName } from './reduce/layer-name.js'
import { reduceWeights } from './reduce/weights.js'

export const EXPORT_FORMATS = ['hf', 'gguf'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface ExportTarget {
  readonly format: ExportFormat
  /** Folder (hf) or file (gguf) to write. */
  readonly path: string
  /** Replace what stands there: a checkpoint folder, or a file. */
  readonly force?: boolean
  /** Type of the matrices of a GGUF file made from a folder; refused for anything else. */
  readonly quantization?: Quantization
}

export interface ExportOptions extends ExportTarget {
  /** What the model card says beside the layers. */
  readonly card: Omit<CardFacts, 'name' | 'baseModel' | 'layers' | 'plan' | 'licence' | 'folded'>
  /** Bridges over the plan's gaps, which are folded into the down projections below them; default none. */
  readonly bridges?: readonly Bridge[]
  /** Threads that fold; default all cores. */
  readonly threads?: number
  /** Told bytes written, of how many. */
  readonly progress?: (loaded: number, total: number) => void
  readonly signal?: AbortSignal
}

export interface Exported {
  readonly path: string
  readonly format: ExportFormat
  /** Of a GGUF file's matrices; null for a folder, whose tensors are the source's. */
  readonly quantization: string | null
  readonly tensors: number
  /** Of the tensors; of the whole file for gguf. */
  readonly bytes: number
  readonly parameters: number
  readonly totalParameters: number
  /** Layers of the source whose down projection has a bridge in it. */
  readonly folded: readonly number[]
  readonly warnings: readonly string[]
}

/** A model as it stands before layers are left out. */
export interface ExportSource {
  readonly name: string
  readonly layers: number
  /** The depth that it was made for; `full` where it does not say. */
  readonly depth: string
  /** Where a GGUF file is to be made: what its matrices become. */
  readonly quantization: Target | null
  readonly family: Family
  readonly h: Hyperparameters
}

/**
 * Refuses at once what could only fail later: a target that is in the way, a format that the source cannot become, weights
 * that are not there.
 * @throws FileError, InputError, UnsupportedError
 */
export async function prepareExport(model: string, target: ExportTarget): Promise<ExportSource> {
  const location = locateModel(model)
  if (location.kind === 'gguf') {
    if (target.format === 'hf') {
      throw new UnsupportedError(`${model}: is a GGUF file, which becomes no Hugging Face folder; use --format gguf`)
    }
    if (target.quantization !== undefined) {
      throw new InputError(`${model}: a GGUF file keeps its own quantization; ${target.quantization} is for folders`)
    }
    checkFile(target, location.path)
    const gguf = await readGgufModel(location.path)
    for (const part of gguf.parts) checkFile(target, part.path)
    const { family, h } = openGgufModel(gguf)
    const { depth = 'full' } = readPackageFacts(gguf.metadata).settings
    return { name: location.name, layers: h.layers, depth, quantization: null, family, h }
  }
  if (target.format === 'hf' && target.quantization !== undefined) {
    throw new InputError(`--quantization is for --format gguf; a folder keeps its tensors as they are`)
  }
  if (target.format === 'gguf') checkFile(target, location.path)
  else checkFolder(target, location.path)
  const checkpoint = await openHuggingFace(location.path)
  const family = familyOf(checkpoint)
  await (await openWeights(checkpoint.folder)).close()
  const h = family.fromConfig(checkpoint.config)
  return {
    name: location.name,
    layers: h.layers,
    depth: checkpoint.settings.depth ?? 'full',
    quantization: target.format === 'gguf' ? await chooseQuantization(checkpoint, family, target.quantization) : null,
    family,
    h,
  }
}

/**
 * Refuses bridges that become no part of a checkpoint.
 * @throws UnsupportedError, InputError
 */
export function checkFolds({ family, h }: ExportSource, plan: Plan, bridges: readonly Bridge[]): void {
  downFolds(bridges, plan, family, h)
}

/**
 * Writes a checkpoint that has the layers of a plan and no others, with bridges in their down projections. What is written appears under its name only when it is
 * complete.
 * @throws FileError, InputError, UnsupportedError, SpecError; ShoalError `aborted`
 */
export async function exportModel(model: string, plan: Plan, options: ExportOptions): Promise<Exported> {
  const { name, layers, family, h: whole } = await prepareExport(model, options)
  checkPlan(plan, layers, 'plan')
  const folds = downFolds(options.bridges ?? [], plan, family, whole)
  const location = locateModel(model)
  if (location.kind === 'gguf') return exportGguf(await readGgufModel(location.path), name, plan, folds, options)
  const checkpoint = await openHuggingFace(location.path)
  const weights = await openWeights(checkpoint.folder)
  try {
    const text = reduceConfig(checkpoint.config, await readTextFile(checkpoint.config.path), layers, plan)
    const { depth: _, ...settings } = checkpoint.settings
    const reduced = { ...checkpoint, settings, config: readerOf(checkpoint.config, text) }
    const view = reduceWeights(weights, keptName(family.layersAt, plan))
    const h = family.fromConfig(reduced.config)
    if (!haveSameLayers(h, keepLayers(whole, plan))) throw otherLayers(checkpoint.config.path)
    const source = { checkpoint: reduced, family, weights: view, configText: text, plan, folds, whole, h }
    return options.format === 'hf' ? await writeFolder(source, options) : await writeGguf(source, options)
  } finally {
    await weights.close()
  }
}

interface Reduced {
  readonly checkpoint: HuggingFaceFolder
  readonly family: Family
  readonly weights: TensorSource
  readonly configText: string
  readonly plan: Plan
  readonly folds: ReadonlyMap<string, DownFold>
  /** Of the source, and of what is written. */
  readonly whole: Hyperparameters
  readonly h: Hyperparameters
}

async function writeFolder(source: Reduced, options: ExportOptions): Promise<Exported> {
  const { checkpoint, family, configText, plan, folds, whole, h } = source
  const mappings = family.tensors(h)
  const matrices = await openPrequantized(checkpoint.config, source.weights)
  if (folds.size > 0 && matrices.summary !== null) {
    throw new UnsupportedError(
      `${checkpoint.folder}: is quantised, and its matrices change where bridges fold into them; use --format gguf`,
    )
  }
  for (const mapping of mappings) findTensor(matrices, checkpoint.folder, mapping)
  const weights = foldWeights(source.weights, checkpoint.folder, mappings, folds, foldOptions(options))
  const bytes = [...weights.tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0)
  const licence = licenceLines((await readOptionalTextFile(join(checkpoint.folder, 'README.md'))) ?? '')
  const name = basename(resolve(options.path))
  const folded = foldedLayers(folds)
  const facts = { ...options.card, name, baseModel: checkpoint.name, layers: whole.layers, plan, licence, folded }
  const card = modelCard(facts)
  const folder = await createAtomicFolder(options.path, options.force ? { marker: 'config.json' } : null)
  try {
    await copySmallFiles(checkpoint.folder, folder.temporary)
    await writeText(join(folder.temporary, 'config.json'), configText)
    await writeText(join(folder.temporary, 'README.md'), card)
    await writeWeights(weights, folder.temporary, counter(bytes, options))
    await folder.commit()
  } catch (error) {
    await folder.abort()
    throw error
  }
  return {
    path: options.path,
    format: 'hf',
    quantization: null,
    tensors: weights.tensors.size,
    bytes,
    ...parametersOf(family, h, whole),
    folded,
    warnings: [],
  }
}

async function writeGguf(source: Reduced, options: ExportOptions): Promise<Exported> {
  const { checkpoint, family, folds, whole, h } = source
  const quantization = await chooseQuantization(checkpoint, family, options.quantization)
  const { path, progress, signal } = options
  const stored = await openPrequantized(checkpoint.config, source.weights)
  const weights = foldWeights(stored, checkpoint.folder, family.tensors(h), folds, foldOptions(options))
  const {
    bytes,
    warnings,
    quantization: type,
  } = await convertWeights(checkpoint, weights, family, {
    path,
    quantization,
    name: basename(path, '.gguf'),
    baseModel: checkpoint.name,
    forLlamaCpp: true,
    ...(progress !== undefined && { progress }),
    ...(signal !== undefined && { signal }),
  })
  const tensors = family.tensors(h).length + family.computedTensors(h).length
  return {
    path,
    format: 'gguf',
    quantization: type,
    tensors,
    bytes,
    ...parametersOf(family, h, whole),
    folded: foldedLayers(folds),
    warnings: [...warnings, ...unlikeLlamaCpp(family, h)],
  }
}

async function exportGguf(
  gguf: GgufFile,
  source: string,
  plan: Plan,
  folds: ReadonlyMap<string, DownFold>,
  options: ExportOptions,
): Promise<Exported> {
  const { family, h } = openGgufModel(gguf)
  const names = { name: basename(options.path, '.gguf'), baseModel: source }
  const reduced = keepLayers(h, plan)
  const metadata = reduceMetadata(gguf.metadata, family.architecture, h.layers, plan, names)
  for (const [key, value] of family.toMetadata(reduced).values) metadata.values.set(key, value)
  const kept = keptTensors(gguf, plan, folds)
  const written = family.fromMetadata(metadata, new Set(kept.map(({ name }) => name)))
  if (!haveSameLayers(written, reduced)) throw otherLayers(gguf.path)
  const total = kept.reduce((sum, each) => sum + keptBytes(each), 0)
  const { path } = options
  const bytes = await writeReducedGguf(gguf, metadata, kept, path, counter(total, options), foldOptions(options))
  return {
    path,
    format: 'gguf',
    quantization: metadata.has('shoal.quantization') ? metadata.string('shoal.quantization') : null,
    tensors: kept.length,
    bytes,
    ...parametersOf(family, reduced, h),
    folded: foldedLayers(folds),
    warnings: [...roundedWarnings(kept), ...unlikeLlamaCpp(family, reduced)],
  }
}

function foldedLayers(folds: ReadonlyMap<string, DownFold>): number[] {
  return [...new Set([...folds.values()].map(({ bridge }) => bridge.from))]
}

/** Matrices of a quantised file are rounded once more where something was folded into them. */
function roundedWarnings(kept: readonly KeptTensor[]): string[] {
  const types = kept.flatMap(({ fold, type }) => (fold === null || ['f32', 'f16', 'bf16'].includes(type) ? [] : [type]))
  if (types.length === 0) return []
  const matrices = types.length === 1 ? '1 down projection was' : `${types.length} down projections were`
  return [
    `${matrices} rounded to ${[...new Set(types)].join(', ')} again with a bridge inside; from the original checkpoint it would be more exact`,
  ]
}

function openGgufModel(gguf: GgufFile): { family: Family; h: Hyperparameters } {
  const { metadata, path } = gguf
  if (!metadata.has('tokenizer.ggml.model')) {
    throw new UnsupportedError(
      `${path}: holds no tokenizer that llama.cpp knows, so no GGUF file of it would run there`,
    )
  }
  const family = familyByArchitecture(metadata.string('general.architecture'), path)
  const h = family.fromMetadata(metadata, new Set(gguf.tensors.keys()))
  const missing = family.tensors(h).find(({ name }) => !gguf.tensors.has(name))
  if (missing !== undefined) throw new FileError(path, `tensor ${missing.name} is missing`)
  return { family, h }
}

function parametersOf(family: Family, reduced: Hyperparameters, whole: Hyperparameters) {
  return {
    parameters: countParameters(family.tensors(reduced)),
    totalParameters: countParameters(family.tensors(whole)),
  }
}

/** Which layers have a window, experts or rotation may follow from their number alone, and then changes with it. */
function otherLayers(path: string): UnsupportedError {
  return new UnsupportedError(
    `${path}: says by a rule which layers have a window, experts or rotation; with fewer layers others would. List them (layer_types), or export --format gguf`,
  )
}

/** Adds up what is written, and stops where it is to stop. */
function counter(total: number, options: ExportOptions): Written {
  let loaded = 0
  return (bytes) => {
    loaded += bytes
    options.progress?.(loaded, total)
    throwIfStopped(options)
  }
}

function foldOptions(options: ExportOptions): FoldOptions {
  return { threads: options.threads, check: () => throwIfStopped(options) }
}

function throwIfStopped({ path, signal }: ExportOptions): void {
  if (signal?.aborted) throw new ShoalError('aborted', `${path}: the export was stopped`, { cause: signal.reason })
}

function checkFile({ path, force }: ExportTarget, source: string): void {
  const found = statSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (realpathSync(path) === realpathSync(source)) throw new InputError(`${path}: is the model itself`)
  if (!found.isFile()) throw new FileError(path, 'is a folder; --format gguf writes a file')
  if (force !== true) throw new FileError(path, 'exists already; --force replaces it')
}

function checkFolder({ path, force }: ExportTarget, source: string): void {
  if (!existsSync(path)) return
  const [ours, theirs] = [realpathSync(path), realpathSync(source)]
  if (ours === theirs || theirs.startsWith(ours + sep)) throw new InputError(`${path}: is or holds the model itself`)
  if (force !== true) throw new FileError(path, 'exists already; --force replaces it')
}
