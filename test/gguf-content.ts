import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readGguf } from '../src/checkpoint/gguf.js'
import { GgufMetadata } from '../src/checkpoint/gguf-metadata.js'
import type { GgufValue } from '../src/checkpoint/gguf-value.js'
import { createGgufWriter, type GgufTensorDeclaration } from '../src/checkpoint/gguf-write.js'

export interface ContentTensor extends GgufTensorDeclaration {
  readonly data: Uint8Array
}

/** A whole GGUF file in memory, for tests that change something and write it again. */
export interface GgufContent {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly tensors: readonly ContentTensor[]
}

export async function readContent(path: string): Promise<GgufContent> {
  const gguf = await readGguf(path)
  const files = gguf.parts.map((part) => readFileSync(part.path))
  const tensors = [...gguf.tensors.values()].map(({ name, shape, type, part, offset, bytes }) => ({
    name,
    shape,
    type,
    data: files[part]!.subarray(offset, offset + bytes),
  }))
  return { metadata: gguf.metadata.values, tensors }
}

export async function writeContent(path: string, { metadata, tensors }: GgufContent): Promise<string> {
  const writer = await createGgufWriter(path, new GgufMetadata(path, metadata), tensors)
  for (const { name, data } of tensors) if (data.length > 0) await writer.append(name, data)
  await writer.finish()
  return path
}

/** Writes a model in parts of as many tensors as `counts` says, the last one with the rest; returns the first one's path. */
export async function writeParts(
  folder: string,
  name: string,
  { metadata, tensors }: GgufContent,
  counts: readonly number[],
): Promise<string> {
  const parts = counts.length + 1
  const number = (n: number): string => String(n).padStart(5, '0')
  const pathOf = (i: number): string => join(folder, `${name}-${number(i + 1)}-of-${number(parts)}.gguf`)
  let start = 0
  for (const [i, count] of [...counts, tensors.length].entries()) {
    const keys = new Map<string, GgufValue>([
      ...(i === 0 ? metadata : []),
      ['split.no', { type: 'uint16', value: i }],
      ['split.count', { type: 'uint16', value: parts }],
      ['split.tensors.count', { type: 'int32', value: tensors.length }],
    ])
    await writeContent(pathOf(i), { metadata: keys, tensors: tensors.slice(start, start + count) })
    start += count
  }
  return pathOf(0)
}
