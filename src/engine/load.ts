import { availableParallelism, freemem } from 'node:os'
import { cacheFolder } from '../convert/cache-folder.js'
import { countParameters } from '../convert/convert.js'
import { openPackage } from '../convert/package.js'
import { InputError, ShoalError, UnsupportedError } from '../errors.js'
import type { Hyperparameters } from '../families/family.js'
import { familyByArchitecture } from '../families/index.js'
import { Backend } from '../ggml/backend.js'
import { making } from '../ggml/making.js'
import { processors } from '../ggml/processors.js'
import { WeightStore } from '../ggml/weights.js'
import type { CacheType, LoadOptions, Model } from './api.js'
import { chooseBuffers } from './buffer-choice.js'
import { Engine } from './engine.js'
import { refuseUnknownOptions } from './known-options.js'
import { slotCells, wholeSlots } from './kv-cache.js'
import { KvRoom } from './kv-room.js'
import { MachineMemory, machineName } from './machine-memory.js'
import { LoadedModel } from './model.js'
import { openModelText } from './model-text.js'
import { ropeFactors, withRopeTensors } from './rope-factors.js'
import { choosePadding } from './row-padding.js'
import { weightUses } from './weight-uses.js'

const DEFAULT_CONTEXT = 4096
const DEFAULT_SLOTS = 8

/**
 * Loads a model: a folder in Hugging Face's layout (converted on first use), a GGUF file, a bundled model by name, or a
 * model of the Hub (`org/name`, `org/name:Q4_K_M`, `org/name/file.gguf`; fetched into Hugging Face's cache).
 * @throws FileError, UnsupportedError, InputError, HubError; ShoalError `library_missing`, `library_version`, `aborted`
 */
export async function loadModel(model?: string, options: LoadOptions = {}): Promise<Model> {
  refuseUnknownOptions('loadModel', options)
  const { device = 'cpu', threads, slots = DEFAULT_SLOTS, prefixCache = 0, signal, progress } = options
  if (device !== 'cpu') throw new UnsupportedError(`device "${String(device)}" is not supported yet; use cpu`)
  if (threads !== undefined) wholeNumber('threads', threads, 512)
  wholeNumber('slots', slots, 4096)
  wholeNumber('prefixCache', prefixCache, 4096, 0)
  if (options.cacheType !== undefined && !['f32', 'f16'].includes(options.cacheType)) {
    throw new InputError(`cacheType must be f32 or f16, not ${String(options.cacheType)}`)
  }
  const p = await openPackage(model, {
    ...(options.quantization === undefined ? {} : { quantization: options.quantization }),
    ...(options.cacheDir === undefined ? {} : { cacheDir: options.cacheDir }),
    ...(options.revision === undefined ? {} : { revision: options.revision }),
    ...(progress === undefined ? {} : { progress }),
    ...(signal === undefined ? {} : { signal }),
  })
  if (signal?.aborted) throw new ShoalError('aborted', 'loading was aborted', { cause: signal.reason })
  const family = familyByArchitecture(p.gguf.metadata.string('general.architecture'), p.path)
  const h = withRopeTensors(family.fromMetadata(p.gguf.metadata, new Set(p.gguf.tensors.keys())), p.gguf)
  const uses = weightUses(p.gguf, family, h)
  const context = options.context ?? Math.min(h.context, DEFAULT_CONTEXT)
  wholeNumber('context', context, 2 ** 24)
  if (context > (h.learnedPositions ?? context)) {
    throw new InputError(`context ${context} is more than the ${h.learnedPositions} positions that ${p.name} has`)
  }
  const text = await openModelText(p)
  const cacheType = options.cacheType ?? (p.quantization === 'f32' ? 'f32' : 'f16')

  // More threads than processors wait for each other, in native code that nothing can stop.
  const backend = new Backend({ threads: threads && Math.min(threads, availableParallelism()) })
  try {
    const cacheDir = options.cacheDir ?? cacheFolder()
    const memory = await MachineMemory.open(cacheDir)
    const machine = `${machineName(backend)} | ${cacheType} cache`
    const choose = await chooseBuffers(backend, uses, memory)
    const padding = await choosePadding(backend, uses, choose, memory)
    const weights = new WeightStore(backend, p.gguf, uses, choose)
    let engine: Engine | null = null
    try {
      for (const [name, values] of ropeFactors(h, context)) weights.add(name, values)
      // What is left when the weights are there.
      const room = roomOf(h, cacheType, context, options.kvMemory)
      const parts = { backend, family, hyperparameters: h, weights, padding, cacheType, context, mostCells: room.cells }
      engine = making(() => new Engine(parts))
      const parameters = countParameters(family.tensors(h))
      const release = async () => {
        weights.dispose()
        await backend.dispose()
      }
      progress?.({
        status: 'ready',
        name: p.name,
        file: p.path,
        progress: 100,
        loaded: p.gguf.bytes,
        total: p.gguf.bytes,
      })
      return new LoadedModel({
        package: p,
        text,
        warnings: threadWarnings(threads),
        gaveWay: () => backend.gaveWay,
        hyperparameters: h,
        parameters,
        context,
        slots,
        room,
        prefixCache,
        engine,
        cacheDir,
        machine,
        release,
      })
    } catch (error) {
      engine?.dispose()
      weights.dispose()
      throw error
    }
  } catch (error) {
    await backend.dispose()
    throw error
  }
}

/** Cells of the KV cache, in bytes that were given or half of the memory that is available. */
function roomOf(h: Hyperparameters, cacheType: CacheType, context: number, given: number | undefined): KvRoom {
  const values = h.layer.reduce((sum, { state }) => sum + 2 * state.headDim * state.kvHeads, 0)
  const cellBytes = values * (cacheType === 'f32' ? 4 : 2)
  const least = slotCells(1, context) * cellBytes
  if (given === undefined) {
    const available = process.availableMemory?.() ?? freemem()
    return new KvRoom(Math.max(slotCells(context, context), wholeSlots(available / 2 / cellBytes)), cellBytes)
  }
  if (!Number.isSafeInteger(given) || given < least)
    throw new InputError(`kvMemory must be a whole number of bytes, of at least ${least} for this model`)
  return new KvRoom(wholeSlots(given / cellBytes), cellBytes)
}

function threadWarnings(threads: number | undefined): string[] {
  const most = processors()
  if (threads === undefined || threads <= most) return []
  const processorsText = most === 1 ? '1 processor' : `${most} processors`
  return threads > availableParallelism()
    ? [`${threads} threads on ${processorsText} would wait for each other: ${availableParallelism()} compute`]
    : [
        `${threads} threads share ${processorsText}, as far as this process may keep them busy, and will wait for each other`,
      ]
}

function wholeNumber(name: string, value: number, most: number, least = 1): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new InputError(`${name} must be a whole number from ${least} to ${most}`)
  }
}
