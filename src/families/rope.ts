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

/** Where neither file nor family says another. */
export const DEFAULT_BASE = 10_000
export const NONE: RopeScaling = { type: 'none' }
/** What a YaRN ramp runs between where a file does not say. */
export const YARN = { betaFast: 32, betaSlow: 1 }

/** What cosines and sines are multiplied by. */
export function yarnMagnitude(factor: number, mscale = 1): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
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
