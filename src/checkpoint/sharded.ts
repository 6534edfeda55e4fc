import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FileError, UnsupportedError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject } from '../json.js'
import { openSafetensors, type SafetensorsFile, type SafetensorsTensor, type TensorSource } from './safetensors.js'
import { readJsonFile } from './text-file.js'

const SINGLE = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

/** The weight files of a Hugging Face folder: one file, or the shards that its index names, in order of name. */
export async function weightFiles(folder: string): Promise<string[]> {
  if (existsSync(join(folder, SINGLE))) return [join(folder, SINGLE)]
  const index = join(folder, INDEX)
  if (existsSync(index)) return [...new Set((await readWeightMap(index)).values())].sort().map((n) => join(folder, n))
  if (existsSync(join(folder, 'pytorch_model.bin')) || existsSync(join(folder, 'pytorch_model.bin.index.json'))) {
    throw new UnsupportedError(`${folder}: has pytorch_model.bin only; Shoal reads safetensors`)
  }
  throw new FileError(folder, `has neither ${SINGLE} nor ${INDEX}`, 'file_missing')
}

/** Opens the weights of a Hugging Face folder. A tensor that is not where the index says is an error. */
export async function openWeights(folder: string): Promise<TensorSource> {
  const files = await weightFiles(folder)
  const single = files[0]
  if (files.length === 1 && single === join(folder, SINGLE)) return openSafetensors(single)

  const index = join(folder, INDEX)
  const weightMap = await readWeightMap(index)
  const shards = new Map<string, SafetensorsFile>()
  try {
    for (const file of files) shards.set(file, await openSafetensors(file))
    return gather(index, folder, weightMap, shards)
  } catch (error) {
    await closeAll(shards)
    throw error
  }
}

function gather(
  index: string,
  folder: string,
  weightMap: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, SafetensorsFile>,
): TensorSource {
  const tensors = new Map<string, SafetensorsTensor>()
  const homes = new Map<string, SafetensorsFile>()
  for (const [name, file] of weightMap) {
    const shard = shards.get(join(folder, file))
    const tensor = shard?.tensors.get(name)
    if (shard === undefined || tensor === undefined) {
      throw new FileError(join(folder, file), `has no tensor ${name}, though ${INDEX} says so`)
    }
    tensors.set(name, tensor)
    homes.set(name, shard)
  }
  const home = (name: string): SafetensorsFile => {
    const shard = homes.get(name)
    if (shard === undefined) throw new FileError(index, `names no tensor ${name}`)
    return shard
  }
  return {
    tensors,
    fileOf: (name) => home(name).path,
    readFloats: async (name, rows, out) => home(name).readFloats(name, rows, out),
    readBytes: async (name, position, into) => home(name).readBytes(name, position, into),
    readIntegers: async (name) => home(name).readIntegers(name),
    close: () => closeAll(shards),
  }
}

/** Tensor name to shard; shards are plain names of files in the same folder. */
async function readWeightMap(index: string): Promise<Map<string, string>> {
  const { weight_map: map } = await readJsonFile(index, CONFIG_LIMITS)
  if (!isJsonObject(map)) throw new FileError(index, 'has no weight_map')
  const weightMap = new Map<string, string>()
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !/^[^/\\:\0]+\.safetensors$/.test(file)) {
      throw new FileError(
        index,
        `weight_map gives ${JSON.stringify(file)} for ${name}, not a safetensors file beside it`,
      )
    }
    weightMap.set(name, file)
  }
  if (weightMap.size === 0) throw new FileError(index, 'weight_map is empty')
  return weightMap
}

async function closeAll(shards: ReadonlyMap<string, SafetensorsFile>): Promise<void> {
  for (const shard of shards.values()) await shard.close()
}
