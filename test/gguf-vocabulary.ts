import { GgufMetadata } from '../src/checkpoint/gguf-metadata.js'
import type { GgufValue } from '../src/checkpoint/gguf-value.js'

const NORMAL = 1
const CONTROL = 3
const BYTE = 6

/** Metadata keys `tokenizer.ggml.*` by their last part. */
export type VocabularyKeys = Readonly<Record<string, GgufValue>>

/** Byte-level BPE: a token for every byte, a few merges, and one control token at the end. */
export function byteLevelVocabulary(pre: string): VocabularyKeys {
  const tokens = [...byteCharacters(), 'Ġt', 'he', 'Ġthe', '<|end|>']
  const types = tokens.map((_, id) => (id === tokens.length - 1 ? CONTROL : NORMAL))
  return {
    model: { type: 'string', value: 'gpt2' },
    pre: { type: 'string', value: pre },
    tokens: { type: 'array', of: 'string', value: tokens },
    token_type: { type: 'array', of: 'int32', value: types },
    merges: { type: 'array', of: 'string', value: ['Ġ t', 'h e', 'Ġt he'] },
    eos_token_id: { type: 'uint32', value: tokens.length - 1 },
    bos_token_id: { type: 'uint32', value: tokens.length - 1 },
    add_bos_token: { type: 'bool', value: false },
  }
}

/** SentencePiece BPE: unknown, BOS and EOS, every byte, and a few pieces with scores. */
export function sentencePieceVocabulary(): VocabularyKeys {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`)
  const pieces = ['▁', 'h', 'e', 'l', 'o', 'he', 'll', 'hell', 'hello', '▁hello']
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...pieces]
  const types = [2, CONTROL, CONTROL, ...bytes.map(() => BYTE), ...pieces.map(() => NORMAL)]
  const scores = tokens.map((_, id) => (id < 259 ? 0 : id - tokens.length))
  return {
    model: { type: 'string', value: 'llama' },
    tokens: { type: 'array', of: 'string', value: tokens },
    token_type: { type: 'array', of: 'int32', value: types },
    scores: { type: 'array', of: 'float32', value: scores },
  }
}

export function metadataOf(keys: VocabularyKeys, path = 'model.gguf'): GgufMetadata {
  return new GgufMetadata(
    path,
    Object.entries(keys).map(([name, value]) => [`tokenizer.ggml.${name}`, value] as const),
  )
}

/** The characters that GPT-2 writes bytes with, in the order of the bytes. */
function byteCharacters(): string[] {
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
    return String.fromCodePoint(printable ? byte : next++)
  })
}
