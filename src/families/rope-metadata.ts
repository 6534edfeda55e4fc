import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import type { Facts } from './facts.js'
import { DEFAULT_BASE, NONE, type RopeScaling, type Ropes, type RopeTable, YARN, yarnMagnitude } from './rope.js'

/** Keys that act on every kind of scaling, and their values that change nothing. */
const NEUTRAL = [
  // OLMo 3's files say under this name what YaRN gives anyway.
  ['yarn_attn_factor', (value: number, usual: number) => value === 1 || Math.abs(value - usual) < 1e-4],
  // Below 0: as the type has it.
  ['yarn_ext_factor', (value: number) => value <= 0],
] as const

/**
 * Rotary positions as llama.cpp reads them: without a type a factor scales linearly, and `rope.scale_linear` is the older
 * name of `rope.scaling.factor`, read where that is missing; 0 is no factor. The type `none` lets no factor act, and factors
 * for each frequency act beside the common one.
 */
export function ropesFromMetadata(
  metadata: GgufMetadata,
  architecture: string,
  table: RopeTable,
  facts: Facts,
  tensors: ReadonlySet<string>,
): Ropes {
  const key = (name: string): string => `${architecture}.rope.${name}`
  const number = (name: string, fallback: number): number => {
    if (!metadata.has(key(name))) return fallback
    const value = metadata.number(key(name))
    if (!(value > 0)) throw new FileError(metadata.path, `metadata key ${key(name)} must be above 0`)
    return value
  }
  const dimensions = number('dimension_count', facts.headDim)
  if (dimensions % 2 !== 0 || dimensions > facts.headDim) {
    throw new FileError(metadata.path, `heads of ${facts.headDim} with ${dimensions} rotated dimensions do not fit`)
  }
  const base = number('freq_base', DEFAULT_BASE)
  const scaling = scalingFromMetadata(metadata, { key, number, table, facts, tensors })
  const usual = scaling.type === 'yarn' ? yarnMagnitude(scaling.factor) : 1
  for (const [name, isNeutral] of NEUTRAL) {
    const full = key(`scaling.${name}`)
    if (metadata.has(full) && !isNeutral(metadata.number(full), usual)) {
      throw new UnsupportedError(`${metadata.path}: ${full} = ${metadata.number(full)} is not supported`)
    }
  }
  const full = { base, dimensions, scaling }
  const localBase = number('freq_base_swa', table.localBase ?? base)
  return { full, local: { ...full, base: localBase, ...(table.localUnscaled === true && { scaling: NONE }) } }
}

function scalingFromMetadata(
  metadata: GgufMetadata,
  {
    key,
    number,
    table,
    facts,
    tensors,
  }: {
    key: (name: string) => string
    number: (name: string, fallback: number) => number
    table: RopeTable
    facts: Facts
    tensors: ReadonlySet<string>
  },
): RopeScaling {
  const type = metadata.has(key('scaling.type')) ? metadata.string(key('scaling.type')) : 'linear'
  const source = ['scaling.factor', 'scale_linear'].find((name) => metadata.has(key(name)))
  const factor = source === undefined || metadata.number(key(source)) === 0 ? 1 : number(source, 1)
  const scaled = (common: number): RopeScaling => {
    if (tensors.has('rope_freqs.weight')) return { type: 'factors', factor: common, factors: null }
    return common === 1 ? NONE : { type: 'linear', factor: common }
  }
  const original = () => number('scaling.original_context_length', facts.context)
  const attention = number('scaling.attn_factor', 1)
  // phi3 files of longrope name no type.
  if (tensors.has('rope_factors_long.weight') && tensors.has('rope_factors_short.weight')) {
    return { type: 'longrope', original: original(), magnitude: attention, long: null, short: null }
  }
  if (type === 'yarn') {
    const log = metadata.has(key('scaling.yarn_log_multiplier'))
      ? metadata.number(key('scaling.yarn_log_multiplier'))
      : 0
    const truncate = metadata.has('shoal.rope_truncate')
      ? metadata.boolean('shoal.rope_truncate')
      : (table.truncate ?? true)
    return {
      type: 'yarn',
      factor,
      original: original(),
      betaFast: number('scaling.yarn_beta_fast', YARN.betaFast),
      betaSlow: number('scaling.yarn_beta_slow', YARN.betaSlow),
      truncate,
      magnitude: attention * (yarnMagnitude(factor) / (log === 0 ? 1 : yarnMagnitude(factor, log))),
    }
  }
  if (attention !== 1) {
    throw new UnsupportedError(`${metadata.path}: ${key('scaling.attn_factor')} = ${attention} is not supported`)
  }
  if (type === 'none') return scaled(1)
  if (type !== 'linear') throw new UnsupportedError(`${metadata.path}: ${key('scaling.type')} ${type} is not supported`)
  return scaled(factor)
}

/** The metadata that says these rotary positions. */
export function ropesToMetadata(architecture: string, table: RopeTable, { full, local }: Ropes): [string, GgufValue][] {
  const entries: [string, GgufValue][] = []
  const add = (name: string, value: GgufValue) => entries.push([`${architecture}.rope.${name}`, value])
  const float = (value: number): GgufValue => ({ type: 'float32', value })
  const count = (value: number): GgufValue => ({ type: 'uint32', value })
  add('dimension_count', count(full.dimensions))
  add('freq_base', float(full.base))
  if (local.base !== full.base) add('freq_base_swa', float(local.base))
  const { scaling } = full
  if (scaling.type === 'linear' || scaling.type === 'yarn' || scaling.type === 'longrope') {
    add('scaling.type', { type: 'string', value: scaling.type })
  }
  if (scaling.type === 'linear' || scaling.type === 'yarn') add('scaling.factor', float(scaling.factor))
  if (scaling.type === 'yarn' || scaling.type === 'longrope') {
    add('scaling.original_context_length', count(scaling.original))
  }
  if (scaling.type === 'longrope') add('scaling.attn_factor', float(scaling.magnitude))
  if (scaling.type === 'yarn') {
    const attention = scaling.magnitude / yarnMagnitude(scaling.factor)
    // Both multiply by what YaRN gives for the factor; what is left is said beside it.
    if (Math.abs(attention - 1) > 1e-9) add('scaling.attn_factor', float(attention))
    add('scaling.yarn_beta_fast', float(scaling.betaFast))
    add('scaling.yarn_beta_slow', float(scaling.betaSlow))
    if (scaling.truncate !== (table.truncate ?? true)) {
      entries.push(['shoal.rope_truncate', { type: 'bool', value: scaling.truncate }])
    }
  }
  return entries
}
