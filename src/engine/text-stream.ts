import { InputError } from '../errors.js'

/** Turns the ids of one sequence into text as they come. */
export interface TextStream {
  /** True once a stop string has appeared; the text ends before it and `push` returns nothing more. */
  readonly stopped: boolean
  /** Takes the next id and returns the text that can be shown now: what no later id can change or turn into a stop string. */
  push(id: number): string
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
 * @param decode text of ids; never called with none
 * @param stop stop strings, none of them empty, or InputError
 */
export function createTextStream(decode: (ids: readonly number[]) => string, stop: readonly string[] = []): TextStream {
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
      return filter.stopped ? '' : filter.push(next(id))
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
  push(text: string): string
  flush(): string
}

function createStopFilter(stop: readonly string[]): StopFilter {
  let held = ''
  let stopped = false
  return {
    get stopped() {
      return stopped
    },
    push(text) {
      if (stop.length === 0 || text === '') return text
      held += text
      const found = firstStop(held, stop)
      stopped = found >= 0
      const end = stopped ? found : held.length - possibleStart(held, stop)
      const shown = held.slice(0, end)
      held = stopped ? '' : held.slice(end)
      return shown
    },
    flush() {
      const shown = held
      held = ''
      return shown
    },
  }
}

/**
 * Where the stop string starts that is complete first, the longest of those that end there; -1 where there is none. So
 * the cut does not depend on how the text was split into pieces.
 */
function firstStop(text: string, stop: readonly string[]): number {
  let start = -1
  let end = Number.POSITIVE_INFINITY
  for (const string of stop) {
    const at = text.indexOf(string)
    if (at < 0) continue
    if (at + string.length < end || (at + string.length === end && at < start)) {
      start = at
      end = at + string.length
    }
  }
  return start
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
