import { createHash, type Hash } from 'node:crypto'
import { closeSync, readSync } from 'node:fs'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { checkUnchanged, openRegularSync } from '../checkpoint/regular-file.js'
import { FileError } from '../errors.js'

/** Of a matrix that is told apart by samples: how many there are, spread evenly, and the bytes of each. */
const SAMPLES = 8
const SAMPLE_BYTES = 512

const MATRICES_DIGITS = 16

/** Reads bytes of a tensor, counted from its first. */
type ReadTensor = (name: string, tensor: GgufTensor, from: number, bytes: number) => Uint8Array

/**
 * Identifies a model's weights, in two parts with a hyphen between them. The first, `vectorsDigest`, is the same whatever they are quantised to; the
 * second, the beginning of `matricesDigest`, is not, and differs too where an adapter (LoRA) was merged in. Of a split file it is that of the
 * merged one.
 */
export function fingerprintOf(file: GgufFile): string {
  return `${vectorsDigest(file)}-${matricesDigest(file).slice(0, MATRICES_DIGITS)}`
}

/**
 * SHA-256 over architecture, names, shapes and the values of all vectors (norms, biases), which stay f32 in a package and change with
 * every training of all weights. Hexadecimal.
 */
function vectorsDigest(file: GgufFile): string {
  return digestOf(file, (hash, name, tensor, read) => {
    hash.update(`${name} ${tensor.shape.join('x')}\n`)
    const isVector = tensor.shape.slice(1).every((n) => n === 1)
    if (isVector && tensor.type === 'f32') hash.update(read(name, tensor, 0, tensor.bytes))
  })
}

/**
 * Tells weights as they lie in a file apart: SHA-256 over names, shapes, types and samples of every tensor, of a model of 7 billion
 * parameters in a few ms. Hexadecimal.
 */
function matricesDigest(file: GgufFile): string {
  return digestOf(file, (hash, name, tensor, read) => {
    hash.update(`${name} ${tensor.type} ${tensor.shape.join('x')}\n`)
    const bytes = Math.min(tensor.bytes, SAMPLE_BYTES)
    const room = tensor.bytes - bytes
    for (let i = 0; i < SAMPLES; i++) {
      hash.update(read(name, tensor, Math.floor((room * i) / (SAMPLES - 1)), bytes))
    }
  })
}

function digestOf(
  file: GgufFile,
  add: (hash: Hash, name: string, tensor: GgufTensor, read: ReadTensor) => void,
): string {
  const hash = createHash('sha256')
  hash.update(`${file.metadata.string('general.architecture')}\n`)
  const opened: number[] = []
  const read: ReadTensor = (name, tensor, from, bytes) => {
    const values = new Uint8Array(bytes)
    if (readSync(opened[tensor.part]!, values, 0, bytes, tensor.offset + from) !== bytes) {
      throw new FileError(file.parts[tensor.part]!.path, `ends inside tensor ${name}`)
    }
    return values
  }
  try {
    for (const part of file.parts) {
      const { fd, ...now } = openRegularSync(part.path)
      opened.push(fd)
      checkUnchanged(part.path, part, now)
    }
    for (const [name, tensor] of [...file.tensors].sort(([a], [b]) => (a < b ? -1 : 1))) add(hash, name, tensor, read)
  } finally {
    for (const fd of opened) closeSync(fd)
  }
  return hash.digest('hex')
}
