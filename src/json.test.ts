import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FileError } from './errors.js'
import { CONFIG_LIMITS, endOfString, parseJson, parseJsonObject } from './json.js'

describe('parseJson', () => {
  it('gives what JSON.parse gives, for any JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.integer({ min: 0, max: 2 }), (value, indent) => {
        const text = JSON.stringify(value, null, indent)
        expect(parseJson('x', text)).toEqual(JSON.parse(text))
      }),
    )
  })

  it('reads the NaN and Infinity that Python writes', () => {
    const text = '{"a": NaN, "b": [Infinity,-Infinity , NaN], "c": {"NaN": "Infinity \\" NaN"}}'
    expect(parseJson('x', text)).toEqual({
      a: Number.NaN,
      b: [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
      c: { NaN: 'Infinity " NaN' },
    })
    expect(parseJson('x', 'NaN')).toBe(Number.NaN)
    expect(parseJson('x', ' -Infinity\n')).toBe(Number.NEGATIVE_INFINITY)
  })

  it('tells NaN from strings that look like what may stand for it, however long', () => {
    const dashes = `NaN${'-'.repeat(2_000_000)}`
    expect(parseJson('x', `{"a":"${dashes}","b":NaN}`)).toEqual({ a: dashes, b: Number.NaN })
    expect(parseJson('x', '["\\u004eaN-", NaN]')).toEqual(['NaN-', Number.NaN])
  }, 5000)

  it('finds where strings end, whatever is escaped in them', () => {
    const text = fc.array(fc.constantFrom('\\', '"', '{', '[', ':', ',', 'a', '\n')).map((parts) => parts.join(''))
    fc.assert(
      fc.property(fc.dictionary(text, text), (value) => {
        const json = JSON.stringify(value)
        expect(endOfString(json, json.indexOf('"'))).toBe(/"(\\.|[^"\\])*"/.exec(json)?.[0].length ?? json.length)
        expect(parseJson('x', `[${json},NaN]`)).toEqual([value, Number.NaN])
      }),
    )
  })

  it.each([
    '{NaN: 1}',
    '{ NaN : 1}',
    '[1Infinity]',
    '[InfinityX]',
    '[Infinity5]',
    '[-NaN]',
    '[NaN NaN]',
    '[nan]',
    '[+Infinity]',
    '[Infinity',
    'Infinit',
    '["a" NaN]',
    "{'a': NaN}",
    '',
  ])('refuses %j', (text) => {
    expect(() => parseJson('x.json', text)).toThrow(new FileError('x.json', 'the file is not valid JSON'))
  })

  it('keeps a key named __proto__ a key, and takes the last of two keys', () => {
    for (const text of ['{"__proto__": {"a": 1}, "b": 1, "b": 2}', '{"__proto__": {"a": 1}, "b": NaN, "b": 2}']) {
      const value = parseJsonObject('x', text)
      expect(Object.getPrototypeOf(value)).toBe(Object.prototype)
      expect(Object.keys(value)).toEqual(['__proto__', 'b'])
      expect('a' in value).toBe(false)
      expect(value.b).toBe(2)
    }
  })

  it.each([
    ['lists', '['.repeat(1e6) + ']'.repeat(1e6)],
    ['objects', '{"a":'.repeat(1e6) + '1'.concat('}'.repeat(1e6))],
    ['lists without an end', '['.repeat(3e7)],
  ])('refuses %s nested a million deep before it parses them', (_, text) => {
    expect(() => parseJson('x.json', text)).toThrow('x.json: the file is nested more than 256 deep')
  })

  it('refuses more keys, lists and entries than any file has', () => {
    const keys = `{${Array.from({ length: 250_001 }, (_, i) => `"${i}":0`).join()}}`
    expect(() => parseJson('x', keys, 'file', CONFIG_LIMITS)).toThrow(
      'x: the file has 250001 keys, at most 250000 may be',
    )
    expect(Object.keys(parseJsonObject('x', keys))).toHaveLength(250_001)
    expect(() => parseJson('x', `[${'[],'.repeat(2_500_000)}0]`)).toThrow(/objects and lists/)
    expect(() => parseJson('x', `[${'0,'.repeat(16_000_001)}0]`)).toThrow(/entries/)
  })
})
