import { availableParallelism, freemem } from 'node:os'
import { cacheFolder } from '../convert/cache-folder.js'
import { countParameters } from '../convert/convert.js'
import { openPackage, type Package } from '../convert/package.js'
import { InputError, ShoalError } from '../errors.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import { familyByArchitecture } from '../families/index.js'
import { Backend } from '../ggml/backend.js'
import { making } from '../ggml/making.js'
import { processors } from '../ggml/processors.js'
import { WeightStore } from '../ggml/weights.js'
import type { LoadOptions } from './api.js'
import { slotCells, wholeSlots } from './cache/kv-cache.js'
import { checkKvType, type KvType, kvElementBytes } from './cache/kv-type.js'
import { LocalService } from './local-service.js'
import type { ModelFacts } from './model.js'
import { type ModelText, openModelText } from './model-text.js'
import { type Climber, decisionText } from './plan/climber.js'
import { passText } from './plan/pass.js'
import { chooseBuffers } from './run/buffer-choice.js'
import { Engine, type PassListener } from './run/engine.js'
import { MachineMemory, machineName } from './run/machine-memory.js'
import { ropeFactors, withRopeTensors } from './run/rope-factors.js'
import { choosePadding } from './run/row-padding.js'
import { weightUses } from './run/weight-uses.js'
import { KvRoom } from './schedule/kv-room.js'
import { WeightsIdentity } from './weights-identity.js'

const DEFAULT_CONTEXT = 4096
/** Options that say how a model computes, not where. */
export type HereOptions = Omit<LoadOptions, 'device' | 'thread' | 'process'>

const DEFAULT_SLOTS = 8

/** A model whose service computes in this thread. */
export interface LoadedHere {
  readonly facts: ModelFacts & { readonly package: Package }
  readonly text: ModelText
  readonly identity: WeightsIdentity
  readonly service: LocalService
}

/**
 * Loads a model into this thread; see `loadModel`.
 * @param opened is told the package before weights are laid out
 */
export async function loadHere(
  model: string | undefined,
  options: HereOptions,
  opened: (p: Package) => void = () => undefined,
): Promise<LoadedHere> {
  const { threads, slots = DEFAULT_SLOTS, prefixCache = 0, signal, progress } = options
  const p = await openPackage(model, {
    ...(options.quantization === undefined ? {} : { quantization: options.quantization }),
    ...(options.cacheDir === undefined ? {} : { cacheDir: options.cacheDir }),
    ...(options.revision === undefined ? {} : { revision: options.revision }),
    ...(progress === undefined ? {} : { progress }),
    ...(signal === undefined ? {} : { signal }),
  })
  if (signal?.aborted) throw new ShoalError('aborted', 'loading was aborted', { cause: signal.reason })
  opened(p)
  const family = familyByArchitecture(p.gguf.metadata.string('general.architecture'), p.path)
  const h = withRopeTensors(family.fromMetadata(p.gguf.metadata, new Set(p.gguf.tensors.keys())), p.gguf)
  const uses = weightUses(p.gguf, family, h)
  const context = options.context ?? Math.min(h.context, DEFAULT_CONTEXT)
  if (context > (h.learnedPositions ?? context)) {
    throw new InputError(`context ${context} is more than the ${h.learnedPositions} positions that ${p.name} has`)
  }
  const text = await openModelText(p)
  const kvType = options.kvType ?? (p.quantization === 'f32' ? 'f32' : 'f16')
  checkKvType(kvType, h, p.name)

  // More threads than processors wait for each other, in native code that nothing can stop.
  const backend = new Backend({ threads: threads && Math.min(threads, availableParallelism()) })
  try {
    const cacheDir = options.cacheDir ?? cacheFolder()
    const memory = await MachineMemory.open(cacheDir)
    const machine = `${machineName(backend)} | ${kvType} cache`
    const choose = await chooseBuffers(backend, uses, memory, signal)
    const padding = await choosePadding(backend, uses, choose, memory, signal)
    const weights = new WeightStore(backend, p.gguf, uses, choose)
    let engine: Engine | null = null
    try {
      for (const [name, values] of ropeFactors(h, context)) weights.add(name, values)
      // What is left when the weights are there.
      const room = roomOf(h, kvType, context, options.kvMemory)
      const parts = {
        backend,
        family,
        hyperparameters: h,
        weights,
        padding,
        kvType,
        context,
        mostCells: room.cells,
        ...(options.onPass === undefined ? {} : { onPass: passListener(options.onPass) }),
      }
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
      const identity = new WeightsIdentity(p.gguf)
      const service = new LocalService({
        text,
        identity,
        quantization: p.quantization,
        gaveWay: () => backend.gaveWay,
        hyperparameters: h,
        context,
        slots,
        room,
        prefixCache,
        engine,
        cacheDir,
        machine,
        release,
      })
      const warnings = [...p.warnings, ...threadWarnings(threads)]
      const facts = { package: p, hyperparameters: h, parameters, context, warnings }
      return { facts, text, identity, service }
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

function passListener(tell: (pass: string) => void): PassListener {
  return (pass, climbers) => {
    const of = (feed: number): Climber => climbers[feed] as Climber
    const last = pass.layers.at(-1) ?? -1
    const names = {
      sequence: (feed: number) => of(feed).sequence.id,
      decides: (feed: number) => decisionText(of(feed), last),
    }
    tell(passText(pass, names))
  }
}

/** Cells of the KV cache, in bytes that were given or half of the memory that is available. */
function roomOf(h: Hyperparameters, kvType: KvType, context: number, given: number | undefined): KvRoom {
  const values = h.layer.reduce((sum, { state }) => sum + 2 * state.headDim * state.kvHeads, 0)
  const cellBytes = values * kvElementBytes(kvType)
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
