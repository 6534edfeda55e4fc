import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { FileError } from '../errors.js'

/** Far above any model: a file that claims more would have its tensors listed until memory ends. */
export const MOST_LAYERS = 4096

/** Likewise: rotary frequencies are computed for every dimension of a head before a tensor is looked at. */
export const MOST_HEAD_DIMENSIONS = 65_536

/** The number of layers that a package's metadata names. */
export function layerCount(metadata: GgufMetadata, key: string): number {
  const layers = metadata.count(key)
  if (layers < 1 || layers > MOST_LAYERS) {
    throw new FileError(metadata.path, `metadata key ${key} must be from 1 to ${MOST_LAYERS}`)
  }
  return layers
}
