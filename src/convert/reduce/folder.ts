import { copyFile, cp, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileError } from '../../checkpoint/file-errors.js'
import type { SafetensorsTensor, TensorSource } from '../../checkpoint/safetensors.js'
import { createSafetensorsWriter } from '../../checkpoint/safetensors-write.js'
import { readOptionalJsonFile } from '../../checkpoint/text-file.js'

/** Files of a checkpoint that say nothing of its layers. */
const COPIED = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'tokenizer.model',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
]
const LICENCE = /^(licen[cs]e|notice|copying|use_policy)/i
const TEMPLATES = 'additional_chat_templates'

/** Bytes copied at a time. */
const BLOCK = 8 * 1024 * 1024

/** Tells bytes as they are written; throws where the work is to stop. */
export type Written = (bytes: number) => void

/** Copies tokenizer, chat templates, generation settings and licences; shoal.json without the depth. */
export async function copySmallFiles(source: string, target: string): Promise<void> {
  try {
    for (const name of await readdir(source)) {
      const from = join(source, name)
      const isFile = (await stat(from)).isFile()
      if (isFile && (COPIED.includes(name) || LICENCE.test(name))) await copyFile(from, join(target, name))
      else if (!isFile && name === TEMPLATES) await cp(from, join(target, name), { recursive: true, dereference: true })
    }
  } catch (error) {
    throw fileError(source, error)
  }
  const { depth: _, ...settings } = (await readOptionalJsonFile(join(source, 'shoal.json'))) ?? {}
  if (Object.keys(settings).length > 0) await writeText(join(target, 'shoal.json'), `${JSON.stringify(settings)}\n`)
}

export async function writeText(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text)
  } catch (error) {
    throw fileError(path, error)
  }
}

/**
 * Writes tensors byte for byte as safetensors: one file where they come from one, else a shard for each of theirs and the
 * index. Memory does not grow with the model.
 */
export async function writeWeights(weights: TensorSource, target: string, written: Written): Promise<void> {
  const files = new Map<string, SafetensorsTensor[]>()
  for (const tensor of weights.tensors.values()) {
    const file = weights.fileOf(tensor.name)
    files.set(file, [...(files.get(file) ?? []), tensor])
  }
  const shards = [...files]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, tensors]) => tensors.sort((a, b) => a.offset - b.offset))
  const five = (n: number): string => String(n).padStart(5, '0')
  const weightMap: Record<string, string> = {}
  for (const [i, tensors] of shards.entries()) {
    const file =
      shards.length === 1 ? 'model.safetensors' : `model-${five(i + 1)}-of-${five(shards.length)}.safetensors`
    for (const { name } of tensors) weightMap[name] = file
    await writeShard(weights, tensors, join(target, file), written)
  }
  if (shards.length === 1) return
  const total = [...weights.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  const index = { metadata: { total_size: total }, weight_map: weightMap }
  await writeText(join(target, 'model.safetensors.index.json'), `${JSON.stringify(index, null, 2)}\n`)
}

async function writeShard(
  weights: TensorSource,
  tensors: readonly SafetensorsTensor[],
  path: string,
  written: Written,
): Promise<void> {
  // transformers asks for the key.
  const writer = await createSafetensorsWriter(path, tensors, { format: 'pt' })
  const block = new Uint8Array(Math.min(BLOCK, Math.max(0, ...tensors.map(({ bytes }) => bytes))))
  try {
    for (const { name, bytes } of tensors) {
      for (let position = 0; position < bytes; position += block.length) {
        const part = block.subarray(0, Math.min(block.length, bytes - position))
        await weights.readBytes(name, position, part)
        await writer.append(name, part)
        written(part.length)
      }
    }
    await writer.finish()
  } catch (error) {
    await writer.abort()
    throw error
  }
}
