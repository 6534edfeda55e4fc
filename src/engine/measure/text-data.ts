import { createHash } from 'node:crypto'
import { readInputText } from '../../checkpoint/text-file.js'
import { FileError } from '../../errors.js'
import { CONFIG_LIMITS, isJsonObject, parseJson } from '../../json.js'
import { leadOf } from '../../tokenizer/lead.js'
import type { Tokenizer } from '../../tokenizer/tokenizer.js'
import type { ForcedText } from '../known-text.js'

/** Characters of a text file that are read at most: far more than any search looks at. */
const MOST_CHARACTERS = 4_000_000

export interface TextData {
  /** `promptLength` is the number of ids where the file gives a prompt and nothing after it. */
  readonly texts: readonly ForcedText[]
  /** SHA-256 of the file. */
  readonly sha256: string
  /** True where the file goes on behind what was read. */
  readonly cut: boolean
}

export interface TextDataOptions {
  /** null: only lines of token ids can be read. */
  readonly tokenizer: Tokenizer | null
  /** V; ids from a file are checked against it. */
  readonly vocabulary: number
  /** Tokens of a window at most. */
  readonly window: number
  /** Share of a window that is the prompt, where the file does not say what is; 0 to 1. */
  readonly promptShare: number
}

/**
 * Texts of a file. `.jsonl` holds one a line: `{"input", "output"}`, where the input is the prompt and the output is
 * appended as it stands; `{"text"}` or `{"tokens": [ids]}`; or `{"prompt"}` alone. Anything else is plain text. Text longer
 * than a window is cut into windows, each with what the tokenizer puts before a text.
 * @throws FileError with the line
 */
export async function readTextData(path: string, options: TextDataOptions): Promise<TextData> {
  const contents = await readInputText(path)
  const sha256 = createHash('sha256').update(contents).digest('hex')
  const read = createReader(path, options)
  const cut = contents.length > MOST_CHARACTERS
  const part = cut ? contents.slice(0, MOST_CHARACTERS) : contents
  const texts: ForcedText[] = []
  if (path.endsWith('.jsonl')) {
    const lines = part.split('\n')
    // The last line may be half a line.
    if (cut) lines.pop()
    lines.forEach((line, i) => {
      if (line.trim() !== '') texts.push(...read.line(line, i + 1))
    })
  } else texts.push(...read.text(part.replaceAll('\r\n', '\n')))
  if (texts.length === 0) throw new FileError(path, 'holds no text of two tokens or more')
  return { texts, sha256, cut }
}

function createReader(path: string, { tokenizer, vocabulary, window, promptShare }: TextDataOptions) {
  const needTokenizer = (): Tokenizer => {
    if (tokenizer !== null) return tokenizer
    throw new FileError(path, 'the model has no tokenizer: give a .jsonl file with {"tokens": [ids]} on each line')
  }
  let lead: readonly number[] | null = null

  const windows = (ids: readonly number[], before: readonly number[]): ForcedText[] => {
    const size = Math.max(2, window - before.length)
    const all: ForcedText[] = []
    for (let from = 0; from < ids.length; from += size) {
      const piece = [...before, ...ids.slice(from, from + size)]
      // What is left over at the end is worth a window only if it is long, or all there is.
      if (piece.length < 2 || (from > 0 && piece.length < window / 2)) break
      const share = Math.round(piece.length * promptShare)
      all.push({ ids: piece, promptLength: Math.min(piece.length - 1, Math.max(1, share)) })
    }
    return all
  }
  const text = (content: string): ForcedText[] => {
    lead ??= leadOf(needTokenizer())
    return windows(needTokenizer().encode(content, { addSpecialTokens: false }), lead)
  }
  const inputOutput = (input: string, output: string, number: number): ForcedText[] => {
    const whole = needTokenizer().encode(input + output)
    const alone = needTokenizer().encode(input)
    let promptLength = 0
    while (promptLength < alone.length && alone[promptLength] === whole[promptLength]) promptLength++
    if (promptLength === 0 || promptLength >= whole.length) {
      throw new FileError(path, `line ${number}: nothing is left to predict after the input`)
    }
    return [{ ids: whole, promptLength }]
  }

  const line = (content: string, number: number): ForcedText[] => {
    const where = `line ${number}`
    const value = parseJson(path, content, `text of ${where}`, CONFIG_LIMITS)
    if (!isJsonObject(value)) throw new FileError(path, `${where} is not an object`)
    const { input, output, tokens, prompt } = value
    if (typeof input === 'string' && typeof output === 'string') return inputOutput(input, output, number)
    if (typeof value.text === 'string') return text(value.text)
    if (Array.isArray(tokens)) {
      const wrong = tokens.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabulary)
      if (wrong === undefined) return windows(tokens as number[], [])
      throw new FileError(path, `${where}: tokens must be ids from 0 to ${vocabulary - 1}`)
    }
    if (typeof prompt === 'string') {
      const ids = needTokenizer().encode(prompt)
      return ids.length === 0 ? [] : [{ ids, promptLength: ids.length }]
    }
    throw new FileError(path, `${where} must have "input" and "output", or "text", "tokens" or "prompt"`)
  }
  return { line, text }
}
