import { LENGTH_BYTES, type ListBytes, listBytes } from '../checkpoint/gguf-list.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import { Pace } from '../pace.js'

/** What libllama takes for ids that a file does not name, by `tokenizer.ggml.model`. */
const KINDS: Readonly<Record<string, { readonly bos: number | null; readonly eos: number | null }>> = {
  llama: { bos: 1, eos: 2 },
  gpt2: { bos: 11, eos: 11 },
  gemma4: { bos: null, eos: null },
  bert: { bos: 101, eos: null },
}

/** Default separator of a `bert` vocabulary, which ends every text. */
const BERT_SEPARATOR = 102

const ID_KEYS =
  `bos eos eot eom unknown seperator padding mask cls fim_pre fim_suf fim_mid fim_pad fim_rep fim_sep prefix suffix middle`
    .split(' ')
    .map((name) => `${name}_token_id`)

const FLAG_KEYS =
  'add_bos_token add_eos_token add_sep_token add_space_prefix remove_extra_whitespaces normalizer.lowercase normalizer.strip_accents'.split(
    ' ',
  )

/** Far above any real vocabulary: the longest tokens in use are 512 spaces, the largest vocabularies a million tokens. */
const MOST_TOKENS = 4_000_000
const MOST_MERGES = 8_000_000
const LONGEST_TOKEN = 4096
/** libllama looks for each of these in every text. */
const MOST_SPECIAL = 65_536

/** Characters that libllama may write for tokens whose characters stand for no byte: it repeats the token for each. */
const MOST_ODD_TEXT = 2 ** 26

const UNKNOWN_TYPE = 2
const USER_DEFINED_TYPE = 4
const BYTE_TYPE = 6
const NORMAL_TYPE = 1

/** True where a file has the text of its tokens. */
export function hasVocabulary(metadata: GgufMetadata): boolean {
  if (!metadata.has('tokenizer.ggml.tokens') || !metadata.has('tokenizer.ggml.model')) return false
  return !['none', 'no_vocab'].includes(metadata.string('tokenizer.ggml.model'))
}

export interface CheckedVocabulary {
  /** What libllama gets. */
  readonly gguf: GgufMetadata
  /** By id, as the file spells them. */
  readonly tokens: readonly string[]
  readonly warnings: readonly string[]
}

/**
 * The part of a file's metadata that libllama needs for text, every key of it checked: libllama asserts, and the process
 * ends, where tokens repeat, where a token that is to be added is missing, or where text has a byte without a token.
 * @throws FileError, or UnsupportedError for a kind of vocabulary that Shoal does not hand over
 */
export async function checkVocabulary(metadata: GgufMetadata): Promise<CheckedVocabulary> {
  const { path } = metadata
  const pace = new Pace()
  const model = metadata.string(key('model'))
  const kind = Object.hasOwn(KINDS, model) ? KINDS[model]! : null
  if (kind === null) {
    const known = Object.keys(KINDS).join(', ')
    throw new UnsupportedError(`${path}: text of a vocabulary of kind "${model}" is not supported, only of ${known}`)
  }
  const types = typesOf(metadata)
  const tokens = await checkTokens(metadata, types, model === 'gpt2', pace)
  const warnings: string[] = []
  const entries: [string, GgufValue][] = [
    // Any architecture that libllama knows: it reads nothing else of it here, and the file's own may be one that it does not.
    ['general.architecture', { type: 'string', value: 'llama' }],
    [key('model'), { type: 'string', value: model }],
  ]
  const copy = (name: string): void => {
    entries.push([key(name), metadata.values.get(key(name))!])
  }
  // libllama knows Phi 3 by its name, and takes for granted that it has these tokens.
  const phi = ['</s>', '<unk>', '<s>', '<|endoftext|>'].every((text) => tokens.includes(text))
  if (phi && metadata.values.get('general.name')?.type === 'string')
    entries.push(['general.name', { type: 'string', value: metadata.string('general.name') }])
  copy('tokens')
  if (types !== null) copy('token_type')
  if (metadata.has(key('scores'))) {
    checkScores(metadata, tokens.length)
    copy('scores')
  }
  if (model === 'gpt2' || model === 'gemma4') {
    await checkMerges(metadata, pace)
    copy('merges')
    const pre = metadata.has(key('pre')) ? metadata.string(key('pre')) : ''
    if (model === 'gpt2' && (pre === '' || pre === 'default')) {
      warnings.push('the file does not say how to split text into words: it may be split otherwise than in training')
    }
    // It is for another kind of vocabulary, and spaces end the process with this one.
    if (pre === 'whitespace') throw new UnsupportedError(`${path}: ${key('pre')} = "${pre}" is not supported`)
    if (pre !== '') entries.push([key('pre'), { type: 'string', value: pre }])
  }
  if (model === 'llama') checkByteTokens(path, tokens)

  const ids = new Map<string, number>()
  for (const name of ID_KEYS) {
    if (!metadata.has(key(name))) continue
    const id = metadata.number(key(name))
    // libllama goes by its own default there, as if the key were missing.
    if (Number.isInteger(id) && id >= 0 && id < tokens.length) ids.set(name, id)
    else if (id !== -1 && id !== 2 ** 32 - 1)
      warnings.push(`${key(name)} = ${id} is not one of the ${tokens.length} tokens`)
  }
  for (const [name, value] of ids) entries.push([key(name), { type: 'uint32', value }])
  const flags = new Map(
    FLAG_KEYS.filter((name) => metadata.has(key(name))).map((name) => [name, metadata.boolean(key(name))]),
  )
  const has = (name: string, fallback: number | null): boolean =>
    ids.has(name) || (fallback !== null && fallback < tokens.length)
  const requireToken = (flag: string, name: string, fallback: number | null, implied: boolean): void => {
    if (has(name, fallback)) return
    if (flags.get(flag) ?? implied) {
      throw new FileError(path, `every text gets a token that the vocabulary lacks: there is no ${key(name)}`)
    }
    flags.set(flag, false)
  }
  requireToken('add_bos_token', 'bos_token_id', kind.bos, model !== 'gpt2')
  requireToken('add_eos_token', 'eos_token_id', kind.eos, false)
  if (model === 'bert' && !has('seperator_token_id', BERT_SEPARATOR)) {
    throw new FileError(path, `there is no ${key('seperator_token_id')}`)
  }
  for (const [name, value] of flags) entries.push([key(name), { type: 'bool', value }])
  return { gguf: new GgufMetadata(path, entries), tokens, warnings }
}

function key(name: string): string {
  return `tokenizer.ggml.${name}`
}

async function checkTokens(
  metadata: GgufMetadata,
  types: readonly number[] | null,
  byteLevel: boolean,
  pace: Pace,
): Promise<readonly string[]> {
  const { path } = metadata
  const name = key('tokens')
  const count = metadata.length(name)
  if (count === 0 || count > MOST_TOKENS) throw new FileError(path, `has ${count} tokens`)
  if (types !== null && types.length < count) {
    throw new FileError(path, `has ${count} tokens and ${types.length} types of tokens`)
  }
  const entry = metadata.values.get(name)!
  const tokens: string[] = []
  const ids = new Map<string, number>()
  let oddText = 0
  let special = 0
  for (let id = 0; id < count; id++) {
    const text = metadata.stringAt(name, id)!
    const type = types?.[id] ?? NORMAL_TYPE
    if (text.length > LONGEST_TOKEN) throw new FileError(path, `token ${id} is ${text.length} characters long`)
    const unique = nameOf(entry, id, text)
    const before = ids.get(unique)
    if (before !== undefined) throw new FileError(path, `tokens ${before} and ${id} are both ${JSON.stringify(text)}`)
    ids.set(unique, id)
    if (type < 0 || type > BYTE_TYPE) throw new FileError(path, `token ${id} has the unknown type ${type}`)
    if (type === BYTE_TYPE && !/^<0x[0-9A-Fa-f]{2}>$/.test(text)) {
      throw new FileError(path, `token ${id} is said to be a byte, and is ${JSON.stringify(text)}`)
    }
    if (byteLevel && type === NORMAL_TYPE && ODD.test(text)) {
      oddText += text.length * (3 * text.length + 16)
      if (oddText > MOST_ODD_TEXT) throw new FileError(path, 'too many of its tokens are no byte-level BPE')
    }
    if (type >= UNKNOWN_TYPE && type <= USER_DEFINED_TYPE && ++special > MOST_SPECIAL) {
      throw new FileError(path, `has more than ${MOST_SPECIAL} special tokens`)
    }
    tokens.push(text)
    const turn = id % 256 === 0 ? pace.next() : null
    if (turn !== null) await turn
  }
  return tokens
}

/** What tells a token from others: its text, as libllama names empty ones, or its bytes where they are no UTF-8. */
function nameOf(entry: GgufValue, id: number, text: string): string {
  if (text === '') return `[EMPTY_${id}]`
  const list = text.includes('\ufffd') ? listBytes(entry) : null
  if (list === null) return text
  const end = list.starts[id + 1]! - LENGTH_BYTES
  return `bytes ${Buffer.from(list.bytes.subarray(list.starts[id]!, end)).toString('hex')}`
}

/** Types of the tokens, or null where the file has none: then all are normal. */
function typesOf(metadata: GgufMetadata): readonly number[] | null {
  const value = metadata.values.get(key('token_type'))
  if (value === undefined) return null
  if (value.type !== 'array' || value.of !== 'int32') {
    throw new FileError(metadata.path, `${key('token_type')} is no list of int32`)
  }
  return value.value
}

function checkScores(metadata: GgufMetadata, tokens: number): void {
  const { path } = metadata
  const value = metadata.values.get(key('scores'))
  if (value?.type !== 'array' || (value.of !== 'float32' && value.of !== 'int32')) {
    throw new FileError(path, `${key('scores')} is no list of float32`)
  }
  if (value.value.length < tokens) throw new FileError(path, `has ${tokens} tokens and ${value.value.length} scores`)
  const wrong = value.value.findIndex((score) => Number.isNaN(score))
  if (wrong >= 0) throw new FileError(path, `the score of token ${wrong} is not a number`)
}

async function checkMerges(metadata: GgufMetadata, pace: Pace): Promise<void> {
  const { path } = metadata
  const name = key('merges')
  const count = metadata.length(name)
  if (count > MOST_MERGES) throw new FileError(path, `has ${count} merges`)
  const list = listBytes(metadata.values.get(name)!)
  for (let i = 0; i < count; i++) {
    // The left one of the two may begin with a space.
    const space = list === null ? metadata.stringAt(name, i)!.indexOf(' ', 1) : spaceIn(list, i)
    if (space < 0) throw new FileError(path, `merge ${i} is not two tokens with a space between them`)
    const turn = i % 256 === 0 ? pace.next() : null
    if (turn !== null) await turn
  }
}

/** Where a string of a list has a space behind its first byte, -1 where it has none. */
function spaceIn({ bytes, starts }: ListBytes, index: number): number {
  const at = bytes.indexOf(0x20, starts[index]! + 1)
  return at < starts[index + 1]! - LENGTH_BYTES ? at : -1
}

/** Text may hold any byte of UTF-8, and libllama looks each up that is in no token. */
function checkByteTokens(path: string, tokens: readonly string[]): void {
  const known = new Set(tokens)
  for (let byte = 0; byte < 0xf5; byte++) {
    if (byte === 0xc0 || byte === 0xc1) continue
    const name = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
    if (known.has(name) || (byte < 0x80 && known.has(String.fromCharCode(byte)))) continue
    throw new FileError(path, `the vocabulary has no token for byte ${byte} (${name})`)
  }
}

/** A character beyond those that byte-level BPE writes bytes with. */
const ODD = /[^\u0021-\u007e\u00a1-\u00ac\u00ae-\u0143]/u
