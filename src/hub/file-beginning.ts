import type { HubFile } from './hub-api.js'
import { HubFailure, type Subject } from './hub-failure.js'

/**
 * Refuses what cannot be the file that it is said to be, before gigabytes of it come: a login page that was answered in
 * place of the file, or what stands for a large file in git.
 * @param chunk the first bytes; too few to tell are taken
 * @throws HubError
 */
export function checkBeginning(subject: Subject, { path }: HubFile, chunk: Uint8Array, contentType: string): void {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(chunk.length, 64))
  const text = bytes.toString('latin1').trimStart()
  const kind = /\.(gguf|safetensors|json)$/i.exec(path)?.[1]?.toLowerCase()
  if (kind === undefined) return
  if (
    text.startsWith('<') &&
    (kind !== 'json' || contentType.includes('html') || /^<(!doctype|html|\?xml)/i.test(text))
  ) {
    throw new HubFailure(
      subject,
      'answer',
      'a web page comes in place of the file; a proxy or a login stands before the Hub',
    )
  }
  const fits =
    kind === 'gguf'
      ? bytes.length < 4 || text.startsWith('GGUF')
      : kind === 'json'
        ? text === '' || /^(ï»¿)?\s*[[{]/.test(text)
        : bytes.length < 9 || bytes[8] === 0x7b
  if (fits) return
  const pointer = text.startsWith('version https://git-lfs') ? '; it is only a pointer of git LFS' : ''
  throw new HubFailure(subject, 'answer', `what comes is no ${kind === 'json' ? 'JSON' : kind} file${pointer}`)
}
