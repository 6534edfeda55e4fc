import { isJsonObject } from '../checkpoint/json.js'
import { isId, type Part, quote } from './fields.js'

/** Puts special tokens around a text. It takes and gives stretches of ids: what one step adds, the next sees apart. */
export type PostProcessor = (
  stretches: readonly (readonly number[])[],
  addSpecialTokens: boolean,
) => readonly (readonly number[])[]

/** The post-processor that a part of a tokenizer.json describes. Errors: FileError, UnsupportedError. */
export function readPostProcessor(part: Part): PostProcessor {
  switch (part.type) {
    case 'Sequence': {
      const steps = part.parts('processors').map(readPostProcessor)
      return (stretches, adds) => steps.reduce((result, step) => step(result, adds), stretches)
    }
    // It moves offsets alone.
    case 'ByteLevel':
      return (stretches) => stretches
    case 'BertProcessing':
    case 'RobertaProcessing':
      return frame(tokenId(part, 'cls'), tokenId(part, 'sep'))
    case 'TemplateProcessing':
      return template(part)
    default:
      return part.unsupported(`type ${part.type.slice(0, 40)}`)
  }
}

function frame(start: number, end: number): PostProcessor {
  return (stretches, adds) => (adds ? stretches.map((ids, i) => [...(i === 0 ? [start] : []), ...ids, end]) : stretches)
}

/** `["[SEP]", 102]` */
function tokenId(part: Part, key: string): number {
  const [, id] = part.list(key)
  return isId(id) ? id : part.fail(`${key} is not a token and its id`)
}

function template(part: Part): PostProcessor {
  const pieces = part.list('single').map((piece) => readPiece(part, piece))
  return (stretches, adds) =>
    pieces.flatMap((piece) => {
      if (piece === 'text') return [stretches[0] ?? []]
      return adds ? [piece] : []
    })
}

/** The ids of a special token, or the text. */
function readPiece(part: Part, piece: unknown): readonly number[] | 'text' {
  if (isJsonObject(piece) && isJsonObject(piece.Sequence)) {
    return piece.Sequence.id === 'A' ? 'text' : part.fail('the template for one text needs a second one')
  }
  if (!isJsonObject(piece) || !isJsonObject(piece.SpecialToken))
    return part.fail('a piece of its template is malformed')
  const name = piece.SpecialToken.id
  const tokens = part.value('special_tokens')
  const token = typeof name === 'string' && isJsonObject(tokens) && Object.hasOwn(tokens, name) ? tokens[name] : null
  const ids: unknown = isJsonObject(token) ? token.ids : null
  if (Array.isArray(ids) && ids.every(isId)) return ids
  return part.fail(`special_tokens does not define ${quote(String(name))}`)
}
