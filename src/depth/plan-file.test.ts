import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Ajv } from 'ajv'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError, SpecError } from '../errors.js'
import { loadPlanFile, type PlanFile, parsePlanFile } from './plan-file.js'
import { loadPolicyFile } from './policy-file.js'
import { parseDepth } from './spec.js'

const EXAMPLE = 'examples/policies/shortgpt.policy.json'
const SVM = 'examples/policies/svm.policy.json'
const ajv = new Ajv({ allErrors: true, allowUnionTypes: true })
const fits = ajv.compile(JSON.parse(readFileSync('docs/json/policy-plan.schema.json', 'utf8')) as object)
const example = (): PlanFile => loadPlanFile(EXAMPLE)

describe('a plan file', () => {
  it('is read as it stands and fits the published schema', () => {
    const document = JSON.parse(readFileSync(EXAMPLE, 'utf8')) as unknown
    expect(example()).toEqual(document)
    expect(fits(document), JSON.stringify(fits.errors)).toBe(true)
  })

  it.each([
    ['no JSON', '{', /p\.json: the policy is not valid JSON/],
    ['another format', '{"format": "other"}', /is not a policy file/],
    ['another version', '{"format": "shoal-policy", "version": 2}', /field version must be 1/],
    ['another kind', readFileSync(SVM, 'utf8'), /kind "adainfer-svm", and plan: takes one of kind "plan"/],
    ['no kind', '{"format": "shoal-policy", "version": 1}', /kind null, and plan: takes/],
  ])('is refused where it has %s', (_, text, reason) => {
    expect(() => parsePlanFile('p.json', text)).toThrow(FileError)
    expect(() => parsePlanFile('p.json', text)).toThrow(reason)
  })

  it.each([
    [{ layers: [] }, /p\.json: field layers must be a list of at least 1/],
    [{ layers: [0, 16] }, /p\.json: field layers: layer 16 does not exist; the model has 16 layers/],
    [{ layers: [0, 5, 3] }, /field layers: layer 3 stands after 5/],
    [{ layers: [0, 0] }, /field layers: layer 0 is listed twice/],
    [{ layers: [0, 1.5] }, /field layers\[1\] must be a whole number of at least 0/],
    [{ layers: [-1] }, /field layers\[0\] must be a whole number/],
    [{ layers: '0,1' }, /field layers must be a list/],
    [{ method: '' }, /field method must be a text/],
    [{ method: undefined }, /field method is missing/],
    [{ created: 'today' }, /field created must be a date/],
    [{ model: { name: null, fingerprint: null, layers: 1 } }, /field model\.layers must be a whole number/],
    [{ colour: 'red' }, /unknown field colour; known: format, version/],
  ])('is refused with %j', (change, reason) => {
    const text = JSON.stringify({ ...example(), ...change })
    expect(() => parsePlanFile('p.json', text)).toThrow(FileError)
    expect(() => parsePlanFile('p.json', text)).toThrow(reason)
  })

  it('is no file of a classifier', () => {
    expect(() => loadPolicyFile(EXAMPLE)).toThrow(/is a plan, which has no classifier: --depth plan:FILE runs it/)
  })
})

describe('plan:FILE', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-plan-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('runs the layers of the file', () => {
    const policy = parseDepth(`plan:${EXAMPLE}`, { layers: 16 })
    if (policy.kind !== 'skip') throw new Error('not a skip policy')
    expect(policy.plan({ position: 3, generated: 1, layers: 16 }, undefined)).toEqual(example().layers)
    expect(policy).toMatchObject({ spec: `plan:${EXAMPLE}`, prompt: 'full', notes: [] })
    expect(policy.source).toMatch(/^[0-9a-f]{64}$/)
    expect(parseDepth(`plan:${EXAMPLE},prompt=plan`, { layers: 16 })).toMatchObject({ prompt: 'plan' })
  })

  it('refuses another number of layers and a missing file', () => {
    expect(() => parseDepth(`plan:${EXAMPLE}`, { layers: 12 })).toThrow(SpecError)
    expect(() => parseDepth(`plan:${EXAMPLE}`, { layers: 12 })).toThrow(
      /made for a model of 16 layers and this one has 12/,
    )
    expect(() => parseDepth('plan:no-such.json', { layers: 12 })).toThrow(/no-such\.json: no such file/)
    expect(() => parseDepth(`plan:${folder}`, { layers: 12 })).toThrow(/is a folder, not a file/)
  })

  it('says where it was made for another model, or for one that it does not name', () => {
    const notes = (path: string, fingerprint?: string) =>
      parseDepth(`plan:${path}`, { layers: 16, ...(fingerprint === undefined ? {} : { fingerprint }) }).notes
    expect(notes(EXAMPLE, example().model.fingerprint!)).toEqual([])
    expect(notes(EXAMPLE, 'abc')?.[0]).toMatch(/made for another model \(ripple-8m, 5726cdf6f74d\)/)
    const path = join(folder, 'unknown.json')
    writeFileSync(path, JSON.stringify({ ...example(), model: { name: null, fingerprint: null, layers: 16 } }))
    expect(notes(path, 'abc')?.[0]).toContain('does not say for which model it was made')
  })
})
