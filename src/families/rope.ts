import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { GgufMetadata, GgufValue } from '../checkpoint/gguf-metadata.js'
import { FileError, UnsupportedError } from '../errors.js'
import type { Facts } from './facts.js'

/** How positions beyond the trained context are handled. */
export type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  /**
   * Frequencies are divided by factors of their own, which the package holds as `rope_freqs.weight` (Llama 3.1), and all of
   * them by `factor`, which is 1 but for files that say otherwise.
   */
  | { readonly type: 'factors'; readonly factor: number; readonly factors: Float32Array | null }
  /** Source: Peng et al. 2023 (YaRN), section 3; the rounding of the ramp's ends is transformers'. */
  | {
      readonly type: 'yarn'
      readonly factor: number
      /** The context that the model was trained with, in tokens. */
      readonly original: number
      readonly betaFast: number
      readonly betaSlow: number
      /** True where the ends of the ramp are rounded to whole dimensions. */
      readonly truncate: boolean
      readonly magnitude: number
    }
  /** Source: Ding et al. 2024 (LongRoPE): one list of factors within the original context, one beyond it. */
  | {
      readonly type: 'longrope'
      readonly original: number
      readonly magnitude: number
      readonly long: Float32Array | null
      readonly short: Float32Array | null
    }

/** Rotary positions of a kind of layers. */
export interface Rope {
  readonly base: number
  /** Dimensions of a head that are rotated. */
  readonly dimensions: number
  readonly scaling: RopeScaling
}

/** What a family's table says of rotary positions. */
export interface RopeTable {
  /** `interleaved` rotates pairs (2i, 2i + 1), `halves` pairs (i, i + dimensions / 2). llama.cpp's choice. */
  readonly pairs: 'halves' | 'interleaved'
  /** True where a checkpoint has halves, and its rows of q and k are put in the order of pairs. */
  readonly permuted?: boolean
  /** Default 10,000. */
  readonly base?: number
  /** Share of a head that is rotated, where config.json does not say it; absent where it is always all of it. */
  readonly partial?: number
  /** Base of layers with a window where config.json does not say it; that of the others where absent. */
  readonly localBase?: number
  /** True where layers with a window are not scaled. */
  readonly localUnscaled?: boolean
  /** False where the ends of a YaRN ramp are not rounded unless the file says so. */
  readonly truncate?: boolean
  /** True where `dynamic` with `alpha` raises the base once for all (Hunyuan). */
  readonly alpha?: boolean
}

export interface Ropes {
  readonly full: Rope
  readonly local: Rope
}

const DEFAULT_BASE = 10_000
const NONE: RopeScaling = { type: 'none' }
const YARN = { betaFast: 32, betaSlow: 1 }

/**
 * Rotary positions as transformers 5 reads a config.json: newer ones have `rope_parameters`, perhaps one set for each kind of
 * layer, older ones `rope_theta` and `rope_scaling`. Where both are there, a `rope_scaling` that is not empty takes the
 * place of all of `rope_parameters`, its rope_theta too; the base is then the outer `rope_theta`, or the default.
 */
export function ropesFromConfig(config: ConfigReader, table: RopeTable, facts: Facts): Ropes {
  const legacy = config.object('rope_scaling')
  const given = legacy !== null && Object.keys(legacy.fields).length > 0 ? legacy : config.object('rope_parameters')
  const [forFull, forLocal] = ['full_attention', 'sliding_attention'].map((kind) => given?.object(kind) ?? null)
  const nested = forFull !== null || forLocal !== null
  const other = nested ? undefined : Object.keys(given?.fields ?? {}).find((f) => isObject(given?.fields[f]))
  if (other !== undefined) throw (given as ConfigReader).unsupported(other)
  const full = ropeFromConfig(config, nested ? (forFull ?? null) : given, table, facts)
  if (nested) return { full, local: ropeFromConfig(config, forLocal ?? null, table, facts) }
  const base = config.has('rope_local_base_freq')
    ? positive(config, 'rope_local_base_freq')
    : (table.localBase ?? full.base)
  return { full, local: { ...full, base, ...(table.localUnscaled === true && { scaling: NONE }) } }
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function ropeFromConfig(config: ConfigReader, rope: ConfigReader | null, table: RopeTable, facts: Facts): Rope {
  const thetaFields = ['rope_theta', 'rotary_emb_base']
  const holder = rope?.has('rope_theta') ? rope : config
  const theta = thetaFields.find((field) => holder.has(field))
  const base = theta === undefined ? (table.base ?? DEFAULT_BASE) : positive(holder, theta)
  const dimensions = rotatedDimensions(config, rope, table, facts)
  if (rope === null) return { base, dimensions, scaling: NONE }
  const typeField = rope.has('rope_type') ? 'rope_type' : 'type'
  const type = rope.string(typeField, { default: 'default' })
  if (type === 'dynamic' && table.alpha === true && rope.has('alpha')) {
    const alpha = positive(rope, 'alpha')
    return { base: base * alpha ** (dimensions / (dimensions - 2)), dimensions, scaling: NONE }
  }
  return {
    base,
    dimensions,
    scaling: scalingFromConfig(config, rope, type, typeField, { base, dimensions, table, facts }),
  }
}

function scalingFromConfig(
  config: ConfigReader,
  rope: ConfigReader,
  type: string,
  typeField: string,
  { base, dimensions, table, facts }: { base: number; dimensions: number; table: RopeTable; facts: Facts },
): RopeScaling {
  const original = () => {
    const holder = rope.has('original_max_position_embeddings') ? rope : config
    return holder.count('original_max_position_embeddings', { default: facts.context })
  }
  switch (type) {
    case 'default':
      return NONE
    case 'linear':
      return { type: 'linear', factor: positive(rope, 'factor') }
    case 'llama3':
      return { type: 'factors', factor: 1, factors: llama3Factors(rope, base, dimensions, original()) }
    case 'yarn':
      return yarnFromConfig(rope, table, original(), facts.context)
    case 'longrope':
    case 'su':
      return longropeFromConfig(rope, dimensions, original(), facts.context)
    default:
      throw rope.unsupported(typeField)
  }
}

/** Share of a head that is rotated, in whole dimensions as transformers rounds them. */
function rotatedDimensions(
  config: ConfigReader,
  rope: ConfigReader | null,
  { partial }: RopeTable,
  { headDim }: Facts,
): number {
  const holders = rope === null ? [config] : [rope, config]
  const fields = ['partial_rotary_factor', 'rotary_pct', 'rope_pct']
  for (const holder of holders) {
    for (const field of fields) {
      if (!holder.has(field)) continue
      const share = positive(holder, field)
      if (partial === undefined && share !== 1) throw holder.unsupported(field)
      const dimensions = Math.trunc(headDim * share)
      if (dimensions < 2 || dimensions > headDim || dimensions % 2 !== 0) throw holder.unsupported(field)
      return dimensions
    }
  }
  const dimensions = Math.trunc(headDim * (partial ?? 1))
  if (dimensions % 2 !== 0) throw config.unsupported(config.has('head_dim') ? 'head_dim' : 'num_attention_heads')
  return dimensions
}

/**
 * Divisors of the rotary frequencies of Llama 3.1: wavelengths above original context / low_freq_factor are stretched
 * by `factor`, those below original context / high_freq_factor are kept, and the ones between are blended.
 */
function llama3Factors(rope: ConfigReader, base: number, dimensions: number, original: number): Float32Array {
  const factor = positive(rope, 'factor')
  const low = positive(rope, 'low_freq_factor')
  const high = positive(rope, 'high_freq_factor')
  if (high <= low) throw rope.unsupported('high_freq_factor')
  return Float32Array.from({ length: dimensions / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * base ** ((2 * i) / dimensions)
    if (wavelength < original / high) return 1
    if (wavelength > original / low) return factor
    const smooth = (original / wavelength - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

function yarnFromConfig(rope: ConfigReader, table: RopeTable, original: number, context: number): RopeScaling {
  const factor = rope.has('factor') ? positive(rope, 'factor') : context / original
  // 0 counts as not given, as in transformers.
  const given = (field: string): number | null => (rope.has(field) ? rope.number(field, { min: 0 }) || null : null)
  const [mscale, mscaleAll] = [given('mscale'), given('mscale_all_dim')]
  const magnitude = rope.has('attention_factor')
    ? positive(rope, 'attention_factor')
    : mscale !== null && mscaleAll !== null
      ? yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscaleAll)
      : yarnMagnitude(factor)
  return {
    type: 'yarn',
    factor,
    original,
    betaFast: given('beta_fast') ?? YARN.betaFast,
    betaSlow: given('beta_slow') ?? YARN.betaSlow,
    truncate: rope.boolean('truncate', { default: table.truncate ?? true }),
    magnitude,
  }
}

/** What cosines and sines are multiplied by. */
function yarnMagnitude(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
}

function longropeFromConfig(rope: ConfigReader, dimensions: number, original: number, context: number): RopeScaling {
  const list = (field: string): Float32Array => {
    const values = rope.numbers(field)
    if (values.length !== dimensions / 2 || values.some((value) => !(value > 0))) throw rope.unsupported(field)
    return Float32Array.from(values)
  }
  const factor = rope.has('factor') ? positive(rope, 'factor') : context / original
  const usual = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))
  const magnitude = rope.has('attention_factor') ? positive(rope, 'attention_factor') : usual
  return { type: 'longrope', original, magnitude, long: list('long_factor'), short: list('short_factor') }
}

function positive(config: ConfigReader, field: string): number {
  const value = config.number(field)
  if (!(value > 0)) throw config.unsupported(field)
  return value
}

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

/** Tensors of rotary factors that a package has for these positions; null values where the package holds them itself. */
export function ropeTensors({ full: { scaling, dimensions } }: Ropes): {
  name: string
  length: number
  values: Float32Array | null
}[] {
  const length = dimensions / 2
  if (scaling.type === 'factors') return [{ name: 'rope_freqs.weight', length, values: scaling.factors }]
  if (scaling.type !== 'longrope') return []
  return [
    { name: 'rope_factors_long.weight', length, values: scaling.long },
    { name: 'rope_factors_short.weight', length, values: scaling.short },
  ]
}

/** What each rotary frequency is divided by, [dimensions / 2]; null where nothing is. */
export function frequencyFactors({ base, dimensions, scaling }: Rope, context: number): Float32Array | null {
  const half = dimensions / 2
  switch (scaling.type) {
    case 'none':
      return null
    case 'linear':
      return new Float32Array(half).fill(scaling.factor)
    case 'factors':
      return (scaling.factors as Float32Array).map((value) => value * scaling.factor)
    case 'longrope':
      return context > scaling.original ? scaling.long : scaling.short
    case 'yarn': {
      const [low, high] = yarnRamp(scaling, base, dimensions)
      return Float32Array.from({ length: half }, (_, i) => {
        const ramp = Math.min(1, Math.max(0, (i - low) / (high - low)))
        return 1 / (ramp / scaling.factor + (1 - ramp))
      })
    }
  }
}

/** Between which dimensions frequencies pass from kept to stretched. */
function yarnRamp(
  { original, betaFast, betaSlow, truncate }: Extract<RopeScaling, { type: 'yarn' }>,
  base: number,
  dimensions: number,
): [number, number] {
  const dimensionOf = (rotations: number): number =>
    (dimensions * Math.log(original / (rotations * 2 * Math.PI))) / (2 * Math.log(base))
  const ends = [dimensionOf(betaFast), dimensionOf(betaSlow)] as const
  const low = Math.max(truncate ? Math.floor(ends[0]) : ends[0], 0)
  const high = Math.min(truncate ? Math.ceil(ends[1]) : ends[1], dimensions - 1)
  return [low, low === high ? high + 0.001 : high]
}

/** What cosines and sines are multiplied by. */
export function magnitudeOf({ scaling }: Rope): number {
  return scaling.type === 'yarn' || scaling.type === 'longrope' ? scaling.magnitude : 1
}
