import { closeSync, openSync, readSync } from 'node:fs'
import type { GgufFile } from '../../checkpoint/gguf-file.js'
import { FileError } from '../../errors.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import { frequencyFactors, type Rope } from '../../families/rope.js'

/** Rotary positions with the factors that the package holds as tensors. */
export function withRopeTensors(h: Hyperparameters, file: GgufFile): Hyperparameters {
  if (h.ropes === null) return h
  const read = (rope: Rope): Rope => {
    const { scaling } = rope
    if (scaling.type === 'factors' && scaling.factors === null) {
      return { ...rope, scaling: { ...scaling, factors: readVector(file, 'rope_freqs.weight', rope.dimensions / 2) } }
    }
    if (scaling.type !== 'longrope' || (scaling.long !== null && scaling.short !== null)) return rope
    const list = (which: string) => readVector(file, `rope_factors_${which}.weight`, rope.dimensions / 2)
    return { ...rope, scaling: { ...scaling, long: list('long'), short: list('short') } }
  }
  return { ...h, ropes: { full: read(h.ropes.full), local: read(h.ropes.local) } }
}

/** What rotary frequencies are divided by, as tensors under the names that the attention block reads. */
export function ropeFactors({ ropes }: Hyperparameters, context: number): Map<string, Float32Array> {
  const made = new Map<string, Float32Array>()
  for (const [which, rope] of Object.entries(ropes ?? {})) {
    const factors = frequencyFactors(rope, context)
    if (factors !== null) made.set(`rope_factors.${which}`, factors)
  }
  return made
}

function readVector(file: GgufFile, name: string, length: number): Float32Array {
  const tensor = file.tensors.get(name)
  const path = file.parts[tensor?.part ?? 0]?.path ?? file.path
  if (tensor === undefined) throw new FileError(path, `tensor ${name} is missing`)
  if (tensor.type !== 'f32' || tensor.bytes !== 4 * length) {
    throw new FileError(path, `tensor ${name} must be ${length} values of f32`)
  }
  const values = new Float32Array(length)
  const fd = openSync(path, 'r')
  try {
    const read = readSync(fd, new Uint8Array(values.buffer), 0, tensor.bytes, tensor.offset)
    if (read !== tensor.bytes) throw new FileError(path, `ends inside tensor ${name}`)
  } finally {
    closeSync(fd)
  }
  if (values.some((value) => !(value > 0))) throw new FileError(path, `tensor ${name} must hold numbers above 0`)
  return values
}
