import { existsSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { FileError } from '../errors.js'
import type { GgufFile, GgufTensor } from './gguf-file.js'
import { GGUF_MAX_PARTS, GGUF_MAX_TENSORS } from './gguf-format.js'
import { GgufMetadata } from './gguf-metadata.js'

/** Keys that only say how a file is split. */
const SPLIT_KEY = /^split\./

/** `NAME-00001-of-00003.gguf`, as llama.cpp and its converter name parts; numbers begin with 1. */
const PART_NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s

/** The name of a model without the ending of its file: of a split one, without the part's number. */
export function ggufModelName(path: string): string {
  const name = basename(path)
  const [, stem = ''] = PART_NAME.exec(name) ?? []
  return stem === '' ? basename(name, '.gguf') : stem
}

/** Metadata without what is said of parts. */
export function withoutSplitKeys(metadata: GgufMetadata): GgufMetadata {
  if (![...metadata.values.keys()].some((key) => SPLIT_KEY.test(key))) return metadata
  return new GgufMetadata(
    metadata.path,
    [...metadata.values].filter(([key]) => !SPLIT_KEY.test(key)),
  )
}

/**
 * The whole model that a file is the first part of, or the file itself where it is not split. Parts stand in one folder
 * under names that differ by number; `split.no` counts from 0, and metadata is the first part's alone.
 * @param read reads the header of one part
 * @throws FileError
 */
export async function joinParts(first: GgufFile, read: (path: string) => Promise<GgufFile>): Promise<GgufFile> {
  const { path, metadata } = first
  const count = metadata.has('split.count') ? metadata.count('split.count') : 1
  if (count <= 1) return first
  if (count > GGUF_MAX_PARTS) {
    throw new FileError(path, `says that it is one of ${count} parts; at most ${GGUF_MAX_PARTS} may be`)
  }
  const names = partNames(path, count)
  const number = metadata.count('split.no')
  if (number !== 0) {
    throw new FileError(path, `is part ${number + 1} of a model in ${count} parts; give the first, ${names[0]}`)
  }
  if (basename(path) !== names[0]) {
    throw new FileError(path, `says that it is the first of ${count} parts; its name must be ${names[0]}`)
  }
  const declared = metadata.count('split.tensors.count')
  if (declared > GGUF_MAX_TENSORS) {
    throw new FileError(path, `split.tensors.count of ${declared} is over the limit of ${GGUF_MAX_TENSORS}`)
  }
  const paths = names.map((name) => join(dirname(path), name))
  // All of them first: a download under way lacks the last.
  const missing = paths.find((each) => !existsSync(each))
  if (missing !== undefined) {
    throw new FileError(missing, `is missing: ${names[0]} is the first of ${count} parts`, 'file_missing')
  }
  const tensors = new Map(first.tensors)
  const parts = [...first.parts]
  for (const [index, each] of paths.entries()) {
    if (index === 0) continue
    const part = await read(each)
    checkPart(part, index, first)
    parts.push(...part.parts)
    addTensors(tensors, part, index, names)
    if (tensors.size > declared) break
  }
  if (tensors.size !== declared) {
    const found = tensors.size > declared ? 'more' : tensors.size
    throw new FileError(path, `split.tensors.count says ${declared} tensors, the ${count} parts have ${found}`)
  }
  return { ...first, parts, bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0), tensors }
}

/** Names of all parts; where the file's own is none of a part, with the stem that it has. */
function partNames(path: string, count: number): string[] {
  const name = basename(path)
  const [, stem = basename(name, '.gguf')] = PART_NAME.exec(name) ?? []
  const digits = (n: number): string => String(n).padStart(5, '0')
  return Array.from({ length: count }, (_, i) => `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`)
}

function checkPart({ path, metadata }: GgufFile, index: number, first: GgufFile): void {
  const number = metadata.count('split.no')
  if (number !== index) throw new FileError(path, `split.no is ${number} where part ${index + 1} has ${index}`)
  for (const key of ['split.count', 'split.tensors.count']) {
    if (!metadata.has(key) || metadata.count(key) === first.metadata.count(key)) continue
    throw new FileError(path, `${key} is not what ${basename(first.path)} says: the parts are of different models`)
  }
  const architecture = 'general.architecture'
  if (!metadata.has(architecture) || metadata.string(architecture) === first.metadata.string(architecture)) return
  throw new FileError(
    path,
    `${architecture} is not what ${basename(first.path)} says: the parts are of different models`,
  )
}

function addTensors(tensors: Map<string, GgufTensor>, part: GgufFile, index: number, names: readonly string[]): void {
  for (const [name, tensor] of part.tensors) {
    const twin = tensors.get(name)
    if (twin !== undefined) {
      throw new FileError(part.path, `has tensor ${name}, which ${names[twin.part]} has too`)
    }
    tensors.set(name, { ...tensor, part: index })
  }
}
