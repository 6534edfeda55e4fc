import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InputError } from '../../errors.js'
import { createJsonTokenizer } from '../../tokenizer/tokenizer-json.js'
import { createTextStream } from './text-stream.js'

type Decode = (ids: readonly number[]) => string

/** A byte-level tokenizer: id i is the bytes `vocabulary[i]`. */
function byteLevel(vocabulary: readonly Uint8Array[]): Decode {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return (ids) => {
    if (ids.length === 0) throw new Error('decode of no ids')
    return decoder.decode(Buffer.concat(ids.map((id) => vocabulary[id]!)))
  }
}

/** Every id is one byte. */
const bytes = byteLevel(Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)))
const idsOf = (text: string) => [...Buffer.from(text)]

/** The text before the stop string that is complete first, found by trying every end. */
function cut(text: string, stop: readonly string[]): string {
  for (let end = 0; end <= text.length; end++) {
    const ending = stop.filter((string) => text.slice(0, end).endsWith(string)).map((string) => string.length)
    if (ending.length > 0) return text.slice(0, end - Math.max(...ending))
  }
  return text
}

function stream(decode: Decode, ids: readonly number[], stop: readonly string[] = []) {
  const stream = createTextStream(decode, stop)
  const pieces = ids.map((id) => stream.push(id))
  pieces.push(stream.finish())
  return { pieces, text: pieces.join(''), stopped: stream.stopped }
}

describe('characters split over tokens', () => {
  it('are held back until they are whole', () => {
    expect(stream(bytes, idsOf('a€b')).pieces).toEqual(['a', '', '', '€', 'b', ''])
    expect(stream(bytes, idsOf('😀')).pieces).toEqual(['', '', '', '😀', ''])
  })

  it('come as U+FFFD at the end where they stay incomplete', () => {
    expect(stream(bytes, [0x61, 0xe2, 0x82]).pieces).toEqual(['a', '', '', '\ufffd'])
  })

  it('a character U+FFFD of the text itself is shown', () => {
    expect(stream(bytes, idsOf('a\ufffdb')).text).toBe('a\ufffdb')
  })

  it('no ids give no text and no call of decode', () => {
    expect(stream(bytes, []).text).toBe('')
  })
})

describe('stop strings', () => {
  it('end the text across token borders, and nothing follows', () => {
    const s = createTextStream(bytes, ['\n\n'])
    expect(['a', '\n', 'b', '\n', '\n', 'c'].map((c) => s.push(c.charCodeAt(0)))).toEqual(['a', '', '\nb', '', '', ''])
    expect(s.stopped).toBe(true)
    expect(s.finish()).toBe('')
  })

  it('let go of a start that does not become one', () => {
    expect(stream(bytes, idsOf('STO'), ['STOP'])).toMatchObject({ pieces: ['', '', '', 'STO'], stopped: false })
    expect(stream(bytes, idsOf('ababc'), ['abc'])).toMatchObject({ text: 'ab', stopped: true })
  })

  it('the one that is complete first counts, however the text is split', () => {
    const decode = byteLevel([
      Buffer.from('abcd'),
      Buffer.from('a'),
      Buffer.from('b'),
      Buffer.from('c'),
      Buffer.from('d'),
    ])
    for (const ids of [[0], [1, 2, 3, 4]]) expect(stream(decode, ids, ['abcd', 'bc']).text).toBe('a')
    for (const ids of [[0], [1, 2, 3, 4]]) expect(stream(decode, ids, ['cd', 'abcd']).text).toBe('')
  })

  it('may be one that only finish() completes', () => {
    expect(stream(bytes, [0x61, 0xe2], ['\ufffd'])).toMatchObject({ text: 'a', stopped: true })
  })

  it('must not be empty', () => {
    expect(() => createTextStream(bytes, ['a', ''])).toThrow(InputError)
  })
})

describe('tokens that are not shown', () => {
  /** Ids from 256 on are special. */
  const SPECIAL = ['<|im_end|>', '<tool>']
  const decode: Decode = (ids) => {
    const shown = ids.filter((id) => id < 256)
    return shown.length === 0 ? '' : bytes(shown)
  }
  const spell = (id: number): string => SPECIAL[id - 256] ?? bytes([id])

  function show(ids: readonly number[], stop: readonly string[]) {
    const s = createTextStream(decode, stop, spell)
    const pieces = ids.map((id) => s.push(id))
    return { text: pieces.join('') + s.finish(), stopped: s.stopped }
  }

  it('end the text where a stop string spells one', () => {
    expect(show([...idsOf('ab'), 256, ...idsOf('c')], ['<|im_end|>'])).toEqual({ text: 'ab', stopped: true })
    expect(show([...idsOf('ab'), 257, ...idsOf('c')], ['<|im_end|>'])).toEqual({ text: 'abc', stopped: false })
  })

  it('may stand inside a longer stop string', () => {
    const stop = ['\n<|im_end|>\n']
    expect(show([...idsOf('a\n'), 256, ...idsOf('\nb')], stop)).toEqual({ text: 'a', stopped: true })
    expect(show([...idsOf('a\n'), 256, ...idsOf('b')], stop)).toEqual({ text: 'a\nb', stopped: false })
  })

  it('count whole or not at all, and a stop string of shown text looks past them', () => {
    expect(show([...idsOf('a'), 256, ...idsOf('b')], ['<', 'im', '|>b'])).toEqual({ text: 'ab', stopped: false })
    expect(show([...idsOf('a\n'), 256, ...idsOf('\nb')], ['\n\n'])).toEqual({ text: 'a', stopped: true })
  })

  it('end a text by completing a stop string that was held back', () => {
    const s = createTextStream(decode, ['\n<|im_end|>'], spell)
    expect([...idsOf('a\n')].map((id) => s.push(id)).join('')).toBe('a')
    expect(s.end(256)).toBe('')
    expect(s.stopped).toBe(true)
  })

  it('leave the shown text cut at the first stop string, wherever they stand', () => {
    const id = fc.oneof(fc.constantFrom(...idsOf('ab<>')), fc.constantFrom(256, 257))
    const stop = fc.string({ unit: fc.constantFrom('a', 'b', '<tool>', '<|im_end|>'), minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(fc.array(id, { maxLength: 40 }), fc.array(stop, { maxLength: 3 }), (ids, stop) => {
        const { text, stopped } = show(ids, stop)
        // One character stands for each special token, so that it cannot be taken apart.
        const mark = (text: string): string => text.replaceAll('<|im_end|>', '\u0001').replaceAll('<tool>', '\u0002')
        const whole = ids.map((id) => (id >= 256 ? String.fromCharCode(id - 255) : String.fromCharCode(id))).join('')
        const ends: [number, number][] = []
        for (let end = 1; end <= whole.length; end++)
          for (const string of stop) {
            const marked = mark(string)
            if (whole.slice(0, end).endsWith(marked)) ends.push([end, end - marked.length])
            const shown = shownPlaces(whole.slice(0, end))
            if (
              shown.at(-1) !== end - 1 ||
              !shown
                .map((at) => whole[at])
                .join('')
                .endsWith(string)
            )
              continue
            ends.push([end, shown[shown.length - string.length] as number])
          }
        const first = Math.min(...ends.map(([end]) => end))
        const start = Math.min(...ends.filter(([end]) => end === first).map(([, start]) => start), whole.length)
        expect(stopped).toBe(ends.length > 0)
        expect(text).toBe(
          shownPlaces(whole.slice(0, start))
            .map((at) => whole[at])
            .join(''),
        )
      }),
      { numRuns: 500 },
    )
  })

  function shownPlaces(text: string): number[] {
    return Array.from({ length: text.length }, (_, at) => at).filter((at) => text.charCodeAt(at) > 2)
  }
})

describe('a text that is cut after any token', () => {
  it('is what was streamed and the rest, and no piece has half a character', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'é', '€', '😀', '👩‍🚀', '\ufeff'), maxLength: 12 })
    const any = fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 24 })
    fc.assert(
      fc.property(fc.oneof(text.map(idsOf), any), (ids) => {
        const s = createTextStream(bytes)
        let streamed = ''
        for (let cut = 0; cut <= ids.length; cut++) {
          const rest = createTextStream(bytes)
          const before = ids.slice(0, cut).map((id) => rest.push(id))
          expect(before.join('')).toBe(streamed)
          expect(streamed + rest.finish()).toBe(cut === 0 ? '' : bytes(ids.slice(0, cut)))
          for (const piece of before) expect(piece.isWellFormed()).toBe(true)
          if (cut < ids.length) streamed += s.push(ids[cut]!)
        }
      }),
    )
  })
})

describe('the joined pieces are the text of all ids, cut at the first stop string', () => {
  const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '\n', 'é', '😀'), minLength: 1, maxLength: 4 }), {
    maxLength: 3,
  })

  it('for a byte-level tokenizer and any text', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', '\n', 'é', '€', '😀', '😁', '\ufeff', '\ufffd', '👩‍🚀'),
      maxLength: 60,
    })
    fc.assert(
      fc.property(text, stops, (text, stop) => {
        const result = stream(bytes, idsOf(text), stop)
        expect(result.text).toBe(cut(text, stop))
        expect(result.stopped).toBe(stop.some((string) => text.includes(string)))
      }),
      { numRuns: 500 },
    )
  })

  it('for tokens of any bytes, whether they are UTF-8 or not', () => {
    const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0x80, 0x82, 0xac, 0xe2, 0xf0, 0x9f, 0x61))
    const vocabulary = fc.array(fc.uint8Array({ min: 0, max: 255, minLength: 1, maxLength: 4 }), {
      minLength: 1,
      maxLength: 8,
    })
    const single = fc.array(byte, { minLength: 1, maxLength: 8 }).map((all) => all.map((b) => Uint8Array.of(b)))
    fc.assert(
      fc.property(
        fc.oneof(vocabulary, single),
        fc.array(fc.nat(), { maxLength: 300 }),
        stops,
        (vocabulary, numbers, stop) => {
          const decode = byteLevel(vocabulary)
          const ids = numbers.map((n) => n % vocabulary.length)
          const text = ids.length === 0 ? '' : decode(ids)
          expect(stream(decode, ids, stop).text).toBe(cut(text, stop))
        },
      ),
      { numRuns: 500 },
    )
  })

  it('for a tokenizer that drops the space at the start of what it decodes', () => {
    const words = [' the', ' a', 'b', ' ', '.', ' ,']
    const decode: Decode = (ids) =>
      ids
        .map((id) => words[id]!)
        .join('')
        .replace(/^ /, '')
    fc.assert(
      fc.property(fc.array(fc.nat(words.length - 1), { maxLength: 100 }), stops, (ids, stop) => {
        expect(stream(decode, ids, stop).text).toBe(cut(decode(ids), stop))
      }),
    )
  })

  it('for the tokenizer of ripple-8m', () => {
    const file = new URL('../../../pretrained/ripple-8m/tokenizer.json', import.meta.url)
    const tokenizer = createJsonTokenizer('tokenizer.json', readFileSync(file, 'utf8'))
    const decode: Decode = (ids) => tokenizer.decode(ids, { skipSpecialTokens: true })
    const anyIds = fc.array(fc.nat(4095), { minLength: 1, maxLength: 120 })
    const ofText = fc.string({ unit: 'binary', minLength: 1, maxLength: 80 }).map((text) => tokenizer.encode(text))
    fc.assert(
      fc.property(fc.oneof(anyIds, ofText), stops, (ids, stop) => {
        expect(stream(decode, ids, stop).text).toBe(cut(decode(ids), stop))
      }),
    )
  })
})

it('decodes a bounded number of ids at a time, however long the text', () => {
  const longest = (ids: readonly number[]) => {
    let most = 0
    let all = 0
    const counted: Decode = (part) => {
      most = Math.max(most, part.length)
      all += part.length
      return bytes(part)
    }
    stream(counted, ids)
    return { most, perId: all / ids.length }
  }
  const text = longest(idsOf('a long text é '.repeat(500)))
  expect(text.most).toBeLessThan(30)
  expect(text.perId).toBeLessThan(20)
  // Bytes that never become a character.
  const noise = longest(Array.from({ length: 2000 }, () => 0x80))
  expect(noise.most).toBeLessThan(100)
  expect(noise.perId).toBeLessThan(100)
})
