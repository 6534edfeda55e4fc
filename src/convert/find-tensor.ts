import type { SafetensorsTensor, TensorSource } from '../checkpoint/safetensors.js'
import { FileError } from '../errors.js'
import type { TensorMapping } from '../families/family.js'

/**
 * The tensor of a checkpoint that a mapping names.
 * @param folder of the checkpoint, for messages
 * @throws FileError where it is missing or has another shape than config.json makes it
 */
export function findTensor(weights: TensorSource, folder: string, mapping: TensorMapping): SafetensorsTensor {
  const source = sourceOf(weights, mapping)
  const tensor = weights.tensors.get(source)
  if (tensor === undefined) throw new FileError(folder, `tensor ${mapping.source} is missing`)
  const { shape, skipRows = 0 } = mapping
  const whole = shape.map((n, i) => (i === 0 ? n + skipRows : n))
  if (tensor.shape.length !== whole.length || tensor.shape.some((n, i) => n !== whole[i])) {
    const given = `[${tensor.shape.join(', ')}]`
    const file = weights.fileOf(source)
    throw new FileError(file, `tensor ${source} is ${given}, config.json makes it [${whole.join(', ')}]`)
  }
  return tensor
}

/** Checkpoints saved from a model without an LM head, as BLOOM's own are, lack the first part of their names. */
function sourceOf(weights: TensorSource, { source }: TensorMapping): string {
  const short = source.slice(source.indexOf('.') + 1)
  return !weights.tensors.has(source) && weights.tensors.has(short) ? short : source
}
