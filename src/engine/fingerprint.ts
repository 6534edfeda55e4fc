import { createHash } from 'node:crypto'
import { closeSync, readSync } from 'node:fs'
import type { GgufFile } from '../checkpoint/gguf.js'
import { checkUnchanged, openRegularSync } from '../checkpoint/regular-file.js'
import { FileError } from '../errors.js'

/**
 * Identifies a model's weights whatever they are quantised to: SHA-256 over architecture, names, shapes and the values of
 * all vectors (norms, biases), which stay f32 in a package and change with every kind of training. Hexadecimal. Of a split file
 * it is that of the merged one.
 */
export function fingerprintOf(file: GgufFile): string {
  const hash = createHash('sha256')
  hash.update(`${file.metadata.string('general.architecture')}\n`)
  const opened: number[] = []
  try {
    for (const part of file.parts) {
      const { fd, ...now } = openRegularSync(part.path)
      opened.push(fd)
      checkUnchanged(part.path, part, now)
    }
    for (const [name, tensor] of [...file.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
      hash.update(`${name} ${tensor.shape.join('x')}\n`)
      const isVector = tensor.shape.slice(1).every((n) => n === 1)
      if (!isVector || tensor.type !== 'f32') continue
      const values = new Uint8Array(tensor.bytes)
      if (readSync(opened[tensor.part]!, values, 0, tensor.bytes, tensor.offset) !== tensor.bytes) {
        throw new FileError(file.parts[tensor.part]!.path, `ends inside tensor ${name}`)
      }
      hash.update(values)
    }
  } finally {
    for (const fd of opened) closeSync(fd)
  }
  return hash.digest('hex')
}
