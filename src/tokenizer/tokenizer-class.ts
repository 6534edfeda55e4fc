import { UnsupportedError } from '../errors.js'
import type { JsonObject } from '../json.js'
import { quote } from './fields.js'
import type { TokenField, TokenizerFiles } from './named-tokens.js'

/** What a tokenizer class of transformers makes of vocab.json and merges.txt. */
export interface TokenizerClass {
  readonly normalizer: JsonObject | null
  readonly preTokenizer: (addPrefixSpace: boolean) => JsonObject
  /** Special tokens that it has where no file names them. */
  readonly defaults: Partial<Record<TokenField, string>>
  /** It puts cls and sep around a text, whatever add_bos_token and add_eos_token say. */
  readonly framesText?: boolean
}

const QWEN2 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const END = '<|endoftext|>'

function byteLevel(addPrefixSpace: boolean, useRegex = true): JsonObject {
  return { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: useRegex }
}

function sequence(...pretokenizers: JsonObject[]): JsonObject {
  return { type: 'Sequence', pretokenizers }
}

const GPT2_CLASS: TokenizerClass = {
  normalizer: null,
  preTokenizer: byteLevel,
  defaults: { bos_token: END, eos_token: END, unk_token: END },
}
const ROBERTA_CLASS: TokenizerClass = {
  normalizer: null,
  preTokenizer: byteLevel,
  defaults: {
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    sep_token: '</s>',
    pad_token: '<pad>',
    cls_token: '<s>',
    mask_token: '<mask>',
  },
  framesText: true,
}

const CLASSES: ReadonlyMap<string, TokenizerClass> = new Map([
  ['GPT2Tokenizer', GPT2_CLASS],
  ['CodeGenTokenizer', GPT2_CLASS],
  ['RobertaTokenizer', ROBERTA_CLASS],
  ['BartTokenizer', ROBERTA_CLASS],
  [
    'Qwen2Tokenizer',
    {
      normalizer: { type: 'NFC' },
      preTokenizer: (addPrefixSpace) =>
        sequence(
          { type: 'Split', pattern: { Regex: QWEN2 }, behavior: 'Isolated', invert: false },
          byteLevel(addPrefixSpace, false),
        ),
      defaults: { eos_token: END, unk_token: END, pad_token: END },
    },
  ],
  [
    'GPTNeoXTokenizer',
    {
      normalizer: { type: 'NFC' },
      preTokenizer: byteLevel,
      defaults: { bos_token: END, eos_token: END, unk_token: END, pad_token: '<|padding|>' },
    },
  ],
])

/** The class of a model whose files name none. */
const CLASS_OF_MODEL: ReadonlyMap<string, string> = new Map([
  ...['gpt2', 'opt', 'gpt_neo', 'gptj', 'codegen', 'phi', 'starcoder2'].map((type) => [type, 'GPT2Tokenizer'] as const),
  ...['roberta', 'bart', 'longformer'].map((type) => [type, 'RobertaTokenizer'] as const),
  ...['qwen2', 'qwen2_moe', 'qwen3', 'qwen3_moe'].map((type) => [type, 'Qwen2Tokenizer'] as const),
  ...['gpt_neox', 'olmo'].map((type) => [type, 'GPTNeoXTokenizer'] as const),
])

/** The class by `tokenizer_class`, else by the model. Null where neither says. */
export function className({ tokenizerConfig, modelType }: TokenizerFiles): string | null {
  const named = tokenizerConfig?.tokenizer_class
  if (typeof named === 'string') return named.replace(/Fast$/, '')
  return CLASS_OF_MODEL.get(modelType ?? '') ?? null
}

/** Errors: UnsupportedError for a class that is not known to read vocab.json and merges.txt. */
export function tokenizerClass(files: TokenizerFiles): TokenizerClass {
  const name = className(files)
  const known = CLASSES.get(name ?? '')
  if (known !== undefined) return known
  const what = name === null ? `a model of type ${quote(files.modelType ?? '')}` : `tokenizer class ${quote(name)}`
  throw new UnsupportedError(
    `${files.path}: ${what} with vocab.json and merges.txt but no tokenizer.json is not supported`,
  )
}

/** What a class puts around texts even where tokenizer.json has a post-processor; the ids are looked up. */
export interface Surrounding {
  readonly before: TokenField | null
  readonly after: TokenField | null
}

/**
 * The classes that replace the post-processor of a tokenizer.json, in transformers 5. For all others, Llama's, Gemma's
 * and Cohere's among them, it stands, and `add_bos_token` and `add_eos_token` beside it mean nothing.
 */
export function surroundingOf(files: TokenizerFiles): Surrounding | null {
  switch (className(files)) {
    case 'CodeLlamaTokenizer':
      return { before: 'bos_token', after: null }
    case 'GPTNeoXTokenizer':
      // Other models that name this class get transformers' general one.
      return ['gpt_neox', 'olmo'].includes(files.modelType ?? '') ? { before: null, after: null } : null
    case 'RobertaTokenizer':
    case 'BartTokenizer':
      return { before: 'cls_token', after: 'sep_token' }
    default:
      return null
  }
}

/** Special tokens of a class where no file names them. */
export function classDefaults(files: TokenizerFiles): Partial<Record<TokenField, string>> {
  return CLASSES.get(className(files) ?? '')?.defaults ?? {}
}
