import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile } from '../checkpoint/gguf-file.js'
import { UnsupportedError } from '../errors.js'
import { BRIDGE_ARCHITECTURE } from './bridge-file.js'

/** Files of other kinds, and what to give in their place. */
const KINDS: Readonly<Record<string, string>> = {
  projector: 'is a projector for images or sound (mmproj), which belongs beside a model; give the model itself',
  adapter: 'is a LoRA adapter, not a model; give a model that it has been merged into',
  imatrix: 'is an importance matrix, which is used to quantise; give the model itself',
  control: 'is a control vector, not a model; give the model itself',
  draft: 'is a draft model, which guesses for a larger one; give the larger model',
  mtp: 'holds only the layers that predict further tokens (MTP); give the model that they belong to',
  bridges:
    'holds bridges over layers that are left out, not a model; run them with --depth plan:FILE, or bridge=FILE behind unified',
  vocabulary: 'holds a vocabulary and no weights; give the model itself',
}

/** `general.architecture` of what is no language model. */
const BY_ARCHITECTURE: Readonly<Record<string, string>> = {
  clip: 'projector',
  mmproj: 'projector',
  controlvector: 'control',
  eagle3: 'draft',
  dflash: 'draft',
  dspark: 'draft',
  [BRIDGE_ARCHITECTURE]: 'bridges',
}

/** `general.type`; other types of llama.cpp's are models. */
const BY_TYPE: Readonly<Record<string, string>> = {
  mmproj: 'projector',
  adapter: 'adapter',
  imatrix: 'imatrix',
}

/** What converters wrote up to 2024: a matrix for each expert, where one tensor has them all now. */
const SINGLE_EXPERT = /^blk\.\d+\.ffn_(gate|down|up)\.\d+\.weight$/

/**
 * Reads a GGUF file that is to be a language model.
 * @throws FileError; UnsupportedError that says what else it is, in one line
 */
export async function readGgufModel(path: string): Promise<GgufFile> {
  const gguf = await readGguf(path)
  const kind = kindOf(gguf)
  if (kind !== null) throw new UnsupportedError(`${path}: ${KINDS[kind]}`)
  const single = [...gguf.tensors.keys()].find((name) => SINGLE_EXPERT.test(name))
  if (single !== undefined) {
    throw new UnsupportedError(`${path}: tensor ${single} was made by an old converter; convert the model again`)
  }
  return gguf
}

function kindOf(gguf: GgufFile): string | null {
  const { metadata, tensors } = gguf
  const architecture = textOf(gguf, 'general.architecture')
  const named = entry(BY_TYPE, textOf(gguf, 'general.type')) ?? entry(BY_ARCHITECTURE, architecture)
  if (named !== null) return named
  if (metadata.has('adapter.type')) return 'adapter'
  if (metadata.has('imatrix.chunk_count')) return 'imatrix'
  if (isOnlyMtp(gguf, architecture)) return 'mtp'
  return tensors.size === 0 && metadata.has('tokenizer.ggml.model') ? 'vocabulary' : null
}

/** True where all layers are those behind the model's own, which count in `block_count` too. */
function isOnlyMtp({ metadata, tensors }: GgufFile, architecture: string): boolean {
  const predicted = numberOf(metadata.values.get(`${architecture}.nextn_predict_layers`)?.value)
  const layers = numberOf(metadata.values.get(`${architecture}.block_count`)?.value)
  if (predicted < 1 || layers < 1) return false
  const present = [...tensors.keys()].flatMap((name) => /^blk\.(\d+)\./.exec(name)?.[1] ?? [])
  return present.length > 0 && present.every((layer) => Number(layer) >= layers - predicted)
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** A string of the metadata; whatever else stands there is refused where it is needed. */
function textOf({ metadata }: GgufFile, key: string): string {
  const value = metadata.values.get(key)
  return value?.type === 'string' ? value.value : ''
}

function entry(table: Readonly<Record<string, string>>, key: string): string | null {
  return Object.hasOwn(table, key) ? (table[key] as string) : null
}
