import { bind, expectSize, expectText } from './arguments.js'
import { escapeHtml, stripTags, unescapeHtml } from './html.js'
import { each, isTrue } from './protocols.js'
import { toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { occurrences, splitBlanks, splitBlanksFromEnd, splitBy, splitByFromEnd } from './split.js'
import {
  capitalize,
  characters,
  codePointLength,
  isSpace,
  splitLines,
  stripEnd,
  stripStart,
  swapCase,
  title,
  unitIndex,
  WHITESPACE,
} from './text.js'
import { Markup, NativeFunction, Tuple, textOf, typeName, type Value } from './values.js'

interface Method {
  readonly parameters: readonly string[]
  readonly required: number
  readonly run: (text: string, args: readonly (Value | undefined)[], run: Run, self: string | Markup) => Value
}

/** A method of a string, bound to it; undefined where strings have no such method, or one that formats. */
export function stringMethod(self: string | Markup, name: string): Value | undefined {
  const text = self instanceof Markup ? self.text : self
  if (self instanceof Markup && (name === 'striptags' || name === 'unescape')) {
    return new NativeFunction(name, (_args, _keywords, run) =>
      unescapeHtml(name === 'unescape' ? text : collapse(stripTags(text), run)),
    )
  }
  const method = METHODS.get(name)
  if (method === undefined) return undefined
  return new NativeFunction(name, (args, keywords, run) => {
    run.makeString(text.length)
    const result = method.run(text, bind(name, method.parameters, method.required, args, keywords), run, self)
    return self instanceof Markup ? asMarkup(result) : result
  })
}

export function collapse(text: string, run: Run): string {
  return splitBlanks(text, -1, run).join(' ')
}

function asMarkup(value: Value): Value {
  if (typeof value === 'string') return new Markup(value)
  if (value instanceof Tuple) return new Tuple(value.items.map(asMarkup))
  return Array.isArray(value) ? value.map(asMarkup) : value
}

function stripper(value: Value | undefined, what: string): (character: string) => boolean {
  if (value === undefined || value === null) return isSpace
  const characters = new Set(expectText(value, what))
  return (character) => characters.has(character)
}

/** The part of a text from `start` to `end` in code points, as methods that search take them. */
function region(
  text: string,
  start: Value | undefined,
  end: Value | undefined,
  what: string,
): { from: number; to: number } {
  if ((start === undefined || start === null) && (end === undefined || end === null))
    return { from: 0, to: text.length }
  const length = codePointLength(text)
  const place = (value: Value | undefined, missing: number): number => {
    if (value === undefined || value === null) return missing
    const at = expectSize(value, what)
    return at < 0 ? Math.max(at + length, 0) : at
  }
  const from = place(start, 0)
  const to = Math.min(place(end, length), length)
  return { from: from > length ? text.length + 1 : unitIndex(text, from), to: unitIndex(text, to) }
}

function search(what: string, last: boolean, strict: boolean): Method {
  return {
    parameters: ['/sub', '/start', '/end'],
    required: 1,
    run: (text, [sub, start, end]) => {
      const part = expectText(sub!, what)
      const { from, to } = region(text, start, end, what)
      let at = -1
      if (to - from >= part.length) {
        at = last ? text.slice(from, to).lastIndexOf(part) : text.slice(from, to).indexOf(part)
      }
      if (at < 0 && strict) throw new TemplateError('substring not found')
      return BigInt(at < 0 ? -1 : codePointLength(text.slice(0, from + at)))
    },
  }
}

function affix(what: 'startswith' | 'endswith'): Method {
  return {
    parameters: ['/affix', '/start', '/end'],
    required: 1,
    run: (text, [given, start, end]) => {
      const affixes = given instanceof Tuple ? given.items : [given!]
      const { from, to } = region(text, start, end, what)
      return affixes.some((value) => {
        const part = expectText(value, what)
        if (to - from < part.length) return false
        return what === 'startswith' ? text.startsWith(part, from) : text.slice(from, to).endsWith(part)
      })
    },
  }
}

function splitter(what: string, fromEnd: boolean): Method {
  return {
    parameters: ['sep', 'maxsplit'],
    required: 0,
    run: (text, [separator = null, maxsplit = -1n], run) => {
      const limit = expectSize(maxsplit, what)
      const most = limit < 0 ? -1 : limit
      let parts: string[]
      if (separator === null) parts = fromEnd ? splitBlanksFromEnd(text, most, run) : splitBlanks(text, most, run)
      else {
        const by = expectText(separator, what)
        if (by === '') throw new TemplateError('empty separator')
        parts = fromEnd ? splitByFromEnd(text, by, most, run) : splitBy(text, by, most, run)
      }
      return parts
    },
  }
}

function aligned(what: string, place: (missing: number, width: number) => number): Method {
  return {
    parameters: ['/width', '/fillchar'],
    required: 1,
    run: (text, [width, fill = ' '], run, self) => {
      const character = expectText(fill, what)
      if (codePointLength(character) !== 1) throw new TemplateError('the fill character must be one character')
      const total = expectSize(width!, what)
      const missing = total - codePointLength(text)
      if (missing <= 0) return text
      run.makeString(text.length + missing)
      const left = place(missing, total)
      const escaped = self instanceof Markup ? escapeHtml(character, run) : character
      return escaped.repeat(left) + text + escaped.repeat(missing - left)
    },
  }
}

function partition(what: string, last: boolean): Method {
  return {
    parameters: ['/sep'],
    required: 1,
    run: (text, [separator]) => {
      const by = expectText(separator!, what)
      if (by === '') throw new TemplateError('empty separator')
      const at = last ? text.lastIndexOf(by) : text.indexOf(by)
      if (at < 0) return new Tuple(last ? ['', '', text] : [text, '', ''])
      return new Tuple([text.slice(0, at), by, text.slice(at + by.length)])
    },
  }
}

function simple(change: (text: string) => Value): Method {
  return { parameters: [], required: 0, run: change }
}

/** All characters are of a class, and there is one. */
function all(pattern: RegExp): Method {
  return simple((text) => text !== '' && !pattern.test(text))
}

/** Cased characters are all of one case, and there is one. */
function cased(inCase: RegExp, outOfCase: RegExp): Method {
  return simple((text) => inCase.test(text) && !outOfCase.test(text))
}

export const isUpper = (text: string): boolean => /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text)
export const isLower = (text: string): boolean => /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text)

export function replaceText(text: string, old: string, by: string, count: number, run: Run): string {
  if (count === 0) return text
  if (old === '') {
    const all = characters(text)
    run.makeString(text.length + (all.length + 1) * by.length)
    let result = ''
    let left = count
    for (const character of all) {
      if (left !== 0) result += by
      left = left === 0 ? 0 : left - 1
      result += character
    }
    return left === 0 ? result : result + by
  }
  const found = occurrences(text, old)
  run.spend(found)
  run.makeString(text.length + Math.max(found * (by.length - old.length), 0))
  if (count < 0 || count >= found) return text.replaceAll(old, () => by)
  return splitBy(text, old, count, run).join(by)
}

const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  [
    'encode',
    simple(() => {
      throw new TemplateError('bytes are not supported')
    }),
  ],
  ['upper', simple((text) => text.toUpperCase())],
  ['lower', simple((text) => text.toLowerCase())],
  ['casefold', simple((text) => text.toUpperCase().toLowerCase())],
  ['title', simple(title)],
  ['capitalize', simple(capitalize)],
  ['swapcase', simple(swapCase)],
  ['strip', { parameters: ['/chars'], required: 0, run: (text, [chars]) => strip(text, chars) }],
  [
    'lstrip',
    { parameters: ['/chars'], required: 0, run: (text, [chars]) => stripStart(text, stripper(chars, 'lstrip')) },
  ],
  [
    'rstrip',
    { parameters: ['/chars'], required: 0, run: (text, [chars]) => stripEnd(text, stripper(chars, 'rstrip')) },
  ],
  ['split', splitter('split', false)],
  ['rsplit', splitter('rsplit', true)],
  [
    'splitlines',
    { parameters: ['keepends'], required: 0, run: (text, [keep = false], run) => splitLines(text, isTrue(keep, run)) },
  ],
  ['startswith', affix('startswith')],
  ['endswith', affix('endswith')],
  ['find', search('find', false, false)],
  ['rfind', search('rfind', true, false)],
  ['index', search('index', false, true)],
  ['rindex', search('rindex', true, true)],
  [
    'count',
    {
      parameters: ['/sub', '/start', '/end'],
      required: 1,
      run: (text, [sub, start, end]) => {
        const part = expectText(sub!, 'count')
        const { from, to } = region(text, start, end, 'count')
        if (from > to) return 0n
        const inside = text.slice(from, to)
        return BigInt(part === '' ? codePointLength(inside) + 1 : occurrences(inside, part))
      },
    },
  ],
  [
    'replace',
    {
      parameters: ['/old', '/new', '/count'],
      required: 2,
      run: (text, [old, by, count = -1n], run, self) => {
        const replacement =
          self instanceof Markup ? escapeHtml(expectText(by!, 'replace') && by!, run) : expectText(by!, 'replace')
        return replaceText(text, expectText(old!, 'replace'), replacement, expectSize(count, 'replace'), run)
      },
    },
  ],
  [
    'join',
    {
      parameters: ['/iterable'],
      required: 1,
      run: (text, [items], run, self) => {
        const parts: string[] = []
        let length = 0
        for (const item of each(items!, run)) {
          const part = textOf(item)
          if (part === undefined && !(self instanceof Markup)) {
            throw new TemplateError(`join takes strings, and item ${parts.length} is a ${typeName(item)}`)
          }
          parts.push(self instanceof Markup ? escapeHtml(item, run) : part!)
          length += parts.at(-1)!.length + text.length
          run.makeString(length, parts.at(-1)!.length + text.length)
        }
        return parts.join(text)
      },
    },
  ],
  ['partition', partition('partition', false)],
  ['rpartition', partition('rpartition', true)],
  ['ljust', aligned('ljust', () => 0)],
  ['rjust', aligned('rjust', (missing) => missing)],
  ['center', aligned('center', centered)],
  [
    'zfill',
    {
      parameters: ['/width'],
      required: 1,
      run: (text, [width], run) => {
        const missing = expectSize(width!, 'zfill') - codePointLength(text)
        if (missing <= 0) return text
        run.makeString(text.length + missing)
        const signed = /^[-+]/.test(text)
        return (signed ? text[0] : '') + '0'.repeat(missing) + (signed ? text.slice(1) : text)
      },
    },
  ],
  [
    'removeprefix',
    {
      parameters: ['/prefix'],
      required: 1,
      run: (text, [prefix]) => {
        const part = expectText(prefix!, 'removeprefix')
        return text.startsWith(part) ? text.slice(part.length) : text
      },
    },
  ],
  [
    'removesuffix',
    {
      parameters: ['/suffix'],
      required: 1,
      run: (text, [suffix]) => {
        const part = expectText(suffix!, 'removesuffix')
        return text.endsWith(part) ? text.slice(0, text.length - part.length) : text
      },
    },
  ],
  [
    'expandtabs',
    {
      parameters: ['tabsize'],
      required: 0,
      run: (text, [size = 8n], run) => expandTabs(text, expectSize(size, 'expandtabs'), run),
    },
  ],
  ['isalpha', all(/[^\p{L}]/u)],
  ['isdecimal', all(/[^\p{Nd}]/u)],
  ['isdigit', all(/[^\p{Nd}\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468]/u)],
  ['isnumeric', all(/[^\p{N}\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u767e\u5343\u842c]/u)],
  ['isalnum', all(/[^\p{L}\p{N}]/u)],
  ['isspace', all(new RegExp(`[^${WHITESPACE}]`))],
  ['isascii', simple((text) => !/[^\0-\x7f]/.test(text))],
  ['isprintable', simple((text) => !/(?! )[\p{C}\p{Z}]/u.test(text))],
  ['isidentifier', simple((text) => /^[\p{XIDS}_]\p{XIDC}*$/u.test(text))],
  ['isupper', cased(/\p{Uppercase}/u, /[\p{Lowercase}\p{Lt}]/u)],
  ['islower', cased(/\p{Lowercase}/u, /[\p{Uppercase}\p{Lt}]/u)],
  ['istitle', simple((text) => /\p{Cased}/u.test(text) && title(text) === text)],
])

/** Where Python puts the odd one: to the right where the width is odd, too. */
export function centered(missing: number, width: number): number {
  return Math.floor(missing / 2) + (missing & width & 1)
}

export function strip(text: string, chars: Value | undefined): string {
  const isStripped = stripper(chars, 'strip')
  return stripEnd(stripStart(text, isStripped), isStripped)
}

function expandTabs(text: string, size: number, run: Run): string {
  let result = ''
  let column = 0
  for (const character of text) {
    if (character === '\t') {
      const blanks = size > 0 ? size - (column % size) : 0
      run.makeString(result.length + blanks, blanks)
      result += ' '.repeat(blanks)
      column += blanks
      continue
    }
    result += character
    column = character === '\n' || character === '\r' ? 0 : column + 1
  }
  return result
}

/** `str(value)` of a value that a filter treats as text, HTML or not. */
export function softText(value: Value, run: Run): string | Markup {
  return value instanceof Markup ? value : toText(value, run)
}
