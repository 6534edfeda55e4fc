/** What Oniguruma's escapes and names mean, as sets in JavaScript's `v` syntax. Text is taken `asUnicode16`. */

const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}'
/** Oniguruma's `\w` has these too, but not within a class. */
const WORD_NUMBERS = '\\xb2\\xb3\\xb9\\xbc-\\xbe'

export const ESCAPED_SETS: Readonly<Record<string, string>> = {
  d: '\\p{Nd}',
  D: '\\P{Nd}',
  h: '[0-9A-Fa-f]',
  H: '[^0-9A-Fa-f]',
  s: '\\p{White_Space}',
  S: '\\P{White_Space}',
  w: `[${WORD}${WORD_NUMBERS}]`,
  W: `[^${WORD}${WORD_NUMBERS}]`,
}

export const ESCAPED_SETS_IN_CLASS: Readonly<Record<string, string>> = {
  ...ESCAPED_SETS,
  w: `[${WORD}]`,
  W: `[^${WORD}]`,
}

/** `[:name:]` within a class. */
export const POSIX_SETS: Readonly<Record<string, string>> = {
  alnum: '[\\p{Alphabetic}\\p{Nd}]',
  alpha: '\\p{Alphabetic}',
  ascii: '\\p{ASCII}',
  blank: '[\\t\\p{Zs}]',
  cntrl: '\\p{Cc}',
  digit: '\\p{Nd}',
  lower: '\\p{Lowercase}',
  space: '\\p{White_Space}',
  upper: '\\p{Uppercase}',
  word: `[${WORD}]`,
  xdigit: '[0-9A-Fa-f]',
}

const CATEGORIES = new Set(
  'L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cn Co'.split(' '),
)
const LONG_CATEGORIES =
  /^(?:(?:Uppercase|Lowercase|Titlecase|Modifier|Other)_)?Letter$|^(?:(?:Nonspacing|Spacing|Enclosing)_)?Mark$|^(?:(?:Decimal|Letter|Other)_)?Number$|^(?:(?:Math|Currency|Modifier|Other)_)?Symbol$|^(?:(?:Connector|Dash|Open|Close|Initial|Final|Other)_)?Punctuation$|^(?:(?:Space|Line|Paragraph)_)?Separator$/
const BINARY = new Set(['Alphabetic', 'Lowercase', 'Uppercase', 'White_Space', 'ASCII', 'Any', 'Ideographic'])

/** The set that `\p{name}` means, or null where it is not known. */
export function propertySet(name: string, negated: boolean): string | null {
  const p = negated ? '\\P' : '\\p'
  if (CATEGORIES.has(name) || LONG_CATEGORIES.test(name) || BINARY.has(name)) return `${p}{${name}}`
  const posix = Object.hasOwn(POSIX_SETS, name.toLowerCase()) ? POSIX_SETS[name.toLowerCase()]! : null
  if (posix !== null && name.toLowerCase() !== 'word') return negated ? `[^${posix}]` : `[${posix}]`
  const script = `${p}{Script=${name}}`
  return /^[A-Za-z_]+$/.test(name) && compiles(script) ? script : null
}

function compiles(source: string): boolean {
  try {
    return new RegExp(source, 'v') instanceof RegExp
  } catch {
    return false
  }
}

/** A code point as it is written in a pattern, within a class or out of it. */
export function literal(c: string): string {
  return /^[\dA-Za-z]$/.test(c) ? c : `\\u{${c.codePointAt(0)!.toString(16)}}`
}
