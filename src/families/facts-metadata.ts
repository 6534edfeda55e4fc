import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import { type Fact, type FactName, type Facts, type FactUses, type FactValue, usesOf, valueOfDefault } from './facts.js'

/**
 * The facts in a GGUF file.
 * @throws FileError or UnsupportedError that name the key
 */
export function factsOfMetadata(
  metadata: GgufMetadata,
  architecture: string,
  uses: FactUses,
  tensors: ReadonlySet<string>,
): Facts {
  const facts: Partial<Record<FactName, FactValue>> = {}
  for (const [name, fact] of usesOf(uses)) {
    const read = metadataValue(metadata, architecture, fact, facts, tensors)
    const value = read ?? valueOfDefault(fact.ggufDefault, facts)
    if (value !== undefined) facts[name] = value
    else if (fact.required === true || (fact.always === true && fact.kind !== 'flag')) {
      throw new FileError(metadata.path, `metadata key ${keyOf(architecture, fact)} is missing`)
    }
  }
  return facts as unknown as Facts
}

function metadataValue(
  metadata: GgufMetadata,
  architecture: string,
  fact: Fact,
  facts: Partial<Record<FactName, FactValue>>,
  tensors: ReadonlySet<string>,
): FactValue | undefined {
  if (fact.tensor !== undefined) {
    const absent = fact.tensor.startsWith('!')
    const names = (absent ? fact.tensor.slice(1) : fact.tensor).split('|')
    return names.some((name) => tensors.has(name) || tensors.has(`blk.0.${name}`)) !== absent
  }
  if (fact.key === undefined) return undefined
  const key = keyOf(architecture, fact)
  if (!metadata.has(key)) {
    return fact.key === 'vocab_size' ? metadata.length('tokenizer.ggml.tokens') : undefined
  }
  if (fact.kind === 'flag') return metadata.boolean(key)
  if (fact.kind === 'numbers') return metadata.numbers(key, facts.layers as number)
  if (fact.kind === 'number') {
    const value = metadata.number(key, fact.min)
    // Files write 0 for what a model does not have.
    return value === 0 && fact.always !== true ? undefined : value
  }
  if (fact.perLayer === undefined || !metadata.isList(key)) return countOf(metadata, key, fact)
  const list = metadata.counts(key, facts.layers as number)
  if (list.some((count) => count < 1)) {
    throw new UnsupportedError(`${metadata.path}: ${key} is 0 for some layers, which no family here computes`)
  }
  if (list.some((count) => count > (fact.max ?? count))) {
    throw new FileError(metadata.path, `metadata key ${key} must have numbers from 1 to ${fact.max}`)
  }
  if (list.some((count) => count !== list[0])) facts[fact.perLayer] = list
  return list[0]
}

function countOf(metadata: GgufMetadata, key: string, { max, mayBeNone }: Fact): number | undefined {
  const value = metadata.count(key)
  if (value === 0 && mayBeNone === true) return undefined
  if (max !== undefined && (value < 1 || value > max)) {
    throw new FileError(metadata.path, `metadata key ${key} must be from 1 to ${max}`)
  }
  if (value < 1) throw new FileError(metadata.path, `metadata key ${key} must be at least 1`)
  return value
}

/** Keys are the architecture's but for a few that llama.cpp reads under one name for all. */
function keyOf(architecture: string, { key, shared }: Fact): string {
  return shared === true ? `${key}` : `${architecture}.${key}`
}

/** The keys that are read, as they stand in a file. */
export function factKeys(architecture: string, uses: FactUses): string[] {
  return usesOf(uses).flatMap(([, fact]) => (fact.key === undefined ? [] : [keyOf(architecture, fact)]))
}

/** The metadata that says these facts. */
export function factsToMetadata(architecture: string, uses: FactUses, facts: Facts): [string, GgufValue][] {
  const entries: [string, GgufValue][] = []
  for (const [name, fact] of usesOf(uses)) {
    const { key, kind, perLayer } = fact
    const value = perLayer === undefined ? facts[name] : (facts[perLayer] ?? facts[name])
    if (key === undefined || value === undefined) continue
    entries.push([keyOf(architecture, fact), metadataOf(kind, value)])
    if (name === 'headDim') entries.push([`${architecture}.attention.value_length`, metadataOf(kind, value)])
  }
  return entries
}

function metadataOf(kind: Fact['kind'], value: FactValue): GgufValue {
  if (typeof value === 'boolean') return { type: 'bool', value }
  const type = kind === 'count' ? 'uint32' : 'float32'
  return typeof value === 'number' ? { type, value } : { type: 'array', of: type, value }
}
