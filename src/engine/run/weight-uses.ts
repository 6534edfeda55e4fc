import type { GgufFile, GgufTensor } from '../../checkpoint/gguf-file.js'
import { isWeightType } from '../../checkpoint/tensor-type.js'
import { FileError, UnsupportedError } from '../../errors.js'
import type { Family } from '../../families/family.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import type { WeightUse } from '../../ggml/weights.js'

/** Tensors that change nothing here: old rotary frequencies, activation scales, layers for drafts of several tokens. */
const UNREAD = /\.attn_rot_embd\.|\.rotary_emb\.|\.input_scale$|\.nextn\./

/** The tensors of a package that its family uses, each checked against the shape that the hyperparameters ask for. */
export function weightUses(file: GgufFile, family: Family, h: Hyperparameters): WeightUse[] {
  const uses: WeightUse[] = []
  const known = new Set<string>()
  for (const m of family.tensors(h)) {
    const lookup = m.lookup === true
    const tensor = take(file, m.name, m.shape)
    uses.push({
      tensor,
      lookup,
      stack: m.quantize && m.share !== undefined,
      product: m.quantize && (!lookup || h.tiedEmbeddings),
    })
    known.add(m.name)
    // Rows that are looked up are not multiplied, so that no factor comes to them.
    const scaled = m.quantize && !lookup
    const scale = scaled ? takeScale(file, m.name, m.share === undefined ? 1 : (m.shape[0] as number)) : null
    if (scale === null) continue
    uses.push({ tensor: scale, lookup: false, product: false })
    known.add(scale.name)
  }
  for (const t of family.computedTensors(h)) {
    take(file, t.name, [t.length])
    known.add(t.name)
  }
  const unknown = [...file.tensors.keys()].find((name) => !known.has(name) && !UNREAD.test(name))
  if (unknown !== undefined) {
    throw new UnsupportedError(
      `${file.path}: tensor ${unknown} is not one that ${family.architecture} models have here`,
    )
  }
  for (const { tensor, product, lookup, stack } of uses) {
    if (!product && !lookup && stack !== true && tensor.type !== 'f32') {
      throw new UnsupportedError(`${file.path}: tensor ${tensor.name} is ${tensor.type}; norms and biases must be f32`)
    }
    if (!isWeightType(tensor.type)) {
      throw new FileError(file.path, `tensor ${tensor.name} is ${tensor.type}, which weights cannot be`)
    }
  }
  return uses
}

/** NVFP4 keeps a factor beside a matrix, for a stack one for each of its matrices. */
function takeScale(file: GgufFile, name: string, length: number): GgufTensor | null {
  const scale = name.replace(/weight$/, 'scale')
  return file.tensors.has(scale) ? take(file, scale, [length]) : null
}

function take(file: GgufFile, name: string, shape: readonly number[]): GgufTensor {
  const tensor = file.tensors.get(name)
  if (tensor === undefined) throw new FileError(file.path, `tensor ${name} is missing`)
  const wanted = [...shape].reverse()
  const size = (dims: readonly number[], i: number) => dims[i] ?? 1
  const length = Math.max(wanted.length, tensor.shape.length)
  if (Array.from({ length }, (_, i) => i).some((i) => size(wanted, i) !== size(tensor.shape, i))) {
    throw new FileError(
      file.path,
      `tensor ${name} has the shape [${tensor.shape.join(', ')}] where [${wanted.join(', ')}] fits the metadata`,
    )
  }
  return tensor
}
