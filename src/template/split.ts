import type { Run } from './run.js'
import { isSpace, stripEnd, WHITESPACE } from './text.js'

/** How often a text holds another one, one after the other. */
export function occurrences(text: string, part: string): number {
  let count = 0
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++
  return count
}

/** At blanks, `most` times at most; as often as there are some where it is below zero. */
export function splitBlanks(text: string, most: number, run: Run): string[] {
  const parts: string[] = []
  const word = new RegExp(`[^${WHITESPACE}]+`, 'g')
  for (let found = word.exec(text); found !== null; found = word.exec(text)) {
    run.makeList(1)
    parts.push(parts.length === most ? text.slice(found.index) : found[0])
    if (parts.length === most + 1 && most >= 0) break
  }
  return parts
}

/** The same from the end. */
export function splitBlanksFromEnd(text: string, most: number, run: Run): string[] {
  const parts: string[] = []
  let rest = stripEnd(text)
  while (rest !== '') {
    run.makeList(1)
    let start = rest.length
    while (start > 0 && !isSpace(rest[start - 1]!)) start--
    if (parts.length === most) start = 0
    parts.push(rest.slice(start))
    rest = stripEnd(rest.slice(0, start))
  }
  return parts.reverse()
}

/** At a separator, which is not empty. */
export function splitBy(text: string, separator: string, most: number, run: Run): string[] {
  const parts: string[] = []
  let from = 0
  while (parts.length !== most) {
    const at = text.indexOf(separator, from)
    if (at < 0) break
    run.makeList(1)
    parts.push(text.slice(from, at))
    from = at + separator.length
  }
  parts.push(text.slice(from))
  return parts
}

/** The same from the end. */
export function splitByFromEnd(text: string, separator: string, most: number, run: Run): string[] {
  const parts: string[] = []
  let to = text.length
  while (parts.length !== most) {
    const at = to < separator.length ? -1 : text.lastIndexOf(separator, to - separator.length)
    if (at < 0) break
    run.makeList(1)
    parts.push(text.slice(at + separator.length, to))
    to = at
  }
  parts.push(text.slice(0, to))
  return parts.reverse()
}
