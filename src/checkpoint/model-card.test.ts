import fc from 'fast-check'
import { expect, it } from 'vitest'
import { baseModelsOfCard } from './model-card.js'

it.each([
  ['one name', 'license: mit\nbase_model: ripple-8m\n', ['ripple-8m']],
  ['quotes and a comment', 'base_model: "meta/llama-2" # the 7B\n', ['meta/llama-2']],
  ['a list', 'base_model:\n  - a/b\n- "c/d"\nlanguage: en\n', ['a/b', 'c/d']],
  ['a list on one line', "base_model: [a/b, 'c/d']\n", ['a/b', 'c/d']],
  ['none', 'license: mit\n', []],
  ['an empty one', 'base_model:\nlanguage: en\n', []],
  ['another key', 'base_model_relation: finetune\n', []],
  ['what is no name', 'base_model: <script>\n', []],
])('reads %s', (_, block, names) => {
  expect(baseModelsOfCard(`---\n${block}---\n# A model\nbase_model: other\n`)).toEqual(names)
  expect(baseModelsOfCard(`---\n${block}---\n`.replaceAll('\n', '\r\n'))).toEqual(names)
})

it('reads nothing outside the block', () => {
  expect(baseModelsOfCard('# A model\nbase_model: ripple-8m\n')).toEqual([])
  expect(baseModelsOfCard('---\nbase_model: ripple-8m\n')).toEqual([])
  expect(baseModelsOfCard('')).toEqual([])
})

it('any card gives a list of names', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      for (const card of [text, `---\nbase_model:${text}\n---\n`, `---\nbase_model:\n- ${text}\n---\n`]) {
        for (const name of baseModelsOfCard(card)) expect(name).toMatch(/^[\w./-]+$/)
      }
    }),
  )
})
