import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { checkRevision, isRevision, isSafePath, parseHubId } from './hub-id.js'

const repo = 'org/name'

describe('a name of the Hub', () => {
  it.each([
    ['org/name', { repo }],
    ['org/name:Q4_K_M', { repo, tag: 'Q4_K_M' }],
    ['org/name/file.gguf', { repo, file: 'file.gguf' }],
    ['org/name/Q8_0/file-00001-of-00002.GGUF', { repo, file: 'Q8_0/file-00001-of-00002.GGUF' }],
    ['HuggingFaceTB/SmolLM2-135M-Instruct', { repo: 'HuggingFaceTB/SmolLM2-135M-Instruct' }],
    ['hf:org/name', { repo }],
    ['hf:gpt2', { repo: 'gpt2' }],
    ['hf://org/name:q8_0', { repo, tag: 'q8_0' }],
    ['hf://models/org/name', { repo }],
    ['hf://org/name@refs/pr/3', { repo, revision: 'refs/pr/3' }],
    ['hf://org/name@v1.0/a/file.gguf', { repo, revision: 'v1.0', file: 'a/file.gguf' }],
    ['hf:org/name@feature%2Fx:Q4_0', { repo, revision: 'feature/x', tag: 'Q4_0' }],
    ['https://huggingface.co/org/name', { repo }],
    ['https://hf.co/org/name/', { repo }],
    ['https://huggingface.co/org/name/tree/main', { repo, revision: 'main' }],
    ['https://huggingface.co/org/name/tree/refs%2Fpr%2F1', { repo, revision: 'refs/pr/1' }],
    ['https://huggingface.co/org/name/blob/main/a%20b.gguf', { repo, revision: 'main', file: 'a b.gguf' }],
    ['https://huggingface.co/org/name/resolve/v1/x.gguf?download=true', { repo, revision: 'v1', file: 'x.gguf' }],
  ])('%s', (text, id) => {
    expect(parseHubId(text)).toEqual(id)
  })

  it.each([
    'name',
    './org/name',
    '../name',
    '/org/name',
    '~/name',
    'org/name/',
    'org/name/config.json',
    'folder/file.gguf',
    'folder/config.json',
    'org/na--me',
    'org/..',
    'org/name.git',
    'org/name:',
    'org/name:a:b',
    'org/name/../x.gguf',
    'C:/models/x',
    'C:\\models\\x',
    'What does a/b mean?',
    'a b/c',
    `${'x'.repeat(97)}/name`,
  ])('is not %s', (text) => {
    expect(parseHubId(text)).toBeNull()
  })

  it.each([
    'hf:',
    'hf:../x',
    'hf://org/name@',
    'hf:org/name@a..b',
    'https://example.com/org/name',
    'https://huggingface.co/org',
    'https://huggingface.co/org/name/discussions/1',
    'https://huggingface.co/org/name/blob/main/config.json',
    'https://huggingface.co/org/name/blob/main/%2e%2e/x.gguf',
    'https://huggingface.co/org/name/blob/%zz/x.gguf',
  ])('begins like one and is none: %s', (text) => {
    expect(() => parseHubId(text)).toThrow(InputError)
  })
})

it.each(['main', 'v1.0', 'refs/pr/12', 'feature/a+b', 'a'.repeat(40)])('%s is a revision', (text) => {
  expect(checkRevision(text)).toBe(text)
})

it.each(['', '..', 'a/../b', '/main', 'main/', '.hidden', 'a\0', 'a b', 'a\\b', 'x'.repeat(201)])(
  '%j is no revision',
  (text) => {
    expect(isRevision(text)).toBe(false)
    expect(() => checkRevision(text)).toThrow(InputError)
  },
)

it('a path stays below its folder on every system', () => {
  expect(isSafePath('a/b-c.d/e f.gguf')).toBe(true)
  for (const path of [
    '../x',
    '/x',
    'a//b',
    'a/./b',
    'a\\b',
    'c:x',
    'a\nb',
    '',
    'x'.repeat(256),
    '.. /x',
    'a./x',
    '.../x',
  ]) {
    expect(isSafePath(path), path).toBe(false)
  }
})
