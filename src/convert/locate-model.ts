import { existsSync, readdirSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fileError } from '../checkpoint/file-errors.js'
import { ggufModelName } from '../checkpoint/gguf-split.js'
import { folderName } from '../checkpoint/snapshot-name.js'
import { FileError, InputError } from '../errors.js'

/** The model that runs where none is named. */
export const DEFAULT_MODEL = 'ripple-8m'

const PRETRAINED = fileURLToPath(new URL('../../pretrained/', import.meta.url))

/** Where a model is: a checkpoint folder, or a GGUF file. */
export interface ModelLocation {
  readonly kind: 'folder' | 'gguf'
  readonly path: string
  readonly name: string
}

/** Finds a model on this machine without opening it. */
export function locateModel(model: string): ModelLocation {
  checkName(model)
  const found = statOf(model)
  if (found?.isDirectory()) return { kind: 'folder', path: model, name: folderName(model) }
  if (found !== undefined) return { kind: 'gguf', path: model, name: ggufModelName(model) }
  const bundled = bundledModels()
  if (bundled.includes(model)) return { kind: 'folder', path: join(PRETRAINED, model), name: model }
  throw new FileError(model, `no such folder, GGUF file or bundled model (${bundled.join(', ')})`, 'file_missing')
}

/** Whether a name stands for something on this machine. Throws InputError where it can stand for nothing. */
export function isLocalModel(model: string): boolean {
  checkName(model)
  return statOf(model) !== undefined || bundledModels().includes(model)
}

function checkName(model: string): void {
  if (typeof model === 'string' && model !== '' && !model.includes('\0')) return
  const given = typeof model === 'string' ? JSON.stringify(model.slice(0, 60)) : String(model)
  throw new InputError(`a model is the path of a folder or GGUF file, or the name of a bundled model, not ${given}`)
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw fileError(path, error)
  }
}

/** Names of the models that come with the package. */
export function bundledModels(): string[] {
  if (!existsSync(PRETRAINED)) return []
  return readdirSync(PRETRAINED).filter((name) => existsSync(join(PRETRAINED, name, 'config.json')))
}
