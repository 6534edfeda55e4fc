import type { GgufFile, GgufTensor } from '../../checkpoint/gguf-file.js'
import { GgufMetadata } from '../../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../../checkpoint/gguf-value.js'
import { createGgufWriter } from '../../checkpoint/gguf-write.js'
import { isWeightType, rowBytes, type TensorType } from '../../checkpoint/tensor-type.js'
import type { Plan } from '../../depth/plan.js'
import { FileError } from '../../errors.js'
import { dequantize } from '../../ggml/dequantize.js'
import { quantize } from '../../ggml/quantize.js'
import { checkValues } from '../check-values.js'
import { type GgufReader, openGgufReader, tensorBlocks } from '../gguf-tensor.js'
import { baseModelEntries } from '../metadata.js'
import { readScale, scaleRows, scaleTensors } from '../weight-scale.js'
import { type DownFold, type FoldOptions, foldInto } from './down-folds.js'
import type { Written } from './folder.js'
import { keptGgufName } from './layer-name.js'

/** What no longer holds when layers are gone, or was said of the model before. */
const DROPPED = /^(general\.(base_model\.|size_label$|parameter_count$)|shoal\.depth$|split\.)/

/** Metadata for the layers of a plan: their number and the lists with an entry for each of them are cut. */
export function reduceMetadata(
  metadata: GgufMetadata,
  architecture: string,
  layers: number,
  plan: Plan,
  names: { readonly name: string; readonly baseModel: string },
): GgufMetadata {
  const entries: [string, GgufValue][] = []
  for (const [key, value] of metadata.values) {
    if (DROPPED.test(key)) continue
    if (key === 'general.name') {
      entries.push([key, { type: 'string', value: names.name }])
    } else if (key === `${architecture}.block_count` && value.type !== 'array') {
      entries.push([key, { ...value, value: plan.length } as GgufValue])
    } else if (isPerLayer(key, value, architecture, layers) && value.type === 'array') {
      entries.push([key, { ...value, value: plan.map((layer) => value.value[layer]) } as GgufValue])
    } else entries.push([key, value])
  }
  return new GgufMetadata(metadata.path, [...entries, ...baseModelEntries(names.baseModel)])
}

/** Lists of the architecture with as many entries as layers; what rope sections list are parts of a head. */
function isPerLayer(key: string, value: GgufValue, architecture: string, layers: number): boolean {
  const prefix = `${architecture}.`
  return (
    key.startsWith(prefix) &&
    !key.startsWith(`${prefix}rope.`) &&
    value.type === 'array' &&
    value.value.length === layers
  )
}

/** A tensor that stays, under its new name. */
export interface KeptTensor {
  readonly name: string
  readonly tensor: GgufTensor
  /** What it is written as. */
  readonly type: TensorType
  readonly fold: KeptFold | null
}

interface KeptFold extends DownFold {
  /** What the matrix is multiplied by: NVFP4 keeps a factor beside it. */
  readonly scale: GgufTensor | null
}

/** What ggml quantises to without an importance matrix. */
const REQUANTIZED: readonly TensorType[] = [
  ...(['f32', 'f16', 'bf16', 'q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'iq4_nl', 'iq4_xs'] as const),
  ...(['q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k'] as const),
]

/**
 * Tensors that stay, in the order of the file.
 * @param folds bridges by the new names of the tensors that they go into
 */
export function keptTensors(
  gguf: GgufFile,
  plan: Plan,
  folds: ReadonlyMap<string, DownFold> = new Map(),
): KeptTensor[] {
  const rename = keptGgufName(plan)
  const gone = new Set<string>()
  const kept = [...gguf.tensors.values()].flatMap((tensor): KeptTensor[] => {
    const name = rename(tensor.name)
    if (name === null) return []
    const fold = folds.get(name)
    if (fold === undefined) return [{ name, tensor, type: tensor.type, fold: null }]
    const { scale, inputScale } = scaleTensors(gguf, tensor)
    for (const each of [scale, inputScale]) if (each !== null) gone.add(each.name)
    const type = REQUANTIZED.includes(tensor.type) ? tensor.type : 'f16'
    return [{ name, tensor, type, fold: { ...fold, scale } }]
  })
  return kept.filter(({ tensor }) => !gone.has(tensor.name))
}

export function keptBytes({ tensor, type }: KeptTensor): number {
  const [columns = 1, ...rest] = tensor.shape
  return rest.reduce((product, n) => product * n, 1) * rowBytes(type, columns)
}

/** Writes a GGUF file with these tensors, byte for byte but where a bridge goes into one. @returns its size */
export async function writeReducedGguf(
  gguf: GgufFile,
  metadata: GgufMetadata,
  kept: readonly KeptTensor[],
  path: string,
  written: Written,
  options: FoldOptions = {},
): Promise<number> {
  const declarations = kept.map(({ name, tensor: { shape }, type }) => ({ name, shape, type }))
  const reader = await openGgufReader(gguf)
  try {
    const writer = await createGgufWriter(path, metadata, declarations)
    try {
      for (const each of kept) {
        const blocks =
          each.fold === null ? tensorBlocks(reader, each.tensor) : foldedBlocks(reader, each, each.fold, options)
        for await (const block of blocks) {
          await writer.append(each.name, block)
          written(block.length)
        }
      }
      await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
    return writer.bytes
  } finally {
    await reader.close()
  }
}

/** A down projection or its bias with a bridge in it. */
async function* foldedBlocks(
  reader: GgufReader,
  { tensor, type }: KeptTensor,
  fold: KeptFold,
  options: FoldOptions,
): AsyncGenerator<Uint8Array> {
  const path = reader.pathOf(tensor)
  if (!isWeightType(tensor.type)) {
    throw new FileError(path, `tensor ${tensor.name} is ${tensor.type}, which weights cannot be`)
  }
  const [width = 1, height = 1] = tensor.shape
  const rows = fold.isBias ? 1 : height
  const source = new Uint8Array(tensor.bytes)
  await reader.read(tensor, source, 0)
  const values = new Float32Array(rows * width)
  dequantize(tensor.type, source, rows, width, values)
  if (fold.scale !== null) scaleRows(values, width, await readScale(reader, fold.scale), 0, rows)
  await foldInto(values, fold, options)
  checkValues(path, tensor.name, values, type)
  const encoded = new Uint8Array(rows * rowBytes(type, width))
  quantize(type, values, rows, width, encoded)
  yield encoded
}
