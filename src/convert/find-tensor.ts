import type { SafetensorsTensor, TensorSource } from '../checkpoint/safetensors.js'
import { FileError } from '../errors.js'
import { spellings } from '../families/spellings.js'
import type { TensorMapping, TensorSourceRows } from '../families/tensor-rows.js'

/** Where a checkpoint has a tensor: the form that it is in, and the full names. */
export interface FoundTensor extends TensorSourceRows {
  readonly tensors: readonly SafetensorsTensor[]
}

/**
 * The tensors of a checkpoint that a mapping names.
 * @param folder of the checkpoint, for messages
 * @throws FileError where one is missing or has another shape than config.json makes it
 */
export function findTensor(weights: TensorSource, folder: string, mapping: TensorMapping): FoundTensor {
  let misfit: FileError | null = null
  for (const form of mapping.sources) {
    const { names } = form
    const [first] = names
    if (first === undefined || nameIn(weights, first) === null) continue
    const tensors = names.map((name) => take(weights, folder, name))
    const wrong = tensors.find(({ shape }) => shape.join() !== form.shape.join())
    if (wrong === undefined) return { ...form, names: tensors.map(({ name }) => name), tensors }
    misfit ??= shapeError(weights, wrong, form.shape)
  }
  throw misfit ?? new FileError(folder, `tensor ${mapping.sources[0]?.names[0]} is missing`)
}

function take(weights: TensorSource, folder: string, name: string): SafetensorsTensor {
  const found = nameIn(weights, name)
  if (found === null) throw new FileError(folder, `tensor ${name} is missing`)
  return weights.tensors.get(found) as SafetensorsTensor
}

function nameIn(weights: TensorSource, name: string): string | null {
  return spellings(name).find((spelling) => weights.tensors.has(spelling)) ?? null
}

function shapeError(weights: TensorSource, { name, shape }: SafetensorsTensor, wanted: readonly number[]): FileError {
  const text = `tensor ${name} is [${shape.join(', ')}], config.json makes it [${wanted.join(', ')}]`
  return new FileError(weights.fileOf(name), text)
}
