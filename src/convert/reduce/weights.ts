import type { SafetensorsTensor, TensorSource } from '../../checkpoint/safetensors.js'
import { FileError } from '../../errors.js'
import type { KeptName } from './layer-name.js'

/** The tensors of a checkpoint that stay, under their new names; the bytes are where they were. */
export function reduceWeights(weights: TensorSource, rename: KeptName): TensorSource {
  const tensors = new Map<string, SafetensorsTensor>()
  const originals = new Map<string, string>()
  for (const [name, tensor] of weights.tensors) {
    const kept = rename(name)
    if (kept === null) continue
    if (tensors.has(kept)) throw new FileError(weights.fileOf(name), `has two tensors for ${kept}`)
    tensors.set(kept, { ...tensor, name: kept })
    originals.set(kept, name)
  }
  const original = (name: string): string => originals.get(name) ?? name
  return {
    tensors,
    fileOf: (name) => weights.fileOf(original(name)),
    readFloats: (name, rows, out) => weights.readFloats(original(name), rows, out),
    readIntegers: (name) => weights.readIntegers(original(name)),
    readBytes: (name, position, into) => weights.readBytes(original(name), position, into),
    close: () => weights.close(),
  }
}
