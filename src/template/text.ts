import type { Run } from './run.js'

/** What Python calls whitespace, for a class of a regular expression; `\s` of JavaScript differs. */
export const WHITESPACE = '\\t-\\r\\x1c- \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'

const SPACE = new RegExp(`[${WHITESPACE}]`)

export function isSpace(character: string): boolean {
  return SPACE.test(character)
}

/** Without whitespace at the end; a loop, since a pattern that looks for the end is quadratic. */
export function stripEnd(text: string, isStripped: (character: string) => boolean = isSpace): string {
  let end = text.length
  while (end > 0) {
    const start = end - (isLowSurrogate(text, end - 1) ? 2 : 1)
    if (!isStripped(text.slice(start, end))) break
    end = start
  }
  return text.slice(0, end)
}

export function stripStart(text: string, isStripped: (character: string) => boolean = isSpace): string {
  let start = 0
  while (start < text.length) {
    const character = String.fromCodePoint(text.codePointAt(start)!)
    if (!isStripped(character)) break
    start += character.length
  }
  return text.slice(start)
}

function isLowSurrogate(text: string, at: number): boolean {
  return at > 0 && /[\udc00-\udfff]/.test(text[at]!) && /[\ud800-\udbff]/.test(text[at - 1]!)
}

/** A text's code points. */
export function characters(text: string): string[] {
  return Array.from(text)
}

/** Whether characters and UTF-16 units are the same. */
export function isPlain(text: string): boolean {
  return !/[\ud800-\udfff]/.test(text)
}

/** The number of code points. */
export function codePointLength(text: string): number {
  if (isPlain(text)) return text.length
  let length = 0
  for (const _ of text) length++
  return length
}

/** The place of a code point in UTF-16 units. `index` may lie past the end. */
export function unitIndex(text: string, index: number): number {
  if (isPlain(text)) return Math.min(index, text.length)
  let at = 0
  for (let left = index; left > 0 && at < text.length; left--) at += text.codePointAt(at)! > 0xffff ? 2 : 1
  return at
}

/** -1, 0 or 1 by code points, as Python orders strings; UTF-16 units order those beyond U+FFFF too early. */
export function compareText(left: string, right: string): number {
  const length = Math.min(left.length, right.length)
  for (let at = 0; at < length; at++) {
    let a = left.charCodeAt(at)
    let b = right.charCodeAt(at)
    if (a === b) continue
    if (a >= 0xd800 && b >= 0xd800) {
      // Surrogates stand for what is above U+E000 .. U+FFFF.
      a = a >= 0xe000 ? a - 0x2000 : a + 0x2000
      b = b >= 0xe000 ? b - 0x2000 : b + 0x2000
    }
    return a < b ? -1 : 1
  }
  return Math.sign(left.length - right.length)
}

const LINE_BREAKS = '\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029'

/** The lines of a text without their ends, as Python's `splitlines` cuts it. */
export function splitLines(text: string, keepEnds = false): string[] {
  const lines: string[] = []
  const end = new RegExp(`\\r\\n|[${LINE_BREAKS}]`, 'g')
  let start = 0
  for (let found = end.exec(text); found !== null; found = end.exec(text)) {
    lines.push(text.slice(start, keepEnds ? end.lastIndex : found.index))
    start = end.lastIndex
  }
  if (start < text.length) lines.push(text.slice(start))
  return lines
}

export function lower(text: string): string {
  return text.toLowerCase()
}

/** Letters whose title case is neither their upper nor their lower case. */
const TITLE_CASE: ReadonlyMap<string, string> = new Map(
  ['Ǆǅǆ', 'Ǉǈǉ', 'Ǌǋǌ', 'Ǳǲǳ'].flatMap((three) => characters(three).map((letter) => [letter, three[1]!] as const)),
)

/** One character in title case. */
function titleCase(character: string): string {
  const special = TITLE_CASE.get(character)
  if (special !== undefined) return special
  const [first = '', ...rest] = character.toUpperCase()
  return first + rest.join('').toLowerCase()
}

export function capitalize(text: string): string {
  const [first] = text
  return first === undefined ? '' : titleCase(first) + lowerAfter(text, first.length)
}

/** The lower case of what follows `start`; what stands before decides about a final sigma. */
function lowerAfter(text: string, start: number): string {
  return `a${text.slice(start)}`.toLowerCase().slice(1)
}

export function title(text: string): string {
  return text.replace(/\p{Cased}+/gu, capitalize)
}

export function swapCase(text: string): string {
  let result = ''
  for (const character of text) {
    result += /\p{Uppercase}/u.test(character) ? character.toLowerCase() : character.toUpperCase()
  }
  return result
}

/** The character at an index of code points, from the end where it is below zero; undefined outside. */
export function characterAt(text: string, index: bigint, run: Run): string | undefined {
  if (isPlain(text)) {
    run.read(text.length)
    const at = index < 0n ? index + BigInt(text.length) : index
    return at < 0n ? undefined : text[Number(at)]
  }
  run.makeList(text.length)
  const all = characters(text)
  const at = index < 0n ? index + BigInt(all.length) : index
  return at < 0n ? undefined : all[Number(at)]
}
