import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { Facts } from './facts.js'
import {
  DEFAULT_BASE,
  NONE,
  type Rope,
  type RopeScaling,
  type Ropes,
  type RopeTable,
  YARN,
  yarnMagnitude,
} from './rope.js'

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
  if (dimensions < 2 || dimensions % 2 !== 0)
    throw config.unsupported(config.has('head_dim') ? 'head_dim' : 'num_attention_heads')
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
