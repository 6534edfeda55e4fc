import { type FileReader, openReader } from '../checkpoint/file-reader.js'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { checkUnchanged } from '../checkpoint/regular-file.js'

/** Bytes in hand at a time. */
const BLOCK = 8 * 1024 * 1024

/** The data of a GGUF file's tensors, in whichever part each lies. */
export interface GgufReader {
  /** Path of the part that holds a tensor, for messages. */
  pathOf(tensor: GgufTensor): string
  /** Fills `into` from byte `from` of a tensor on. */
  read(tensor: GgufTensor, into: Uint8Array, from: number): Promise<void>
  close(): Promise<void>
}

/** @throws FileError also where a part is not the one any more that its header was read from */
export async function openGgufReader({ parts }: GgufFile): Promise<GgufReader> {
  const readers: FileReader[] = []
  const close = async (): Promise<void> => {
    for (const reader of readers) await reader.close()
  }
  try {
    for (const part of parts) {
      const reader = await openReader(part.path)
      readers.push(reader)
      checkUnchanged(part.path, part, reader)
    }
  } catch (error) {
    await close()
    throw error
  }
  return {
    pathOf: ({ part }) => parts[part]!.path,
    read: (tensor, into, from) => readers[tensor.part]!.read(into, tensor.offset + from),
    close,
  }
}

/** The bytes of a tensor as they stand, a block at a time; a block is overwritten by the next. */
export async function* tensorBlocks(reader: GgufReader, tensor: GgufTensor): AsyncGenerator<Uint8Array> {
  const { bytes } = tensor
  const block = new Uint8Array(Math.min(BLOCK, bytes))
  for (let position = 0; position < bytes; position += block.length) {
    const part = block.subarray(0, Math.min(block.length, bytes - position))
    await reader.read(tensor, part, position)
    yield part
  }
}
