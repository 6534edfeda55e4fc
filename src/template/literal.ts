import { InputError } from '../errors.js'
import type { ChatInput, ChatMessage, ChatTemplate } from './chat-template.js'

/** A stretch of a conversation's text; what is literal stands in a message and holds no special tokens. */
export interface Piece {
  readonly text: string
  readonly literal: boolean
}

/**
 * The text of a conversation in pieces that tell the template's own text from the contents of messages, so that a content that
 * spells a special token can be encoded as plain text. Joined, the pieces are what `render` gives.
 *
 * Contents are replaced by placeholders, and the result is compared with that of the contents themselves.
 * @throws InputError where the template changes a content (strips blanks, for one), leaves one out, or lets one decide about
 * other text
 */
export function renderLiteral(template: ChatTemplate, input: ChatInput): Piece[] {
  const whole = template.render(input)
  const contents = new Map<string, string>()
  const stem = unusedStem(whole)
  const messages = input.messages.map((message) => {
    if (typeof message.content === 'string')
      return { ...message, content: placeholder(stem, contents, message.content) }
    if (Array.isArray(message.content)) return { ...message, content: message.content.map(inPart) }
    return message
  })

  function inPart(part: unknown): unknown {
    const isText = typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string'
    return isText ? { ...part, text: placeholder(stem, contents, part.text as string) } : part
  }

  const marked = template.render({ ...input, messages: messages as readonly ChatMessage[] })
  const pieces: Piece[] = []
  const missing = new Set(contents.keys())
  const add = (text: string, literal: boolean): void => {
    if (text !== '') pieces.push({ text, literal })
  }
  let at = 0
  for (const found of marked.matchAll(new RegExp(`${stem}\\d+z`, 'g'))) {
    const content = contents.get(found[0])
    if (content === undefined) continue
    missing.delete(found[0])
    add(marked.slice(at, found.index), false)
    add(content, true)
    at = found.index + found[0].length
  }
  add(marked.slice(at), false)
  if (missing.size > 0 || pieces.map(({ text }) => text).join('') !== whole) {
    throw new InputError(
      'the chat template does not put the contents of messages into its text as they are (it may strip blanks): contents cannot be encoded literally',
    )
  }
  return pieces
}

/** Empty contents stay: templates ask whether there is one, and there is nothing to encode. */
function placeholder(stem: string, contents: Map<string, string>, content: string): string {
  if (content === '') return content
  const text = `${stem}${contents.size}z`
  contents.set(text, content)
  return text
}

function unusedStem(text: string): string {
  let stem = 'content'
  while (text.includes(stem)) stem += 'x'
  return stem
}
