import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { encodeGguf } from '../checkpoint/gguf-write.js'
import { InputError, UnsupportedError } from '../errors.js'
import { LlamaVocabulary, TOKEN_CONTROL, TOKEN_UNKNOWN } from '../ggml/llama-vocabulary.js'
import { checkDecode, checkEncode } from '../tokenizer/check-arguments.js'
import type { DecodeOptions, EncodeOptions, Tokenizer } from '../tokenizer/tokenizer.js'
import { type CheckedVocabulary, checkVocabulary, hasVocabulary } from './gguf-vocabulary.js'
import { cutLongRuns, runEnd, WholeTexts } from './long-runs.js'

/** Texts that a token which ends a generation may begin with; libllama knows them by their text. */
const END_TEXT = /^[<[_]/

/** Text of a GGUF file's tokens, by libllama. */
export interface GgufTokenizer {
  readonly tokenizer: Tokenizer
  readonly warnings: readonly string[]
}

/**
 * The tokenizer that a GGUF file describes, or null where it has no text. Loading leaves the event loop free.
 * @throws FileError where the vocabulary contradicts itself; UnsupportedError for one that libllama does not know
 */
export async function openGgufTokenizer(metadata: GgufMetadata): Promise<GgufTokenizer | null> {
  if (!hasVocabulary(metadata)) return null
  const checked = await checkVocabulary(metadata)
  const vocabulary = await LlamaVocabulary.load(encodeGguf(checked.gguf)).catch((error: unknown) => {
    if (!(error instanceof UnsupportedError)) throw error
    throw new UnsupportedError(`${metadata.path}: ${error.message}`, { cause: error })
  })
  return { tokenizer: new LlamaTokenizer(checked, vocabulary), warnings: checked.warnings }
}

class LlamaTokenizer implements Tokenizer {
  readonly size: number
  readonly endIds: readonly number[]
  private readonly path: string
  private readonly vocabulary: LlamaVocabulary
  private readonly tokens: readonly string[]
  /** What is added before and after a text. */
  private readonly prefix: readonly number[]
  private readonly suffix: readonly number[]
  private readonly cut: (text: string) => string[]
  /** SentencePiece writes a space before every text, which is not the text's own. */
  private readonly addsSpace: boolean
  private readonly known = new Map<number, KnownToken>()

  constructor({ gguf: metadata, tokens }: CheckedVocabulary, vocabulary: LlamaVocabulary) {
    this.path = metadata.path
    this.vocabulary = vocabulary
    this.size = vocabulary.size
    const model = metadata.string('tokenizer.ggml.model')
    const optional = (key: string): string => (metadata.has(key) ? metadata.string(key) : '')
    this.tokens = tokens
    const added = [...vocabulary.tokenize(new Uint8Array(0), true, false)]
    const before = vocabulary.addsBos || model === 'bert' ? 1 : 0
    this.prefix = added.slice(0, before)
    this.suffix = added.slice(before)
    this.endIds = endIds(metadata, tokens, vocabulary)
    const end = runEnd(model, optional('tokenizer.ggml.pre'))
    const types = metadata.values.get('tokenizer.ggml.token_type')
    const standing = (_: string, id: number): boolean =>
      types?.type === 'array' && STANDS_FOR_ITSELF.has(types.value[id])
    const whole = new WholeTexts(end === null ? [] : tokens.filter(standing))
    this.cut = end === null ? (text) => [text] : (text) => cutLongRuns(text, end, whole)
    const space = 'tokenizer.ggml.add_space_prefix'
    this.addsSpace = model === 'llama' && (!metadata.has(space) || metadata.boolean(space))
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    checkEncode(text, options)
    const { addSpecialTokens = true, parseSpecial = true } = options
    const ids: number[] = addSpecialTokens ? [...this.prefix] : []
    for (const piece of this.cut(text)) {
      for (const id of this.vocabulary.tokenize(Buffer.from(piece), false, parseSpecial)) ids.push(id)
    }
    if (addSpecialTokens) ids.push(...this.suffix)
    if (ids.some((id) => id < 0 || id >= this.size)) throw this.noToken()
    return ids
  }

  private noToken(): InputError {
    return new InputError(`${this.path}: the tokenizer has no token for some of the text`)
  }

  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    checkDecode(ids, options)
    const { skipSpecialTokens = false, continues = false } = options
    const pieces: Uint8Array[] = []
    for (const id of ids) {
      const token = this.token(id)
      if (token !== null && !(skipSpecialTokens && token.special)) pieces.push(token.piece)
    }
    const bytes = Buffer.concat(pieces)
    const first = ids[0] === undefined ? null : this.token(ids[0])
    const strip = this.addsSpace && !continues && bytes[0] === SPACE && first?.special === false
    return UTF8.decode(strip ? bytes.subarray(1) : bytes)
  }

  piece(id: number): string | null {
    return this.tokens[id] ?? null
  }

  isSpecial(id: number): boolean {
    return this.token(id)?.special ?? false
  }

  dispose(): void {
    this.vocabulary.dispose()
  }

  private token(id: number): KnownToken | null {
    if (!Number.isInteger(id) || id < 0 || id >= this.size) return null
    let token = this.known.get(id)
    if (token === undefined) {
      const special = (this.vocabulary.attributes(id) & (TOKEN_CONTROL | TOKEN_UNKNOWN)) !== 0
      token = { piece: this.vocabulary.piece(id), special }
      this.known.set(id, token)
    }
    return token
  }
}

interface KnownToken {
  readonly piece: Uint8Array
  /** A control token or the unknown one: no text of its own. */
  readonly special: boolean
}

const SPACE = 0x20
/** A byte-order mark is text like any other. */
const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true })

/** Types of tokens that libllama looks for in a text before it splits it: unknown, control, user-defined. */
const STANDS_FOR_ITSELF = new Set<unknown>([2, 3, 4])

/** libllama tells the ends of a generation by their keys, and by what they look like. */
function endIds(metadata: GgufMetadata, tokens: readonly string[], vocabulary: LlamaVocabulary): number[] {
  const named = [...metadata.values].flatMap(([key, { value }]) =>
    key.endsWith('_token_id') && typeof value === 'number' ? [value] : [],
  )
  const likely = tokens.flatMap((text, id) => (END_TEXT.test(text) ? [id] : []))
  return [...new Set([...named, ...likely])].filter((id) => vocabulary.isEnd(id)).sort((a, b) => a - b)
}
