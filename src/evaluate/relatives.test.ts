import { expect, it } from 'vitest'
import { type Kin, relativesNote } from './relatives.js'

const kin = (name: string, baseModels: readonly string[] = [], fingerprint = name.replaceAll('-', '')): Kin => ({
  name,
  fingerprint,
  baseModels,
})

it.each([
  [
    kin('ripple-8m'),
    kin('ripple-8m-flex', ['ripple-8m']),
    'ripple-8m and ripple-8m-flex are relatives: by its model card, ripple-8m-flex was made from ripple-8m.',
  ],
  [
    kin('chat', ['owner/Base']),
    kin('base'),
    'chat and base are relatives: by its model card, chat was made from base.',
  ],
  [
    kin('a', ['owner/base']),
    kin('b', ['other', 'base']),
    'a and b are relatives: by their model cards, both were made from owner/base.',
  ],
  [kin('a', [], 'x'), kin('a (2)', [], 'x'), 'a and a (2) have the same weights.'],
  [
    kin('a', [], 'x-1'),
    kin('b', [], 'x-2'),
    'a and b are the same model, quantised otherwise or with an adapter merged into one of them.',
  ],
  [kin('a', ['c']), kin('b', ['d']), null],
  [kin('a'), kin('b'), null],
])('says how models are related', (a, b, note) => {
  expect(relativesNote(a, b)).toBe(note)
})
