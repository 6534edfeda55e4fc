import type { FileReader } from '../checkpoint/file-reader.js'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf.js'
import { UnsupportedError } from '../errors.js'

/** Bytes in hand at a time. */
const BLOCK = 8 * 1024 * 1024

/** @throws UnsupportedError for one part of a split file, whose tensors are not all there */
export function refuseSplit({ metadata, path }: GgufFile): void {
  if (metadata.has('split.count') && metadata.number('split.count') > 1) {
    throw new UnsupportedError(`${path}: is one part of a split GGUF file; merge the parts first`)
  }
}

/** The bytes of a tensor as they stand, a block at a time; a block is overwritten by the next. */
export async function* tensorBlocks(reader: FileReader, { offset, bytes }: GgufTensor): AsyncGenerator<Uint8Array> {
  const block = new Uint8Array(Math.min(BLOCK, bytes))
  for (let position = 0; position < bytes; position += block.length) {
    const part = block.subarray(0, Math.min(block.length, bytes - position))
    await reader.read(part, offset + position)
    yield part
  }
}
