import fc from 'fast-check'
import { expect, it } from 'vitest'
import { replaceFields } from './json-edit.js'

it('replaces fields and leaves everything else as it is written', () => {
  const text =
    '{\n  "a": 1e-05,\n  "layers" : 16 ,\n  "types": [\n    "x", "]"\n  ],\n  "in": {"layers": 16, "l": [{}]}, "z": 10000.0}\n'
  expect(
    replaceFields(
      text,
      new Map<string, unknown>([
        ['layers', 8],
        ['types', ['x']],
        ['none', 1],
      ]),
    ),
  ).toBe('{\n  "a": 1e-05,\n  "layers" : 8 ,\n  "types": ["x"],\n  "in": {"layers": 16, "l": [{}]}, "z": 10000.0}\n')
})

it('replaces strings, words and objects, the last field too', () => {
  const text = '{"a":"b,\\"}","n":null,"o":{"x":"}"},"t":true}'
  const values = new Map<string, unknown>(['a', 'n', 'o', 't'].map((key) => [key, 0]))
  expect(replaceFields(text, values)).toBe('{"a":0,"n":0,"o":0,"t":0}')
})

it('gives what parsing, changing and printing gives', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(3), (object, indent) => {
      const keys = Object.keys(object).filter((_, i) => i % 2 === 0)
      const changed = Object.fromEntries(Object.entries(object).map(([k, v]) => [k, keys.includes(k) ? [k, 7] : v]))
      const edited = replaceFields(JSON.stringify(object, null, indent), new Map(keys.map((k) => [k, [k, 7]])))
      expect(JSON.parse(edited)).toEqual(JSON.parse(JSON.stringify(changed)))
    }),
  )
})
