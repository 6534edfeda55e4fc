const WORD = new Uint32Array(1)
const FLOAT = new Float32Array(WORD.buffer)

let table: Float32Array | undefined

/** All 65,536 IEEE half-precision values: 256 KB, built on first use. */
function float16Table(): Float32Array {
  if (table !== undefined) return table
  const values = new Float32Array(65_536)
  for (let bits = 0; bits < 65_536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >> 10) & 0x1f
    const fraction = bits & 0x3ff
    if (exponent === 0) values[bits] = sign * fraction * 2 ** -24
    else if (exponent === 31) values[bits] = fraction === 0 ? sign * Infinity : Number.NaN
    else values[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15)
  }
  table = values
  return values
}

/** The value of an IEEE half-precision number given by its 16 bits. */
export function float16ToFloat32(bits: number): number {
  return float16Table()[bits & 0xffff]!
}

/** The 16 bits of the nearest half-precision number, ties to even; beyond 65,504 it is an infinity. */
export function float32ToFloat16(value: number): number {
  FLOAT[0] = value
  return halfBits(WORD[0]!)
}

/** Bits of a float32 to bits of a float16. */
function halfBits(x: number): number {
  const sign = (x >>> 16) & 0x8000
  const magnitude = x & 0x7fffffff
  if (magnitude > 0x7f800000) return sign | 0x7e00
  if (magnitude >= 0x47800000) return sign | 0x7c00
  if (magnitude >= 0x38800000) {
    // Normal: re-bias the exponent by 127 - 15 and round the 13 bits that go. A carry may make it infinite, rightly.
    const odd = (magnitude >>> 13) & 1
    return sign | ((magnitude - 0x38000000 + 0xfff + odd) >>> 13)
  }
  if (magnitude < 0x33000000) return sign
  // Subnormal: the fraction with its hidden bit, shifted to units of 2^-24.
  const shift = 126 - (magnitude >>> 23)
  const fraction = (magnitude & 0x7fffff) | 0x800000
  const half = 1 << (shift - 1)
  const odd = (fraction >>> shift) & 1
  return sign | ((fraction + half - 1 + odd) >>> shift)
}

/** The value of a bfloat16 number given by its 16 bits. */
export function bfloat16ToFloat32(bits: number): number {
  WORD[0] = (bits & 0xffff) << 16
  return FLOAT[0]!
}

/** The 16 bits of the nearest bfloat16 number, ties to even. */
export function float32ToBfloat16(value: number): number {
  FLOAT[0] = value
  return brainBits(WORD[0]!)
}

function brainBits(x: number): number {
  // A NaN whose payload sits in the low bits would round to an infinity.
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff
}

/** Half-precision bits to float32, element by element; `out` has at least the length of `bits`. */
export function float16ToFloat32Array(bits: Uint16Array, out: Float32Array): Float32Array {
  const values = float16Table()
  for (let i = 0; i < bits.length; i++) out[i] = values[bits[i]!]!
  return out
}

/** float32 to half-precision bits, element by element. */
export function float32ToFloat16Array(values: Float32Array, out: Uint16Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < words.length; i++) out[i] = halfBits(words[i]!)
  return out
}

/** bfloat16 bits to float32, element by element; `out` has at least the length of `bits`. */
export function bfloat16ToFloat32Array(bits: Uint16Array, out: Float32Array): Float32Array {
  const words = new Uint32Array(out.buffer, out.byteOffset, bits.length)
  for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16
  return out
}

/** float32 to bfloat16 bits, element by element. */
export function float32ToBfloat16Array(values: Float32Array, out: Uint16Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length)
  for (let i = 0; i < words.length; i++) out[i] = brainBits(words[i]!)
  return out
}
