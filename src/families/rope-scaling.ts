import type { ConfigReader } from '../checkpoint/config-reader.js'
import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { FileError, UnsupportedError } from '../errors.js'

/** How positions beyond the trained context are handled. */
export type RopeScaling =
  | { readonly type: 'none' }
  | { readonly type: 'linear'; readonly factor: number }
  /**
   * Frequencies are divided by factors of their own, which the package holds as `rope_freqs.weight` (Llama 3.1), and all of
   * them by `factor`, which is 1 but for files that say otherwise.
   */
  | { readonly type: 'factors'; readonly factor: number; readonly factors: Float32Array | null }

/** Rotary positions of a model. */
export interface RopeSettings {
  readonly ropeBase: number
  readonly ropeScaling: RopeScaling
}

const DEFAULT_BASE = 10_000
const NONE: RopeScaling = { type: 'none' }

/**
 * Rotary positions as transformers 5 reads a config.json: newer ones have `rope_parameters`, older ones `rope_theta` and
 * `rope_scaling`. Where both are there, a `rope_scaling` that is not empty takes the place of all of `rope_parameters`, its
 * rope_theta too; the base is then the outer `rope_theta`, or 10,000.
 * @param context what `original_max_position_embeddings` is where it is missing
 */
export function ropeFromConfig(config: ConfigReader, headDim: number, context: number): RopeSettings {
  const scaling = config.object('rope_scaling')
  const rope = scaling !== null && Object.keys(scaling.fields).length > 0 ? scaling : config.object('rope_parameters')
  const ropeBase = positive(rope?.has('rope_theta') ? rope : config, 'rope_theta', DEFAULT_BASE)
  if (rope === null) return { ropeBase, ropeScaling: NONE }
  rope.only('partial_rotary_factor', [1])
  // Settings for kinds of layers, `{"full_attention": {…}}`.
  const nested = Object.keys(rope.fields).find((field) => typeof rope.fields[field] === 'object' && rope.has(field))
  if (nested !== undefined) throw rope.unsupported(nested)
  const typeField = rope.has('rope_type') ? 'rope_type' : 'type'
  switch (rope.string(typeField, { default: 'default' })) {
    case 'default':
      return { ropeBase, ropeScaling: NONE }
    case 'linear':
      return { ropeBase, ropeScaling: { type: 'linear', factor: positive(rope, 'factor') } }
    case 'llama3':
      return {
        ropeBase,
        ropeScaling: { type: 'factors', factor: 1, factors: llama3Factors(rope, ropeBase, headDim, context) },
      }
    default:
      throw rope.unsupported(typeField)
  }
}

/**
 * Divisors of the rotary frequencies of Llama 3.1: wavelengths above original context / low_freq_factor are stretched
 * by `factor`, those below original context / high_freq_factor are kept, and the ones between are blended.
 */
function llama3Factors(rope: ConfigReader, base: number, headDim: number, context: number): Float32Array {
  const factor = positive(rope, 'factor')
  const low = positive(rope, 'low_freq_factor')
  const high = positive(rope, 'high_freq_factor')
  const original = rope.count('original_max_position_embeddings', { default: context })
  if (high <= low) throw rope.unsupported('high_freq_factor')
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * base ** ((2 * i) / headDim)
    if (wavelength < original / high) return 1
    if (wavelength > original / low) return factor
    const smooth = (original / wavelength - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}

function positive(config: ConfigReader, field: string, fallback?: number): number {
  const value = config.number(field, fallback === undefined ? {} : { default: fallback })
  if (!(value > 0)) throw config.unsupported(field)
  return value
}

/** Keys that act on every kind of scaling, and their values that change nothing. */
const NEUTRAL = [
  ['attn_factor', (value: number) => value === 1],
  ['yarn_attn_factor', (value: number) => value === 1],
  // Below 0: as the type has it.
  ['yarn_ext_factor', (value: number) => value <= 0],
] as const

/**
 * Rotary positions as llama.cpp reads them: without a type a factor scales linearly, and `rope.scale_linear` is the older
 * name of `rope.scaling.factor`, read where that is missing; 0 is no factor. The type `none` lets no factor act, and factors
 * for each frequency act beside the common one.
 */
export function ropeFromMetadata(metadata: GgufMetadata, architecture: string, hasFactors: boolean): RopeSettings {
  const key = (name: string): string => `${architecture}.rope.${name}`
  const ropeBase = metadata.has(key('freq_base')) ? metadata.number(key('freq_base')) : DEFAULT_BASE
  if (!(ropeBase > 0)) throw new FileError(metadata.path, `metadata key ${key('freq_base')} must be above 0`)
  for (const [name, isNeutral] of NEUTRAL) {
    const full = key(`scaling.${name}`)
    if (metadata.has(full) && !isNeutral(metadata.number(full))) {
      throw new UnsupportedError(`${metadata.path}: ${full} = ${metadata.number(full)} is not supported`)
    }
  }
  const type = metadata.has(key('scaling.type')) ? metadata.string(key('scaling.type')) : 'linear'
  const scaled = (factor: number): RopeScaling => {
    if (hasFactors) return { type: 'factors', factor, factors: null }
    return factor === 1 ? NONE : { type: 'linear', factor }
  }
  if (type === 'none') return { ropeBase, ropeScaling: scaled(1) }
  if (type !== 'linear') throw new UnsupportedError(`${metadata.path}: ${key('scaling.type')} ${type} is not supported`)
  const source = [key('scaling.factor'), key('scale_linear')].find((name) => metadata.has(name))
  const factor = source === undefined ? 1 : metadata.number(source) || 1
  if (!(factor > 0)) throw new FileError(metadata.path, `metadata key ${source} must be above 0`)
  return { ropeBase, ropeScaling: scaled(factor) }
}
