/** Bytes as characters that print: those of Latin 1 that do stand for themselves, the others for U+0100 on. */
const CHARACTERS: string[] = []
for (let byte = 0, next = 0x100; byte < 256; byte++) {
  const prints = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
  CHARACTERS.push(String.fromCharCode(prints ? byte : next++))
}
const BYTES = new Map(CHARACTERS.map((c, byte) => [c.charCodeAt(0), byte]))

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The text's bytes in UTF-8, each as a character. */
export function toByteCharacters(text: string): string {
  if (/^[!-~]*$/.test(text)) return text
  let characters = ''
  for (const byte of encoder.encode(text)) characters += CHARACTERS[byte]!
  return characters
}

/** The text of tokens that spell bytes; a token with any other character stands for itself. */
export function fromByteCharacters(tokens: readonly string[]): string {
  const bytes: number[] = []
  for (const token of tokens) {
    const start = bytes.length
    for (let i = 0; i < token.length; i++) {
      const byte = BYTES.get(token.charCodeAt(i))
      if (byte === undefined) {
        bytes.length = start
        for (const own of encoder.encode(token)) bytes.push(own)
        break
      }
      bytes.push(byte)
    }
  }
  return decodeUtf8(bytes)
}

/** What is no UTF-8 becomes U+FFFD. */
export function decodeUtf8(bytes: readonly number[]): string {
  return decoder.decode(Uint8Array.from(bytes))
}
