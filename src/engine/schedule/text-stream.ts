import { InputError } from '../../errors.js'

/** Turns the ids of one sequence into text as they come. */
export interface TextStream {
  /** True once a stop string has appeared; the text ends before it and `push` returns nothing more. */
  readonly stopped: boolean
  /** Takes the next id and returns the text that can be shown now: what no later id can change or turn into a stop string. */
  push(id: number): string
  /** Takes an id that ends the text and is not shown, but may complete a stop string. */
  end(id: number): string
  /** Returns the text that was held back. */
  finish(): string
}

/** Ids that are decoded together at most before the oldest are let go of. */
const WINDOW = 16
/** A window that never ends in whole characters is cut nevertheless at this length. */
const WINDOW_LIMIT = 64
const INCOMPLETE = '\ufffd'

/**
 * Joined, the returned pieces are `decode` of all ids, cut before the stop string that is complete first. Held back are
 * bytes of an unfinished character (a tokenizer decodes them to U+FFFD) and text that may be the start of a stop string.
 * Each id is decoded together with a bounded number of ids before it, as a tokenizer may drop a space at the start of
 * what it decodes; so the cost does not grow with the text.
 *
 * A stop string matches in the text as it is shown, and in the text with the tokens that are not shown, each of them whole
 * or not at all, standing behind what could be shown when it came.
 *
 * @param decode text of ids, special tokens left out; never called with none
 * @param stop stop strings, none of them empty, or InputError
 * @param spell how one id is spelled, special or not
 */
export function createTextStream(
  decode: (ids: readonly number[]) => string,
  stop: readonly string[] = [],
  spell: (id: number) => string = () => '',
): TextStream {
  if (stop.includes('')) throw new InputError('a stop string must not be empty')
  const filter = createStopFilter(stop)
  /** The last ids; the text of those before is out for good. */
  let ids: number[] = []
  /** How many characters of `decode(ids)` were passed on. */
  let passed = 0
  /** How many of `ids` ended in a whole character when one came last. */
  let border = 0

  /** Lets go of the first `count` ids, whose text was passed on. */
  function drop(count: number, text: string): void {
    if (count === 0) return
    ids = ids.slice(count)
    border = Math.max(0, border - count)
    // The text of the ids that stay may differ from the end of the text before: a space at its start may be gone.
    const rest = ids.length === 0 ? '' : decode(ids)
    passed = Math.max(0, rest.length - (text.length - passed))
  }

  function next(id: number): string {
    ids.push(id)
    const text = decode(ids)
    let end = text.length
    while (end > 0 && text[end - 1] === INCOMPLETE) end--
    const delta = text.slice(passed, end)
    passed = Math.max(passed, end)
    if (end === text.length) {
      if (ids.length > WINDOW) drop(border, text)
      border = ids.length
      return delta
    }
    if (ids.length <= WINDOW_LIMIT) return delta
    return delta + cutIncomplete(text)
  }

  /**
   * For bytes that never become characters: passes on the text of all ids but the last few, at a place where decoding
   * the two parts apart gives the same text, so that no character spans it.
   */
  function cutIncomplete(text: string): string {
    for (let keep = 1; keep <= 4; keep++) {
      const cut = ids.length - keep
      const left = decode(ids.slice(0, cut))
      if (left + decode(ids.slice(cut)) !== text) continue
      const delta = left.slice(passed)
      passed = Math.max(passed, left.length)
      drop(cut, text)
      return delta
    }
    return ''
  }

  return {
    get stopped() {
      return filter.stopped
    },
    push(id) {
      if (filter.stopped) return ''
      const text = next(id)
      return filter.push(text, stop.length > 0 && decode([id]) === '' ? spell(id) : '')
    },
    end(id) {
      return filter.stopped || stop.length === 0 ? '' : filter.push('', spell(id))
    },
    finish() {
      if (filter.stopped) return ''
      const rest = ids.length === 0 ? '' : decode(ids).slice(passed)
      ids = []
      passed = 0
      const shown = filter.push(rest)
      return filter.stopped ? shown : shown + filter.flush()
    },
  }
}

interface StopFilter {
  readonly stopped: boolean
  /** Takes text, and behind it the spelling of a token that is matched but not shown; returns what can be shown. */
  push(text: string, hidden?: string): string
  flush(): string
}

function createStopFilter(stop: readonly string[]): StopFilter {
  /** What may still become a stop string, hidden tokens included. */
  let held = ''
  /** Where in `held` hidden tokens stand. */
  let hidden: Span[] = []
  let stopped = false

  /** Lets go of the first `end` characters and returns those of them that are shown. */
  function release(end: number): string {
    const shown = places(held, hidden)
      .filter((at) => at < end)
      .map((at) => held[at])
      .join('')
    held = held.slice(end)
    hidden = hidden.filter((span) => span.end > end).map((span) => ({ start: span.start - end, end: span.end - end }))
    return shown
  }

  return {
    get stopped() {
      return stopped
    },
    push(text, secret = '') {
      if (stop.length === 0 || (text === '' && secret === '')) return text
      held += text
      if (secret !== '') hidden.push({ start: held.length, end: held.length + secret.length })
      held += secret
      const found = firstStop(held, hidden, stop)
      stopped = found !== null
      return release(found?.start ?? unsuspected(held, hidden, stop))
    },
    flush: () => release(held.length),
  }
}

/** Characters `start` to `end - 1`. */
interface Span {
  readonly start: number
  readonly end: number
}

/** Places of the characters that are shown. */
function places(text: string, hidden: readonly Span[]): number[] {
  const all = Array.from({ length: text.length }, (_, at) => at)
  return hidden.length === 0 ? all : all.filter((at) => !hidden.some(({ start, end }) => start <= at && at < end))
}

/**
 * The stop string that is complete first, the longest of those that end there; null where there is none. So the cut does
 * not depend on how the text was split into pieces.
 */
function firstStop(text: string, hidden: readonly Span[], stop: readonly string[]): Span | null {
  const shown = places(text, hidden)
  const shownText = shown.map((at) => text[at]).join('')
  let first: Span | null = null
  const take = (found: Span): void => {
    if (first === null || found.end < first.end || (found.end === first.end && found.start < first.start)) first = found
  }
  for (const string of stop) {
    const at = shownText.indexOf(string)
    if (at >= 0) take({ start: shown[at] as number, end: (shown[at + string.length - 1] as number) + 1 })
    if (hidden.length === 0) continue
    for (let start = text.indexOf(string); start >= 0; start = text.indexOf(string, start + 1)) {
      const end = start + string.length
      const cut = hidden.some((span) => span.start < end && start < span.end && (span.start < start || end < span.end))
      if (!cut) take({ start, end })
    }
  }
  return first
}

/** Where the part of a text begins that may be the start of a stop string. */
function unsuspected(text: string, hidden: readonly Span[], stop: readonly string[]): number {
  const start = text.length - possibleStart(text, stop)
  if (hidden.length === 0) return start
  const shown = places(text, hidden)
  const suspected = possibleStart(shown.map((at) => text[at]).join(''), stop)
  return suspected === 0 ? start : Math.min(start, shown[shown.length - suspected] as number)
}

/** Length of the longest end of `text` that a stop string may start with. */
function possibleStart(text: string, stop: readonly string[]): number {
  let longest = 0
  for (const string of stop) {
    for (let n = Math.min(text.length, string.length - 1); n > longest; n--) {
      if (text.endsWith(string.slice(0, n))) longest = n
    }
  }
  return longest
}
