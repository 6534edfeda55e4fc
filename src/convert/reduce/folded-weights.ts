import type { TensorSource } from '../../checkpoint/safetensors.js'
import type { TensorType } from '../../checkpoint/tensor-type.js'
import { InputError, UnsupportedError } from '../../errors.js'
import type { TensorMapping } from '../../families/tensor-rows.js'
import { quantize } from '../../ggml/quantize.js'
import { checkValues } from '../check-values.js'
import { findTensor } from '../find-tensor.js'
import { type DownFold, type FoldOptions, foldInto } from './down-folds.js'

/** Types of a checkpoint that folded values are written in. */
const TYPES: Readonly<Record<string, { readonly type: TensorType; readonly bytes: number }>> = {
  F32: { type: 'f32', bytes: 4 },
  F16: { type: 'f16', bytes: 2 },
  BF16: { type: 'bf16', bytes: 2 },
}

interface Folded extends DownFold {
  readonly transposed: boolean
}

/**
 * Tensors of a checkpoint with bridges in the down projections; one matrix at a time is held in float32.
 * @param folder for messages @param mappings of the tensors that `folds` names
 */
export function foldWeights<Source extends TensorSource>(
  weights: Source,
  folder: string,
  mappings: readonly TensorMapping[],
  folds: ReadonlyMap<string, DownFold>,
  options: FoldOptions = {},
): Source {
  if (folds.size === 0) return weights
  const byName = new Map<string, Folded>()
  for (const mapping of mappings) {
    const fold = folds.get(mapping.name)
    if (fold === undefined) continue
    const { names, row, transposed = false } = findTensor(weights, folder, mapping)
    const [name] = names
    if (name === undefined || names.length > 1 || row !== undefined) {
      throw new UnsupportedError(`${folder}: ${mapping.name} is stored in pieces, into which no bridge folds`)
    }
    byName.set(name, { ...fold, transposed })
  }
  let held: { readonly name: string; readonly values: Promise<Float32Array> } | null = null
  const valuesOf = (name: string, fold: Folded): Promise<Float32Array> => {
    if (held?.name !== name) held = { name, values: foldOf(name, fold) }
    return held.values
  }
  const foldOf = async (name: string, fold: Folded): Promise<Float32Array> => {
    const values = await weights.readFloats(name)
    await foldInto(values, fold, { ...options, transposed: fold.transposed })
    return values
  }
  return {
    ...weights,
    async readFloats(name, rows, out) {
      const fold = byName.get(name)
      if (fold === undefined) return weights.readFloats(name, rows, out)
      const values = await valuesOf(name, fold)
      const columns = weights.tensors.get(name)!.shape[1] ?? 1
      const wanted = rows === undefined ? values : values.subarray(...range(rows.start, rows.count, columns))
      if (out === undefined) return wanted.slice()
      if (out.length < wanted.length) throw new InputError(`${name}: ${wanted.length} values do not fit ${out.length}`)
      out.set(wanted)
      return out.subarray(0, wanted.length)
    },
    async readBytes(name, position, into) {
      const fold = byName.get(name)
      if (fold === undefined) return weights.readBytes(name, position, into)
      const { dtype } = weights.tensors.get(name)!
      const stored = TYPES[dtype]
      if (stored === undefined) {
        throw new UnsupportedError(`${weights.fileOf(name)}: tensor ${name} is ${dtype}, into which no bridge folds`)
      }
      const { type, bytes } = stored
      if (position % bytes !== 0 || into.length % bytes !== 0) {
        throw new InputError(`tensor ${name} has values of ${bytes} bytes, which ${position} does not divide into`)
      }
      const values = (await valuesOf(name, fold)).subarray(position / bytes, (position + into.length) / bytes)
      checkValues(weights.fileOf(name), name, values, type)
      quantize(type, values, 1, values.length, into)
    },
    exactBlocks: (name) => (byName.has(name) ? null : (weights.exactBlocks?.(name) ?? null)),
  }
}

function range(start: number, count: number, columns: number): [number, number] {
  return [start * columns, (start + count) * columns]
}
