import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { FileError } from '../errors.js'
import { loadPolicyFile, parsePolicyFile } from './policy-file.js'

const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
const fits = ajv.compile(JSON.parse(read('docs/json/policy.schema.json')) as object)

type Json = { [key: string]: Json } & Json[]
const svm = (): Json => JSON.parse(read('examples/policies/svm.policy.json')) as Json
const crf = (): Json => JSON.parse(read('examples/policies/crf.policy.json')) as Json
const rbf = (): Json =>
  Object.assign(svm(), {
    parameters: { kernel: 'rbf', C: 1, gamma: 0.5 },
    classifiers: [
      {
        type: 'rbf',
        scaling: { mean: [0, 0], deviation: [1, 1] },
        gamma: 0.5,
        support_vectors: [
          [0, 1],
          [1, 0],
        ],
        coefficients: [1, -1],
        intercept: 0.1,
      },
    ],
  })
const POLICIES = { svm, crf, rbf }

const parse = (value: unknown): unknown => parsePolicyFile('p.json', JSON.stringify(value))

/** Every place in a document, as a path of keys. */
function places(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [path]
  return [path, ...Object.entries(value).flatMap(([key, child]) => places(child, [...path, key]))]
}

function changed(
  document: Json,
  path: readonly (string | number)[],
  change: (parent: Json, key: string) => void,
): Json {
  const copy = structuredClone(document)
  let parent = copy
  for (const key of path.slice(0, -1)) parent = parent[key as string] as Json
  change(parent, String(path.at(-1)))
  return copy
}

describe.each(Object.entries(POLICIES))('%s', (_, policy) => {
  it('is read as it stands and fits the published schema', () => {
    expect(parse(policy())).toEqual(policy())
    expect(fits(policy()), JSON.stringify(fits.errors)).toBe(true)
  })

  const paths = places(policy()).filter((path) => path.length > 0)

  it.each([
    [
      'left out',
      (parent: Json, key: string) => (Array.isArray(parent) ? parent.splice(Number(key), 1) : delete parent[key]),
    ],
    ['of another type', (parent: Json, key: string) => Object.assign(parent, { [key]: { wrong: [] } })],
    ['a text', (parent: Json, key: string) => Object.assign(parent, { [key]: ' ' })],
    ['null', (parent: Json, key: string) => Object.assign(parent, { [key]: null })],
    ['a list', (parent: Json, key: string) => Object.assign(parent, { [key]: [[]] })],
    ['negative', (parent: Json, key: string) => Object.assign(parent, { [key]: -1.5 })],
  ])('whatever the schema refuses of a value that is %s is refused in one line', (_name, change) => {
    for (const path of paths) {
      const document = changed(policy(), path, change)
      let error: unknown = null
      try {
        parse(document)
      } catch (e) {
        error = e
      }
      if (!fits(document)) expect(error, path.join('.')).not.toBeNull()
      if (error === null) continue
      expect(error).toBeInstanceOf(FileError)
      expect((error as Error).message).toMatch(/^p\.json: [^\n]+$/)
    }
  })

  it('refuses a field that it does not know, by its name', () => {
    for (const path of places(policy())) {
      const parent = path.reduce<unknown>((value, key) => (value as Json)[key as string], policy())
      if (typeof parent !== 'object' || parent === null || Array.isArray(parent)) continue
      const document = changed(policy(), [...path, 'colour'], (p, key) => Object.assign(p, { [key]: 1 }))
      expect(fits(document)).toBe(false)
      expect(() => parse(document)).toThrow(/unknown field .*colour; known: /)
    }
  })
})

describe('says what is wrong and where', () => {
  const edit = (path: string, value: unknown, policy = svm): (() => unknown) => {
    const keys = path.split('.')
    return () => parse(changed(policy(), keys, (parent, key) => Object.assign(parent, { [key]: value })))
  }

  it.each([
    ['format', 'other', /^p\.json: is not a policy file/],
    ['version', 2, /field version must be 1/],
    ['kind', 'adainfer-tree', /field kind must be "adainfer-svm" or/],
    ['created', 'yesterday', /field created must be a date/],
    ['created', '2026-99-31T12:00:00Z', /field created must be a date/],
    ['model.layers', 15, /field checked_layers\[14\] must be a whole number from 0 to 13/],
    ['features', ['gap', 'gap'], /field features must be a list without repetitions/],
    ['features', ['gap'], /field classifiers\[0\]\.scaling\.mean must be a list of 1/],
    ['checked_layers', [3, 2], /field checked_layers must be ascending/],
    ['per_layer', true, /field classifiers must be a list of 15/],
    ['parameters.C', 0, /field parameters\.C must be a number greater than 0/],
    ['class_weights', [1, 0], /field class_weights\[1\] must be a number greater than 0/],
    ['classifiers.0.type', 'crf', /field classifiers\[0\]\.type must be "linear" or "rbf"/],
    ['classifiers.0.scaling.deviation', [1, 0], /deviation\[1\] must be a number greater than 0/],
    ['threshold', 'high', /field threshold must be a number/],
    ['training.positive', 1.5, /field training\.positive must be a number from 0 to 1/],
  ])('%s = %j', (path, value, message) => {
    expect(edit(path, value)).toThrow(message)
  })

  it('names a lens as from its own folder', () => {
    const sha256 = 'a'.repeat(64)
    const withLens = (file: string, sha: string) =>
      JSON.stringify(Object.assign(svm(), { lens: { file, sha256: sha } }))
    const lensOf = (path: string, file: string) => parsePolicyFile(path, withLens(file, sha256)).lens
    expect(lensOf('made/p.json', '../a.lens.gguf')).toEqual({ file: 'a.lens.gguf', sha256 })
    expect(lensOf('made/p.json', '/there/a.lens.gguf')).toEqual({ file: '/there/a.lens.gguf', sha256 })
    expect(() => parsePolicyFile('p.json', withLens('a', 'b'))).toThrow(
      'field lens.sha256 must be 64 hexadecimal digits',
    )
    expect(fits(JSON.parse(withLens('a.lens.gguf', sha256))), JSON.stringify(fits.errors)).toBe(true)
  })

  it('names other damage', () => {
    expect(() => parsePolicyFile('p.json', '{"format": "shoal-policy", ')).toThrow(
      'p.json: the policy is not valid JSON',
    )
    expect(() => parsePolicyFile('p.json', '[]')).toThrow('p.json: is not a policy file')
    const infinite = read('examples/policies/svm.policy.json').replace(/"threshold": [^,]+/, '"threshold": 1e999')
    expect(() => parsePolicyFile('p.json', infinite)).toThrow('field threshold must be a number')
    expect(edit('features', ['gap', 'cos_mlp'], crf)).toThrow(/cos_mlp of layer 5 need a check before it/)
    expect(() => loadPolicyFile('pretrained/ripple-8m/model.safetensors')).toThrow('is not UTF-8 text')
    expect(() => loadPolicyFile('no-such.json')).toThrow('no-such.json: no such file')
    expect(() => loadPolicyFile(fileURLToPath(new URL('examples', root)))).toThrow('is a folder, not a file')
  })
})
