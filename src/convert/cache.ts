import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, rm, stat, utimes } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { removeLeftovers, writeAtomicFile } from '../checkpoint/atomic-file.js'
import { fileError } from '../checkpoint/file-errors.js'
import { CHECKPOINT_FILES, type HuggingFaceFolder } from '../checkpoint/huggingface.js'
import { makeFolder } from '../checkpoint/make-folder.js'
import { weightFiles } from '../checkpoint/sharded.js'
import { QUANTIZATIONS } from '../checkpoint/tensor-type.js'
import { readJsonFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { cacheFolder } from './cache-folder.js'
import { contentHash } from './content-hash.js'
import type { Target } from './convert.js'
import { CONVERTER_VERSION } from './metadata.js'

/** A converted model that the cache holds. */
export interface CachedModel {
  /** What tells it from others: the name of its file without the ending. */
  readonly id: string
  readonly name: string
  readonly quantization: string
  /** The folder that it was made from; empty where that is not known. */
  readonly source: string
  readonly path: string
  readonly bytes: number
  readonly lastUsed: Date
}

/**
 * The file that a checkpoint's conversion belongs in. Its name follows from the content of every file that matters, the
 * options, and the converter's version: other content is another file, and an old one is never mistaken for it.
 */
export async function cachedPath(
  checkpoint: HuggingFaceFolder,
  quantization: Target,
  cacheDir = cacheFolder(),
  signal?: AbortSignal,
): Promise<string> {
  const small = CHECKPOINT_FILES.map((file) => join(checkpoint.folder, file)).filter((file) => existsSync(file))
  const contents: [string, string][] = []
  for (const file of [...small, ...(await weightFiles(checkpoint.folder))]) {
    contents.push([basename(file), await contentHash(file, cacheDir, signal)])
  }
  const { name } = checkpoint
  const facts = JSON.stringify({ version: CONVERTER_VERSION, name, quantization, contents })
  const key = createHash('sha256').update(facts).digest('hex').slice(0, 16)
  return join(modelsFolder(cacheDir), `${name.replace(/[^\w.-]+/g, '_')}-${quantization}-${key}.gguf`)
}

/** Makes the folder for converted models, and clears it of what killed conversions left. */
export async function prepareCache(cacheDir = cacheFolder()): Promise<void> {
  const folder = modelsFolder(cacheDir)
  try {
    await makeFolder(folder)
  } catch (error) {
    if (!(error instanceof FileError)) throw error
    const reason = error.message.replace(`${error.path}: `, '')
    throw new FileError(error.path, `${reason}; SHOAL_CACHE may name another cache folder`)
  }
  await removeLeftovers(folder)
}

/** Notes for `listCache` where a model came from; its time of change is when it was last used. */
export async function noteSource(path: string, checkpoint: HuggingFaceFolder, quantization: Target): Promise<void> {
  const note = { name: checkpoint.name, quantization, source: resolve(checkpoint.folder) }
  try {
    await writeAtomicFile(notePath(path), `${JSON.stringify(note)}\n`)
  } catch {
    // The model itself is complete; without its note the list shows it by its file name.
  }
}

/** Marks a cached model as used now. A cache that cannot be written to is still good to read. */
export async function noteUse(path: string): Promise<void> {
  const now = new Date()
  await utimes(notePath(path), now, now).catch(() => undefined)
}

/** What the cache holds, last used first. */
export async function listCache(cacheDir = cacheFolder()): Promise<CachedModel[]> {
  const folder = modelsFolder(cacheDir)
  const files = await readdir(folder).catch((): string[] => [])
  const models = await Promise.all(
    files.filter((file) => file.endsWith('.gguf')).map((file) => describe(join(folder, file))),
  )
  return models.filter((model) => model !== null).sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime())
}

/** Removes one model from the cache. @throws FileError where the cache has none of this id */
export async function removeCached(id: string, cacheDir = cacheFolder()): Promise<void> {
  const path = join(modelsFolder(cacheDir), `${id}.gguf`)
  if (basename(path) !== `${id}.gguf` || !existsSync(path))
    throw new FileError(id, 'is not in the cache', 'file_missing')
  try {
    await rm(path)
    await rm(notePath(path), { force: true })
  } catch (error) {
    throw fileError(path, error)
  }
}

function modelsFolder(cacheDir: string): string {
  return join(cacheDir, 'models')
}

function notePath(path: string): string {
  return path.replace(/\.gguf$/, '.json')
}

async function describe(path: string): Promise<CachedModel | null> {
  const file = await stat(path).catch(() => null)
  if (file === null) return null
  const id = basename(path, '.gguf')
  const [, name = id, quantization = ''] =
    new RegExp(`^(.*)-(${[...QUANTIZATIONS, 'stored'].join('|')})-[0-9a-f]{16}$`).exec(id) ?? []
  const note = await readNote(notePath(path))
  return {
    id,
    name: note?.name ?? name,
    quantization,
    source: note?.source ?? '',
    path,
    bytes: file.size,
    lastUsed: note?.used ?? file.mtime,
  }
}

async function readNote(path: string): Promise<{ name: string; source: string; used: Date } | null> {
  try {
    const note = await readJsonFile(path)
    if (typeof note.name !== 'string' || typeof note.source !== 'string') return null
    return { name: note.name, source: note.source, used: (await stat(path)).mtime }
  } catch {
    return null
  }
}
