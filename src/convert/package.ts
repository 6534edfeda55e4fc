import { existsSync } from 'node:fs'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { type HuggingFaceFolder, openHuggingFace } from '../checkpoint/huggingface.js'
import { findQuantization } from '../checkpoint/prequantized/quantization-config.js'
import { QUANTIZATIONS, type Quantization } from '../checkpoint/tensor-type.js'
import { FileError, InputError, printable, UnsupportedError } from '../errors.js'
import type { Family } from '../families/family.js'
import { familyByModelType } from '../families/index.js'
import { unlikeLlamaCpp } from '../families/llama-cpp.js'
import { cachedPath, noteSource, noteUse, prepareCache } from './cache.js'
import { cacheFolder } from './cache-folder.js'
import { type Conversion, convert, countParameters, type Target } from './convert.js'
import { readGgufModel } from './gguf-model.js'
import { DEFAULT_MODEL, locateModel } from './locate-model.js'
import { type PackageFacts, readPackageFacts } from './metadata.js'
import type { ProgressListener } from './progress.js'
import { requantize } from './requantize.js'
import { resolveModel } from './resolve-model.js'

export { bundledModels, DEFAULT_MODEL, locateModel } from './locate-model.js'

/** Up to so many parameters a checkpoint is kept in f32: 400 MB of weights. */
const SMALL_MODEL = 100_000_000

export interface PackageOptions {
  /** What a folder is converted to; default f32 up to 100 million parameters, q4_0 above. Refused for a GGUF file. */
  readonly quantization?: Quantization
  readonly cacheDir?: string
  /** Of a model on the Hub: branch, tag or commit; default `main`. */
  readonly revision?: string
  readonly progress?: ProgressListener
  readonly signal?: AbortSignal
}

/** A model ready to be loaded: one checked GGUF file and what it says beside tensors and sizes. */
export interface Package extends PackageFacts {
  /** As shown to people: `ripple-8m`. */
  readonly name: string
  readonly path: string
  readonly gguf: GgufFile
  readonly quantization: string
  /** Where tokenizer and chat template came from, for errors: files of the folder, or the GGUF file. */
  readonly tokenizerPath: string
  readonly chatTemplatePath: string
}

/**
 * Finds a model, fetches it where it is one of the Hub, and converts it where that has not been done before.
 * @param model a folder in Hugging Face's layout, a GGUF file, the name of a bundled model, or one of the Hub
 * @throws FileError, UnsupportedError, InputError, HubError; ShoalError `aborted`
 */
export async function openPackage(model: string = DEFAULT_MODEL, options: PackageOptions = {}): Promise<Package> {
  const resolved = await resolveModel(model, options)
  const found = await openLocal(resolved.model, options)
  return { ...found, warnings: [...resolved.warnings, ...found.warnings] }
}

async function openLocal(model: string, options: PackageOptions): Promise<Package> {
  const { kind, path, name } = locateModel(model)
  if (kind === 'folder') return openFolder(await openHuggingFace(path), options)
  if (options.quantization !== undefined) {
    throw new InputError(`${model}: a GGUF file keeps its own quantization; ${options.quantization} is for folders`)
  }
  return describe(await readGgufModel(path), name)
}

export interface ConvertModelOptions {
  readonly quantization?: Quantization
  readonly progress?: ProgressListener
  readonly signal?: AbortSignal
}

/**
 * Writes a checkpoint as the GGUF file that `openPackage` would keep in the cache, or a GGUF file with its matrices in another
 * type.
 */
export async function convertModel(
  model: string,
  path: string,
  options: ConvertModelOptions = {},
): Promise<Conversion & { name: string; quantization: string }> {
  const location = locateModel(model)
  if (location.kind === 'gguf') return convertGguf(await readGgufModel(location.path), location.name, path, options)
  const checkpoint = await openHuggingFace(location.path)
  const family = familyOf(checkpoint)
  const quantization = await chooseQuantization(checkpoint, family, options.quantization)
  const conversion = await convertTo(path, checkpoint, family, quantization, options)
  const warnings = [...conversion.warnings, ...unlikeLlamaCpp(family, family.fromConfig(checkpoint.config))]
  return { ...conversion, warnings, name: checkpoint.name }
}

async function convertGguf(
  gguf: GgufFile,
  name: string,
  path: string,
  { progress, ...options }: ConvertModelOptions,
): Promise<Conversion & { name: string; quantization: string }> {
  const conversion = await requantize(gguf, {
    ...options,
    path,
    progress: (loaded, total) =>
      progress?.({ status: 'progress', name, file: path, progress: (100 * loaded) / total, loaded, total }),
  })
  return { ...conversion, name, quantization: options.quantization ?? quantizationOf(gguf) }
}

async function openFolder(checkpoint: HuggingFaceFolder, options: PackageOptions): Promise<Package> {
  const { cacheDir = cacheFolder(), signal } = options
  const family = familyOf(checkpoint)
  const quantization = await chooseQuantization(checkpoint, family, options.quantization)
  const path = await cachedPath(checkpoint, quantization, cacheDir, signal)
  const cached = existsSync(path) ? await readIntact(path) : null
  if (cached !== null) {
    await noteUse(path)
    return describe(cached, checkpoint.name, checkpoint)
  }
  await prepareCache(cacheDir)
  await convertTo(path, checkpoint, family, quantization, options)
  await noteSource(path, checkpoint, quantization)
  return describe(await readGguf(path), checkpoint.name, checkpoint)
}

/** A cached file, or null where it was damaged since: then it is made anew. */
async function readIntact(path: string): Promise<GgufFile | null> {
  try {
    return await readGguf(path)
  } catch (error) {
    if (error instanceof FileError || error instanceof UnsupportedError) return null
    throw error
  }
}

async function convertTo(
  path: string,
  checkpoint: HuggingFaceFolder,
  family: Family,
  quantization: Target,
  { progress, signal }: ConvertModelOptions,
): Promise<Conversion> {
  const { name } = checkpoint
  progress?.({ status: 'initiate', name, file: path, progress: 0, loaded: 0, total: 0 })
  const conversion = await convert(checkpoint, family, {
    path,
    quantization,
    ...(signal !== undefined && { signal }),
    progress: (loaded, total) =>
      progress?.({ status: 'progress', name, file: path, progress: (100 * loaded) / total, loaded, total }),
  })
  const { bytes } = conversion
  progress?.({ status: 'done', name, file: path, progress: 100, loaded: bytes, total: bytes })
  return conversion
}

export function familyOf(checkpoint: HuggingFaceFolder): Family {
  const { config } = checkpoint
  return familyByModelType(config.string('model_type'), config.path)
}

/** What matrices become where nobody says it: `stored` for a checkpoint that is quantised. */
export async function chooseQuantization(
  checkpoint: HuggingFaceFolder,
  family: Family,
  wanted?: Quantization,
): Promise<Target> {
  if (wanted === undefined) {
    if ((await findQuantization(checkpoint.config)) !== null) return 'stored'
    const parameters = countParameters(family.tensors(family.fromConfig(checkpoint.config)))
    return parameters <= SMALL_MODEL ? 'f32' : 'q4_0'
  }
  if (QUANTIZATIONS.includes(wanted)) return wanted
  throw new InputError(`unknown quantization ${String(wanted)}; known are ${QUANTIZATIONS.join(', ')}`)
}

function describe(gguf: GgufFile, name: string, source?: HuggingFaceFolder): Package {
  const facts = readPackageFacts(gguf.metadata)
  const warnings = facts.warnings.map((warning) => printable(warning))
  const { path } = gguf
  const { tokenizerPath = path, chatTemplatePath = path } = source ?? {}
  return { ...facts, warnings, name, path, gguf, quantization: quantizationOf(gguf), tokenizerPath, chatTemplatePath }
}

/** What Shoal converted it to; of another maker's file, the type that takes the most bytes. */
function quantizationOf(gguf: GgufFile): string {
  if (gguf.metadata.has('shoal.quantization')) return gguf.metadata.string('shoal.quantization')
  const bytes = new Map<string, number>()
  for (const tensor of gguf.tensors.values()) bytes.set(tensor.type, (bytes.get(tensor.type) ?? 0) + tensor.bytes)
  const [largest] = [...bytes].sort((a, b) => b[1] - a[1])
  return largest?.[0] ?? 'f32'
}
