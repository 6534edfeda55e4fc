/**
 * Number `index` of a stream of `bits`-bit numbers, the lowest bits first, that run on over 32-bit words.
 * @param first index of the stream's first word
 * @param stride words from one word of the stream to the next
 */
export function bitsAt(words: Uint32Array, index: number, bits: number, first = 0, stride = 1): number {
  const bit = index * bits
  const word = first + (bit >>> 5) * stride
  const shift = bit & 31
  let value = words[word]! >>> shift
  if (shift + bits > 32) value |= words[word + stride]! << (32 - shift)
  return value & ((1 << bits) - 1)
}

/** 32-bit words that `count` numbers take in a stream. */
export function streamWords(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32)
}
