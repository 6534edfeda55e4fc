/**
 * Where bytes stop being UTF-8: the index of the first byte of a sequence that is wrong or cut off, or -1. The rule is
 * the Unicode standard's table of well-formed sequences: nothing overlong, no surrogates, nothing above U+10FFFF.
 */
export function firstInvalidUtf8(bytes: Uint8Array): number {
  let i = 0
  while (i < bytes.length) {
    const length = sequenceLength(bytes, i)
    if (length === 0) return i
    i += length
  }
  return -1
}

function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at]!
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return 0
  const length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  for (let k = 1; k < length; k++) {
    const byte = bytes[at + k]
    if (byte === undefined || byte < (k === 1 ? least : 0x80) || byte > (k === 1 ? most : 0xbf)) return 0
  }
  return length
}
