import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { readGguf } from '../../src/checkpoint/gguf.js'
import { GgufMetadata } from '../../src/checkpoint/gguf-metadata.js'
import type { GgufValue } from '../../src/checkpoint/gguf-value.js'
import { createGgufWriter } from '../../src/checkpoint/gguf-write.js'
import { convertModel } from '../../src/convert/package.js'

/** A model with one field changed: it may run, or be refused by an error of Shoal's own. */
export interface ChangedField {
  readonly name: string
  readonly args: readonly string[]
}

const FIXTURES = 'test/fixtures/checkpoints'
const FAMILIES = ['llama31-rope', 'opt', 'bloom', 'qwen3_moe', 'gpt_oss']

/** As JSON text, since Python's numbers are no JSON. */
const JSON_VALUES = [
  '0',
  '-1',
  '0.5',
  '3',
  '2147483647',
  '1e300',
  'NaN',
  'Infinity',
  'null',
  'true',
  '"x"',
  '[]',
  '{"a": 1}',
]

/** Every `step`th of all fields of config.json with values that they should not have. */
export function changedConfigs(folder: string, step: number): Promise<ChangedField[]> {
  const all = FAMILIES.flatMap((family) => {
    const source = join(FIXTURES, family)
    const config = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8')) as Record<string, unknown>
    return Object.keys(config).flatMap((field) =>
      JSON_VALUES.map((value) => ({ family, source, config, field, value })),
    )
  })
  const cases = every(step, all).map(({ family, source, config, field, value }, i) => {
    const copy = join(folder, `config-${i}`)
    mkdirSync(copy)
    symlinkSync(resolve(source, 'model.safetensors'), join(copy, 'model.safetensors'))
    const text = JSON.stringify({ ...config, [field]: '@' }).replace('"@"', value)
    writeFileSync(join(copy, 'config.json'), text)
    return { name: `${family}: ${field} = ${value}`, args: run(copy) }
  })
  return Promise.resolve(cases)
}

function every<T>(step: number, list: readonly T[]): T[] {
  return list.filter((_, i) => i % step === 0)
}

const NUMBERS = [0, 1, 3, 2 ** 31, 2 ** 32 - 1]

/** Likewise of the numbers of a GGUF file's metadata. */
export async function changedMetadata(folder: string, step: number): Promise<ChangedField[]> {
  const cases: ChangedField[] = []
  for (const family of FAMILIES) {
    const original = join(folder, `${family}.gguf`)
    await convertModel(join(FIXTURES, family), original)
    const { metadata, tensors } = await readGguf(original)
    const bytes = readFileSync(original)
    const all = [...metadata.values].flatMap(([key, value]) => changesOf(value).map((changed) => ({ key, changed })))
    for (const { key, changed } of every(step, all)) {
      const path = join(folder, `metadata-${cases.length}.gguf`)
      const entries = [...metadata.values].map(([k, v]) => [k, k === key ? changed : v] as const)
      const writer = await createGgufWriter(path, new GgufMetadata('', entries), [...tensors.values()])
      for (const tensor of tensors.values()) {
        await writer.append(tensor.name, bytes.subarray(tensor.offset, tensor.offset + tensor.bytes))
      }
      await writer.finish()
      cases.push({ name: `${family}: ${key} = ${changed.type} ${String(changed.value)}`, args: run(path) })
    }
  }
  return cases
}

function changesOf(value: GgufValue): GgufValue[] {
  if (value.type === 'uint32' && value.value !== 32) {
    const numbers = NUMBERS.map((n): GgufValue => ({ type: 'uint32', value: n }))
    return [...numbers, { type: 'array', of: 'uint32', value: [value.value] }, { type: 'string', value: '1' }]
  }
  if (value.type === 'float32') {
    return [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e-45].map((n) => ({ type: 'float32', value: n }))
  }
  return []
}

function run(model: string): string[] {
  return ['run', model, '--tokens', '1,2,3', '--max-tokens', '2', '--threads', '1']
}
