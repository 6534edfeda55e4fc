import { toText } from './represent.js'
import type { Run } from './run.js'
import { Markup, type Value } from './values.js'

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['&', '&amp;'],
  ['>', '&gt;'],
  ['<', '&lt;'],
  ["'", '&#39;'],
  ['"', '&#34;'],
])

/** The text of a value as HTML; what is HTML already stays. */
export function escapeHtml(value: Value, run: Run): string {
  if (value instanceof Markup) return value.text
  const text = toText(value, run)
  run.makeString(text.length)
  const escaped = text.replace(/[&<>'"]/g, (character) => ENTITIES.get(character)!)
  if (escaped.length !== text.length) run.makeString(escaped.length)
  return escaped
}

const CHARACTERS: ReadonlyMap<string, string> = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
  ['nbsp', '\xa0'],
  ['copy', '©'],
  ['raquo', '»'],
  ['laquo', '«'],
  ['hellip', '…'],
])

/** The characters of numbered entities and of the commonest names; other names stay. */
export function unescapeHtml(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([\da-fA-F]{1,6})|([a-z]{1,8}));/g, (whole, decimal, hex, name) => {
    if (name !== undefined) return CHARACTERS.get(name) ?? whole
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal)
    return code > 0x10ffff || code === 0 ? '\ufffd' : String.fromCodePoint(code)
  })
}

/** Without comments and tags; blanks become one space. */
export function stripTags(text: string): string {
  return cut(cut(text, '<!--', '-->'), '<', '>')
}

function cut(text: string, open: string, close: string): string {
  let result = ''
  let at = 0
  for (;;) {
    const start = text.indexOf(open, at)
    const end = start < 0 ? -1 : text.indexOf(close, start)
    if (end < 0) return result + text.slice(at)
    result += text.slice(at, start)
    at = end + close.length
  }
}
