import { decodeUtf8 } from './byte-level.js'
import type { Part } from './fields.js'

const encoder = new TextEncoder()
/** Longer clusters are looked up character by character. */
const LONGEST_CLUSTER = 5
/** Each of these is a cluster by itself wherever it stands among its like. */
const PLAIN = /^[\n -~]*$/

/**
 * SentencePiece's table of replacements: the size of a double-array trie (bytes, little endian), the trie, and the
 * replacements, each with a zero byte at its end. A cluster of characters that starts with a key is replaced as a
 * whole, which loses the rest of it; the Rust library does so too.
 */
export function readPrecompiled(part: Part): (text: string) => string {
  const bytes = Buffer.from(part.longString('precompiled_charsmap'), 'base64')
  const size = bytes.length < 4 ? -1 : bytes.readUInt32LE(0)
  if (size < 4 || size % 4 !== 0 || size > bytes.length - 4) part.fail('precompiled_charsmap is malformed')
  const trie = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i))
  const replacements = bytes.subarray(4 + size)

  /** The replacement of the shortest key that `chunk` starts with. */
  function replacementOf(chunk: Uint8Array): string | null {
    let node = offsetOf(trie[0]!)
    for (const byte of chunk) {
      if (byte === 0) return null
      node ^= byte
      const unit = trie[node]
      if (unit === undefined) return part.fail('precompiled_charsmap points beyond its end')
      if ((unit & 0x800000ff) >>> 0 !== byte) return null
      node ^= offsetOf(unit)
      if (((unit >>> 8) & 1) === 1) return textAt((trie[node] ?? 0) & 0x7fffffff)
    }
    return null
  }

  function textAt(start: number): string {
    const end = replacements.indexOf(0, start)
    return decodeUtf8([...replacements.subarray(start, end < 0 ? replacements.length : end)])
  }

  const known = new Map<string, string | null>()
  function cached(chunk: string): string | null {
    let replacement = known.get(chunk)
    if (replacement === undefined) {
      replacement = replacementOf(encoder.encode(chunk))
      if (known.size > 50_000) known.clear()
      known.set(chunk, replacement)
    }
    return replacement
  }

  const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' })
  return (text) => {
    const clusters = PLAIN.test(text) ? text : Array.from(segmenter.segment(text), ({ segment }) => segment)
    let result = ''
    for (const cluster of clusters) {
      const whole = Buffer.byteLength(cluster) <= LONGEST_CLUSTER ? cached(cluster) : null
      if (whole !== null) result += whole
      else for (const c of cluster) result += cached(c) ?? c
    }
    return result
  }
}

function offsetOf(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6)
}
