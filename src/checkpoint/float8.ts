const tables = new Map<Float8, Float32Array>()

/**
 * 8-bit floats in safetensors files: E4M3 without infinities ("fn"), E5M2 as IEEE has it, and E8M0, an exponent alone
 * (OCP 8-bit floating point specification and microscaling formats).
 */
export const FLOAT8 = ['F8_E4M3', 'F8_E5M2', 'F8_E8M0'] as const
export type Float8 = (typeof FLOAT8)[number]

export function isFloat8(dtype: string): dtype is Float8 {
  return (FLOAT8 as readonly string[]).includes(dtype)
}

/** The 256 values of a type, by bits. The table is shared: do not write to it. */
export function float8Table(type: Float8): Float32Array {
  let table = tables.get(type)
  if (table === undefined) {
    table = Float32Array.from({ length: 256 }, (_, bits) => float8Value(type, bits))
    tables.set(type, table)
  }
  return table
}

function float8Value(type: Float8, bits: number): number {
  if (type === 'F8_E8M0') return bits === 255 ? Number.NaN : 2 ** (bits - 127)
  const fractionBits = type === 'F8_E4M3' ? 3 : 2
  const bias = type === 'F8_E4M3' ? 7 : 15
  const sign = bits & 0x80 ? -1 : 1
  const exponent = (bits & 0x7f) >> fractionBits
  const fraction = bits & ((1 << fractionBits) - 1)
  if (type === 'F8_E4M3' && (bits & 0x7f) === 0x7f) return Number.NaN
  if (type === 'F8_E5M2' && exponent === 31) return fraction === 0 ? sign * Infinity : Number.NaN
  const scale = 2 ** (1 - bias - fractionBits)
  if (exponent === 0) return sign * fraction * scale
  return sign * (fraction + (1 << fractionBits)) * scale * 2 ** (exponent - 1)
}

/** Bits to float32, element by element; `out` has at least the length of `bits`. */
export function float8ToFloat32Array(type: Float8, bits: Uint8Array, out: Float32Array): Float32Array {
  const table = float8Table(type)
  for (let i = 0; i < bits.length; i++) out[i] = table[bits[i]!]!
  return out
}
