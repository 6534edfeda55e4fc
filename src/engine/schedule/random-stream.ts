import { InputError } from '../../errors.js'

/** A seed for a caller who gave none: 32 random bits, short enough to be typed again. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!
}

/**
 * A stream of numbers in [0, 1) with 53 random bits each: xoshiro128** (Blackman and Vigna, 2018), its state filled
 * from all bits of `seed` by splitmix32. The same seed gives the same stream on every machine.
 *
 * @param seed whole number from 0 to 2^53 - 1
 */
export function createRandomStream(seed: number): () => number {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new InputError(`seed must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, not ${seed}`)
  }
  // The two halves pass one after the other, so that seeds that differ in any bit give other states.
  const low = splitmix32(seed >>> 0)
  const high = splitmix32((Math.floor(seed / 2 ** 32) ^ low()) >>> 0)
  let a = low()
  let b = high()
  let c = low()
  // The state must not be all zeros.
  let d = high() | 1

  const next = (): number => {
    const scrambled = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9)
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = rotateLeft(d, 11)
    return scrambled >>> 0
  }
  return () => ((next() >>> 5) * 2 ** 26 + (next() >>> 6)) / 2 ** 53
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits))
}

function splitmix32(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return z ^ (z >>> 15)
  }
}
