/** A template that does not parse, or that fails while it runs. It never leaves this folder. */
export class TemplateError extends Error {
  /** The template's line, set where it is first known. */
  line: number | undefined

  constructor(message: string, line?: number) {
    super(message)
    this.line = line
  }
}

/** Levels of syntax, of calls and of nested values; a level takes some hundred bytes of stack. */
const MAX_DEPTH = 900
/** A simple expression is one step. */
const MAX_STEPS = 2_000_000
/** Characters and list places that are made by one rendering, whatever becomes of them. */
const MAX_MADE = 1 << 25
/** One string, and the text as a whole. */
const MAX_STRING = 1 << 23

/** One rendering: what it may still use, and the state that its parts share. */
export class Run {
  /** Whether `{% autoescape %}` is on. */
  autoescape = false
  private steps = 0
  private made = 0
  private depth = 0

  constructor(readonly now: () => Date) {}

  spend(steps: number): void {
    this.steps += steps
    if (this.steps > MAX_STEPS) throw new TemplateError('the template runs for too long')
  }

  /** Something of `length` characters is read. */
  read(length: number): void {
    this.spend(1 + (length >> 4))
  }

  /** A string of `length` characters is about to be made; `copied` of them are copied. */
  makeString(length: number, copied: number = length): void {
    if (length > MAX_STRING) throw new TemplateError(`a string has more than ${MAX_STRING} characters`)
    this.make(copied)
  }

  /** A list of `length` is about to be made. */
  makeList(length: number): void {
    this.make(8 * length)
  }

  private make(size: number): void {
    this.made += size
    if (this.made > MAX_MADE) throw new TemplateError('the template makes more text than it may')
    this.spend(1 + (size >> 6))
  }

  enter(): void {
    if (++this.depth > MAX_DEPTH) throw new TemplateError('the template or a value is nested too deeply')
    this.spend(1)
  }

  leave(): void {
    this.depth--
  }
}
