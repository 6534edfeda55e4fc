import { basename } from 'node:path/posix'
import { CHECKPOINT_FILES } from '../checkpoint/huggingface.js'
import { MAX_TEXT_BYTES } from '../checkpoint/text-file.js'
import { HubError, UnsupportedError } from '../errors.js'
import type { ListedFile } from './hub-cache.js'
import type { HubId } from './hub-id.js'

/** What a model is wanted for: to run, to cut text into tokens, to look at its sizes. */
export type Need = 'all' | 'tokenizer' | 'config'

/** The files of a repository that make a model. */
export interface Choice {
  /** Path in the repository of the GGUF file to open, the first part of one that is split; null: the folder is the model. */
  readonly gguf: string | null
  readonly files: readonly string[]
  /** Names the files of weights; null where they are among `files`, or not needed. */
  readonly index: string | null
}

const WEIGHTS = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'
/** Of the model card only the licence is read. */
const MAX_CARD_BYTES = 1_000_000
/** GGUF files that are no models but come beside one. */
const BESIDE_MODELS = /mmproj|imatrix|mtp-|eagle3-|dflash-|dspark-/i
const PART = /-(\d{5})-of-(\d{5})\.gguf$/i
/** What is taken where nobody says which quantisation, as llama.cpp does. */
const DEFAULT_TAGS = ['Q4_K_M', 'Q8_0']

/**
 * Chooses what to fetch: a folder with safetensors where the repository is one and no GGUF file is asked for, else one
 * GGUF file.
 * @throws HubError, UnsupportedError: they say what there is instead
 */
export function chooseFiles(id: HubId, listed: readonly ListedFile[], need: Need = 'all'): Choice {
  const sizes = new Map(listed.map(({ path, size }) => [path, size]))
  const isFolder = sizes.has('config.json') && (need !== 'all' || sizes.has(WEIGHTS) || sizes.has(INDEX))
  if (id.file === undefined && id.tag === undefined && isFolder) return chooseFolder(id, sizes, need)
  const models = ggufModels(listed)
  const gguf = id.file === undefined ? chooseGguf(id, models, sizes) : findFile(id, id.file, sizes)
  return { gguf, files: partsOf(id, gguf, sizes), index: null }
}

/** The paths of what a model's quantisation may be, in order; of split files the first parts. */
export function ggufModels(listed: readonly ListedFile[]): string[] {
  return listed
    .map(({ path }) => path)
    .filter(
      (path) =>
        /\.gguf$/i.test(path) && !BESIDE_MODELS.test(basename(path)) && (PART.exec(path)?.[1] ?? '00001') === '00001',
    )
    .sort()
}

function chooseFolder({ repo }: HubId, sizes: ReadonlyMap<string, number>, need: Need): Choice {
  const small = need === 'config' ? ['config.json'] : CHECKPOINT_FILES.filter((file) => sizes.has(file))
  const index = need === 'all' && !sizes.has(WEIGHTS) ? INDEX : null
  const texts = index === null ? small : [...small, index]
  const large = texts.find((file) => sizes.get(file)! > MAX_TEXT_BYTES)
  if (large !== undefined) throw new HubError(repo, 'answer', `its ${large} is too large to be read`)
  if (need !== 'all') return { gguf: null, files: small, index: null }
  const card = (sizes.get('README.md') ?? Infinity) <= MAX_CARD_BYTES ? ['README.md'] : []
  return { gguf: null, files: [...small, ...card, index ?? WEIGHTS], index }
}

function chooseGguf({ repo, tag }: HubId, models: readonly string[], sizes: ReadonlyMap<string, number>): string {
  const [first] = models
  if (first === undefined) throw nothingUsable(repo, tag, sizes)
  if (tag === undefined) {
    for (const usual of DEFAULT_TAGS) {
      const [found] = matching(usual, models)
      if (found !== undefined) return found
    }
    return first
  }
  const found = matching(tag, models)
  if (found.length === 1) return found[0]!
  if (found.length > 1) {
    throw new HubError(repo, 'file', `several files are ${tag}: ${some(found)}; name one of them: ${repo}/${found[0]}`)
  }
  throw new HubError(repo, 'file', `no GGUF file is ${tag}; there are ${some(models)}`)
}

/** Those whose names end with the tag; else those where a dot or a dash follows it. */
function matching(tag: string, models: readonly string[]): string[] {
  const escaped = tag.replaceAll(/[.\\+*?[^\]$(){}=!<>|:#-]/g, '\\$&')
  const ends = new RegExp(`(^|[-._/])${escaped}(-\\d{5}-of-\\d{5})?\\.gguf$`, 'i')
  const exact = models.filter((path) => ends.test(path))
  return exact.length > 0 ? exact : models.filter((path) => new RegExp(`${escaped}[.-]`, 'i').test(basename(path)))
}

function findFile({ repo }: HubId, file: string, sizes: ReadonlyMap<string, number>): string {
  if (!sizes.has(file)) {
    const others = ggufModels([...sizes].map(([path, size]) => ({ path, size })))
    throw new HubError(repo, 'file', `has no file ${file}${others.length === 0 ? '' : `; there are ${some(others)}`}`)
  }
  // Whoever names another part means the model.
  return file.replace(PART, (_, _part: string, count: string) => `-00001-of-${count}.gguf`)
}

function partsOf({ repo }: HubId, first: string, sizes: ReadonlyMap<string, number>): string[] {
  const [end, , count] = PART.exec(first) ?? []
  if (end === undefined || Number(count) === 0) return [first]
  const parts = Array.from({ length: Number(count) }, (_, i) =>
    first.replace(PART, `-${String(i + 1).padStart(5, '0')}-of-${count}.gguf`),
  )
  const lacking = parts.find((part) => !sizes.has(part))
  if (lacking !== undefined) throw new HubError(repo, 'file', `has no ${lacking}, a part of ${first}`)
  return parts
}

/** What there is instead, and what may be done about it. */
function nothingUsable(repo: string, tag: string | undefined, sizes: ReadonlyMap<string, number>): Error {
  const paths = [...sizes.keys()]
  if (tag !== undefined) {
    const folder =
      sizes.has(WEIGHTS) || sizes.has(INDEX) ? `; ${repo} without :${tag} is a folder with safetensors` : ''
    return new HubError(repo, 'file', `has no GGUF files${folder}`)
  }
  if (sizes.has(WEIGHTS) || sizes.has(INDEX)) return new HubError(repo, 'file', 'has safetensors but no config.json')
  const weights = paths.filter((path) => /\.(bin|pth?|h5|msgpack|ot|ckpt|onnx|safetensors|model)$/i.test(path))
  if (weights.length === 0) return new HubError(repo, 'file', `holds no model: neither safetensors nor a GGUF file`)
  const bin = weights.some((path) => /\.(bin|pth?)$/i.test(path))
  const then = bin ? '; perhaps a pull request has safetensors (--revision refs/pr/N), or somebody a GGUF of it' : ''
  return new UnsupportedError(`${repo}: Shoal reads safetensors and GGUF, and it has ${some(weights)}${then}`)
}

function some(paths: readonly string[], most = 6): string {
  const more = paths.length > most ? ` and ${paths.length - most} more` : ''
  return `${paths.slice(0, most).join(', ')}${more}`
}
