import { readBytePairs } from './bpe.js'
import type { Part } from './fields.js'
import type { Model } from './token-model.js'
import { readUnigram } from './unigram.js'
import { readWordLevel, readWordPiece } from './words.js'

/** The model of a tokenizer.json. Errors: FileError, UnsupportedError. */
export function readModel(part: Part): Model {
  const type = part.optionalString('type') ?? typeByFields(part)
  switch (type) {
    case 'BPE':
      return readBytePairs(part)
    case 'Unigram':
      return readUnigram(part)
    case 'WordPiece':
      return readWordPiece(part)
    case 'WordLevel':
      return readWordLevel(part)
    default:
      return part.unsupported(`type ${type.slice(0, 40)}`)
  }
}

/** Old files do not say which model it is. */
function typeByFields(part: Part): string {
  if (part.value('merges') !== undefined) return 'BPE'
  if (part.value('max_input_chars_per_word') !== undefined) return 'WordPiece'
  if (Array.isArray(part.value('vocab'))) return 'Unigram'
  return part.value('unk_token') === undefined ? part.fail('has no type') : 'WordLevel'
}
