import { isJsonObject, type JsonObject } from '../json.js'

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const TAIL = '\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const LETTER_CASES = ['[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]', '[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]'] as const
const [UPPER, LOWER] = LETTER_CASES
const OTHER = '[^\\r\\n\\p{L}\\p{N}]?'

const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
const LLAMA3 = `${CONTRACTIONS}|${OTHER}\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${TAIL}`
const QWEN2 = `${CONTRACTIONS}|${OTHER}\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${TAIL}`
const TEKKEN = `${OTHER}${UPPER}*${LOWER}+|${OTHER}${UPPER}+${LOWER}*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${TAIL}`
const GPT4O =
  `${OTHER}${UPPER}*${LOWER}+${CONTRACTIONS}?|${OTHER}${UPPER}+${LOWER}*${CONTRACTIONS}?|` +
  `\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${TAIL}`
const BLOOM = ' ?[^(\\s|[.,!?…。，、।۔،])]+'

/** Patterns of published tokenizer.json files, and the name that llama.cpp splits by the same rule under. */
const PATTERNS = new Map([
  [GPT2, 'gpt-2'],
  [LLAMA3, 'dbrx'],
  [QWEN2, 'qwen2'],
  [TEKKEN, 'tekken'],
  [GPT4O, 'gpt-4o'],
  [BLOOM, 'bloom'],
])

/**
 * `tokenizer.ggml.pre` for a byte-level BPE tokenizer.json: told by what its pre-tokenizer does. Null where llama.cpp
 * is not known to split text alike.
 */
export function llamaCppPreTokenizer(tokenizer: JsonObject): string | null {
  if (!normalizerIsHarmless(tokenizer.normalizer)) return null
  const steps = flatten(tokenizer.pre_tokenizer)
  const last = steps.at(-1)
  if (last?.type !== 'ByteLevel' || last.add_prefix_space === true) return null
  const splitsItself = last.use_regex !== false
  const first = steps[0]
  if (steps.length === 1) return splitsItself ? 'gpt-2' : null
  if (steps.length !== 2 || first === undefined) return null
  if (first.type === 'Digits') return first.individual_digits === true && splitsItself ? 'smollm' : null
  if (first.type !== 'Split' || splitsItself || first.invert === true || first.behavior !== 'Isolated') return null
  const pattern = isJsonObject(first.pattern) ? first.pattern.Regex : undefined
  const name = typeof pattern === 'string' ? (PATTERNS.get(pattern) ?? null) : null
  // The same pattern, but Llama 3 takes a word that is a token as it is, without walking the merges.
  return name === 'dbrx' && ignoresMerges(tokenizer) ? 'llama-bpe' : name
}

function ignoresMerges(tokenizer: JsonObject): boolean {
  return isJsonObject(tokenizer.model) && tokenizer.model.ignore_merges === true
}

/** llama.cpp does not normalise; NFC changes nothing but decomposed letters, and its own converter ignores it too. */
function normalizerIsHarmless(normalizer: unknown): boolean {
  return flatten(normalizer).every((step) => step.type === 'NFC')
}

/** The steps of a normalizer or pre-tokenizer, sequences unfolded. */
export function flatten(step: unknown): JsonObject[] {
  if (!isJsonObject(step)) return []
  if (step.type !== 'Sequence') return [step]
  const inner = step.pretokenizers ?? step.normalizers ?? step.processors ?? []
  return Array.isArray(inner) ? (inner as unknown[]).flatMap(flatten) : []
}
