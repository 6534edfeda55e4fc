import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FileError, InputError, MAX_MESSAGE, printable, SpecError, UnsupportedError } from './errors.js'

const HOSTILE = /[\p{C}\p{Zl}\p{Zp}]/u

describe('messages of errors', () => {
  it('are one printable line of bounded length whatever is put into them', () => {
    const unit = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\n', '\u001b[2J', '\u202e', '\ud800', '\udc00', '\u2028', '\u200b', '😀'),
    )
    const text = fc
      .tuple(fc.array(unit), fc.integer({ min: 1, max: 400 }))
      .map(([parts, times]) => parts.join('').repeat(times))
    fc.assert(
      fc.property(text, text, (path, reason) => {
        for (const error of [new FileError(path, reason), new UnsupportedError(`${path}: ${reason}`)]) {
          expect(error.message.length).toBeLessThanOrEqual(MAX_MESSAGE)
          expect(error.message).not.toMatch(HOSTILE)
        }
      }),
    )
  })

  it('keep the reason whole and shorten the path', () => {
    const path = `/models/${'a'.repeat(100_000)}/config.json`
    const error = new FileError(path, 'field hidden_size must be a whole number from 1 to 2147483647')
    expect(error.message).toMatch(
      /^\/models\/a+…a+\/config\.json: field hidden_size must be a whole number from 1 to 2147483647$/,
    )
    expect(error.path).toBe(path)
    expect(error.message.length).toBe(MAX_MESSAGE)
  })

  it('keep both ends of a sentence around a name of megabytes', () => {
    const { message } = new FileError('x.gguf', `tensor ${'n'.repeat(5_000_000)} has 9 dimensions`)
    expect(message).toMatch(/^x\.gguf: tensor n+…n+ has 9 dimensions$/)
  })

  it('show what would act on a terminal as escapes', () => {
    expect(new InputError('a\u001b[31mb\nc\u202ed\ud83d').message).toBe('a\\u{1b}[31mb\\nc\\u{202e}d\\u{d83d}')
  })

  it('leave ordinary text of any script as it is', () => {
    const text = 'Ünïcode.gguf: Größe 漢字 עברית 😀 – “so”'
    expect(new SpecError(text).message).toBe(text)
    expect(printable('short')).toBe('short')
  })

  it('do not cut a character in two', () => {
    for (let longest = 10; longest < 20; longest++) expect(printable('😀'.repeat(50), longest)).not.toMatch(/\\u/)
  })
})
