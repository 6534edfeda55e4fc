import { expect, it } from 'vitest'
import { folderName } from './snapshot-name.js'

it.each([
  [`/cache/models--org--name/snapshots/${'a'.repeat(40)}`, 'org/name'],
  [`/cache/models--org--na-me.x/snapshots/${'a'.repeat(40)}/`, 'org/na-me.x'],
  [`/cache/models--gpt2/snapshots/${'0'.repeat(40)}`, 'gpt2'],
  [`/cache/models--org--name/snapshots/main`, 'main'],
  [`/cache/datasets--org--name/snapshots/${'a'.repeat(40)}`, 'a'.repeat(40)],
  ['/models/checkpoint/', 'checkpoint'],
])('%s is called %s', (folder, name) => {
  expect(folderName(folder)).toBe(name)
})
