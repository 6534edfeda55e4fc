import { ESCAPED_SETS, ESCAPED_SETS_IN_CLASS, literal, POSIX_SETS, propertySet } from './oniguruma-class.js'

/** What cannot be translated; the message names it. */
export class UntranslatableError extends Error {}

export interface Translation {
  /** For a RegExp with flag `v`. */
  readonly source: string
  /**
   * A search of n code units (32 at least) takes at most about n^(degree + 1) steps: how many unbounded repeats may lie
   * side by side, and something for each choice. Infinity where repeats lie within repeats.
   */
  readonly degree: number
}

interface Piece extends Translation {
  /** Whether it is one of several, or a sequence: it needs a group before a quantifier. */
  readonly atom: boolean
  /** Whether it may match at one place in more than one way. */
  readonly choice: boolean
}

interface Modes {
  readonly ignoreCase: boolean
  readonly dotAll: boolean
}

const WORD = ESCAPED_SETS.w!
const ESCAPED_CHARACTERS: Readonly<Record<string, string>> = {
  a: '\x07',
  e: '\x1b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
}
const ANCHORS: Readonly<Record<string, string>> = {
  A: '^',
  z: '$',
  Z: '(?=\\n?$)',
  b: `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`,
  B: `(?:(?<=${WORD})(?=${WORD})|(?<!${WORD})(?!${WORD}))`,
}
/** What a choice of two adds to the degree: texts count as 32 code units at least. */
const CHOICE = 0.2

/** Letters without case under `(?i)` that fold into one character together. */
const FOLDS_TOGETHER = /ss|st|ff|fi|fl/

/**
 * Translates a regular expression of Oniguruma, in the syntax that the Rust library uses (Ruby's), to JavaScript's.
 * @throws UntranslatableError
 */
export function translate(pattern: string): Translation {
  return new Translator(pattern).run()
}

class Translator {
  readonly #pattern: readonly string[]
  #at = 0
  #groups = 0
  #depth = 0

  constructor(pattern: string) {
    this.#pattern = Array.from(pattern)
  }

  run(): Translation {
    const { source, degree } = this.#alternatives({ ignoreCase: false, dotAll: false })
    if (this.#at < this.#pattern.length) throw new UntranslatableError('an unmatched )')
    return { source, degree }
  }

  #peek(text: string): boolean {
    return Array.from(text).every((c, i) => this.#pattern[this.#at + i] === c)
  }

  #take(text: string): boolean {
    if (!this.#peek(text)) return false
    this.#at += Array.from(text).length
    return true
  }

  #next(): string {
    const c = this.#pattern[this.#at++]
    if (c === undefined) throw new UntranslatableError('an unfinished part')
    return c
  }

  #until(end: string): string {
    const close = this.#pattern.indexOf(end, this.#at)
    if (close < 0) throw new UntranslatableError(`a part without ${end}`)
    const text = this.#pattern.slice(this.#at, close).join('')
    this.#at = close + 1
    return text
  }

  /** Up to the end or to the parenthesis that closes. */
  #alternatives(outer: Modes): Piece {
    if (++this.#depth > 64) throw new UntranslatableError('groups that lie too deep')
    let modes = outer
    const alternatives: Piece[][] = [[]]
    let letters = ''
    while (this.#at < this.#pattern.length && !this.#peek(')')) {
      if (this.#take('|')) {
        alternatives.push([])
        letters = ''
        continue
      }
      const changed = this.#modeChange(modes)
      if (changed !== null) {
        modes = changed
        continue
      }
      letters = modes.ignoreCase ? letters + this.#pattern[this.#at]!.toLowerCase() : ''
      if (FOLDS_TOGETHER.test(letters)) throw new UntranslatableError('letters without case that fold together')
      alternatives[alternatives.length - 1]!.push(this.#quantified(this.#atom(modes)))
    }
    this.#depth--
    return joined(alternatives)
  }

  /** `(?i)`, which holds to the end of the group. */
  #modeChange(modes: Modes): Modes | null {
    const start = this.#at
    if (!this.#take('(?')) return null
    const changed = this.#modes(modes)
    if (changed !== null && this.#take(')')) return changed
    this.#at = start
    return null
  }

  #modes(modes: Modes): Modes | null {
    let { ignoreCase, dotAll } = modes
    let on = true
    const start = this.#at
    for (;;) {
      if (this.#take('-')) on = false
      else if (this.#take('i')) ignoreCase = on
      else if (this.#take('m')) dotAll = on
      else if (this.#peek('x')) throw new UntranslatableError('(?x)')
      else return this.#at === start ? null : { ignoreCase, dotAll }
    }
  }

  #atom(modes: Modes): Piece {
    if (this.#take('(')) return this.#group(modes)
    if (this.#take('[')) return set(this.#class(modes))
    if (this.#take('.')) return set(modes.dotAll ? '\\p{Any}' : '[^\\n]')
    // Lines, not the text: that is Ruby's meaning.
    if (this.#take('^')) return set('(?:^|(?<=\\n)(?!$))')
    if (this.#take('$')) return set('(?=\\n|$)')
    if (this.#take('\\')) return this.#escape(modes)
    const c = this.#next()
    if ('*+?'.includes(c)) throw new UntranslatableError('a repeat of nothing')
    return set(character(c, modes))
  }

  #group(modes: Modes): Piece {
    let open = '(?:'
    let inner = modes
    let atomic = false
    if (this.#take('?')) {
      const look = ['<=', '<!', '=', '!'].find((kind) => this.#take(kind))
      if (look !== undefined) open = `(?${look}`
      else if (this.#take('>')) atomic = true
      else if (this.#take('#')) {
        this.#until(')')
        return set('')
      } else if (this.#peek('<')) this.#until('>')
      else if (!this.#take(':')) {
        const changed = this.#modes(modes)
        if (changed === null || !this.#take(':')) throw new UntranslatableError(`(?${this.#next()}`)
        inner = changed
      }
    }
    const body = this.#alternatives(inner)
    if (!this.#take(')')) throw new UntranslatableError('a group without an end')
    if (atomic) return this.#atomic(body)
    return { ...body, source: `${open}${body.source})`, atom: true }
  }

  /** What is matched first stays: a lookahead is never tried again, and the text that it found is taken. */
  #atomic({ source, degree, choice }: Piece): Piece {
    const name = `a${this.#groups++}`
    return { source: `(?:(?=(?<${name}>${source}))\\k<${name}>)`, degree, choice, atom: true }
  }

  #quantified(first: Piece): Piece {
    let piece = first
    for (;;) {
      const quantifier = this.#quantifier()
      if (quantifier === null) return piece
      const { source: repeat, max, interval } = quantifier
      // Ruby's `{n}?` is an optional `{n}`, and `{n,m}+` a repeated one.
      const lazy = !(interval && !repeat.includes(',')) && this.#take('?')
      const possessive = !lazy && !interval && this.#take('+')
      const source = `${piece.atom ? piece.source : `(?:${piece.source})`}${repeat}${lazy ? '?' : ''}`
      const nested = max > 1 && (piece.choice || piece.degree > 0)
      const degree = nested ? Number.POSITIVE_INFINITY : piece.degree + (max > 64 ? 1 : CHOICE)
      piece = { source, degree, choice: true, atom: false }
      if (possessive) piece = this.#atomic(piece)
    }
  }

  #quantifier(): { source: string; max: number; interval: boolean } | null {
    const unbounded = Number.POSITIVE_INFINITY
    if (this.#take('*')) return { source: '*', max: unbounded, interval: false }
    if (this.#take('+')) return { source: '+', max: unbounded, interval: false }
    if (this.#take('?')) return { source: '?', max: 1, interval: false }
    const interval = /^\{(\d*)(,?)(\d*)\}/.exec(this.#pattern.slice(this.#at, this.#at + 24).join(''))
    if (interval === null || (interval[1] === '' && interval[3] === '')) return null
    this.#at += interval[0].length
    const [, low, comma, high] = interval
    const min = low === '' ? 0 : Number(low)
    const max = comma === '' ? min : high === '' ? unbounded : Number(high)
    if (min > max || min > 1000 || (max > 1000 && max !== unbounded)) throw new UntranslatableError(interval[0])
    const source = comma === '' ? `{${min}}` : `{${min},${max === unbounded ? '' : max}}`
    return { source, max, interval: true }
  }

  #escape(modes: Modes): Piece {
    const c = this.#next()
    if (Object.hasOwn(ANCHORS, c)) return set(ANCHORS[c]!)
    if (c === 'R') return this.#atomic(set('(?:\\r\\n|[\\n-\\r\\x85\\u2028\\u2029])'))
    return set(this.#escapedSet(c, modes, ESCAPED_SETS) ?? character(this.#escapedCharacter(c), modes))
  }

  #escapedSet(c: string, modes: Modes, sets: Readonly<Record<string, string>>): string | null {
    if (Object.hasOwn(sets, c)) return sets[c]!
    if (c !== 'p' && c !== 'P') return null
    if (modes.ignoreCase) throw new UntranslatableError('\\p{…} within (?i)')
    if (!this.#take('{')) throw new UntranslatableError('\\p without {')
    const inverted = this.#take('^')
    const name = this.#until('}')
    const property = propertySet(name, (c === 'P') !== inverted)
    if (property === null) throw new UntranslatableError(`\\p{${name}}`)
    return property
  }

  #escapedCharacter(c: string): string {
    const escaped = ESCAPED_CHARACTERS[c]
    if (escaped !== undefined) return escaped
    if (c === 'x' && this.#take('{')) return codePoint(this.#until('}'))
    if (c === 'x') return codePoint(this.#hexadecimal(2))
    if (c === 'u') return codePoint(this.#hexadecimal(4))
    if (/[1-9CGKMNOXYckgy0]/.test(c)) throw new UntranslatableError(`\\${c}`)
    return c
  }

  #hexadecimal(most: number): string {
    let digits = ''
    while (digits.length < most && /^[\dA-Fa-f]$/.test(this.#pattern[this.#at] ?? '')) digits += this.#next()
    return digits
  }

  /** A class, after its `[`. */
  #class(modes: Modes): string {
    if (++this.#depth > 64) throw new UntranslatableError('classes that lie too deep')
    const negated = this.#take('^')
    const intersected: string[] = []
    let items = ''
    let first = true
    for (; first || !this.#peek(']'); first = false) {
      if (this.#take('&&')) {
        intersected.push(`[${items}]`)
        items = ''
      } else if (this.#take('[:')) {
        const inverted = this.#take('^')
        const name = this.#until(':')
        if (!this.#take(']') || !Object.hasOwn(POSIX_SETS, name)) throw new UntranslatableError(`[:${name}:]`)
        items += inverted ? `[^${POSIX_SETS[name]}]` : POSIX_SETS[name]!
      } else if (this.#take('[')) {
        items += this.#class(modes)
      } else {
        items += this.#classItem(modes)
      }
    }
    this.#at++
    this.#depth--
    if (intersected.length > 0) items = [...intersected, `[${items}]`].join('&&')
    return `[${negated ? '^' : ''}${items}]`
  }

  /** A character, a range or an escaped set. */
  #classItem(modes: Modes): string {
    let low = this.#next()
    if (low === '\\') {
      const c = this.#next()
      const escaped = this.#escapedSet(c, modes, ESCAPED_SETS_IN_CLASS)
      if (escaped !== null) return escaped
      low = c === 'b' ? '\b' : this.#escapedCharacter(c)
    }
    const after = this.#pattern[this.#at + 1]
    if (!this.#peek('-') || after === ']' || after === undefined) return classCharacters(low, low, modes)
    this.#at++
    let high = this.#next()
    if (high === '[') throw new UntranslatableError('a class as the end of a range')
    if (high === '\\') {
      const c = this.#next()
      if (this.#escapedSet(c, modes, ESCAPED_SETS_IN_CLASS) !== null)
        throw new UntranslatableError('a set as the end of a range')
      high = c === 'b' ? '\b' : this.#escapedCharacter(c)
    }
    return classCharacters(low, high, modes)
  }
}

function set(source: string): Piece {
  return { source, degree: 0, atom: true, choice: false }
}

function joined(alternatives: readonly (readonly Piece[])[]): Piece {
  const sum = (pieces: readonly Piece[]): number => pieces.reduce((total, piece) => total + piece.degree, 0)
  const single = alternatives.length === 1 ? alternatives[0]! : []
  if (single.length === 1) return single[0]!
  return {
    source: alternatives.map((pieces) => pieces.map((piece) => piece.source).join('')).join('|'),
    degree: Math.max(...alternatives.map(sum)) + CHOICE * Math.log2(alternatives.length),
    atom: false,
    choice: alternatives.length > 1 || single.some((piece) => piece.choice),
  }
}

function codePoint(hexadecimal: string): string {
  const value = Number.parseInt(hexadecimal, 16)
  if (!/^[\dA-Fa-f]{1,8}$/.test(hexadecimal) || value > 0x10ffff)
    throw new UntranslatableError('a malformed \\x or \\u')
  return String.fromCodePoint(value)
}

function character(c: string, { ignoreCase }: Modes): string {
  if (!ignoreCase) return literal(c)
  const variants = caseVariants(c)
  return variants.length === 1 ? literal(c) : `[${variants.map(literal).join('')}]`
}

function classCharacters(low: string, high: string, { ignoreCase }: Modes): string {
  const from = low.codePointAt(0)!
  const to = high.codePointAt(0)!
  if (from > to) throw new UntranslatableError('a range that runs backwards')
  const range = from === to ? literal(low) : `${literal(low)}-${literal(high)}`
  if (!ignoreCase) return range
  if (to > 0x7f && to - from > 1000) throw new UntranslatableError('a wide range within (?i)')
  const variants = Array.from({ length: to - from + 1 }, (_, i) => caseVariants(String.fromCodePoint(from + i)))
  return [...new Set(variants.flat())].map(literal).join('')
}

/** A character and those that differ from it in case alone. */
function caseVariants(c: string): string[] {
  const lower = c.toLowerCase()
  const upper = c.toUpperCase()
  if (lower === upper) return [c]
  if (!/^[A-Za-z]$/.test(c)) throw new UntranslatableError('letters beyond ASCII within (?i)')
  return [lower, upper, ...(lower === 's' ? ['\u017f'] : lower === 'k' ? ['\u212a'] : [])]
}
