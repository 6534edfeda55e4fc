import type { GgufFile, GgufTensor } from '../../checkpoint/gguf.js'
import { GgufMetadata, type GgufValue } from '../../checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../../checkpoint/gguf-write.js'
import type { Plan } from '../../depth/policy.js'
import { openGgufReader, tensorBlocks } from '../gguf-tensor.js'
import { baseModelEntries } from '../metadata.js'
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

/** Tensors that stay, under their new names, in the order of the file. */
export function keptTensors(gguf: GgufFile, plan: Plan): { name: string; tensor: GgufTensor }[] {
  const rename = keptGgufName(plan)
  return [...gguf.tensors.values()]
    .map((tensor) => ({ name: rename(tensor.name), tensor }))
    .filter((entry): entry is { name: string; tensor: GgufTensor } => entry.name !== null)
}

/** Writes a GGUF file with these tensors, byte for byte. @returns its size */
export async function writeReducedGguf(
  gguf: GgufFile,
  metadata: GgufMetadata,
  kept: readonly { readonly name: string; readonly tensor: GgufTensor }[],
  path: string,
  written: Written,
): Promise<number> {
  const declarations = kept.map(({ name, tensor: { shape, type } }) => ({ name, shape, type }))
  const reader = await openGgufReader(gguf)
  try {
    const writer = await createGgufWriter(path, metadata, declarations)
    try {
      for (const { name, tensor } of kept) {
        for await (const block of tensorBlocks(reader, tensor)) {
          await writer.append(name, block)
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
