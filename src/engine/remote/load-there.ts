import { readGguf } from '../../checkpoint/gguf.js'
import type { Package } from '../../convert/package.js'
import { triedOn } from '../../depth/raw-lens.js'
import type { Model, ProgressInfo } from '../api.js'
import type { HereOptions } from '../load-here.js'
import { LoadedModel } from '../model.js'
import { type ModelText, openModelText } from '../model-text.js'
import { WeightsIdentity } from '../weights-identity.js'
import type { Calls, WirePackage } from './calls.js'
import { RemoteService } from './remote-service.js'
import { type Handlers, type Place, Runner } from './runner.js'

/** Text and weights of a package, read again on the caller's side. */
interface OpenedPackage {
  readonly package: Package
  readonly text: ModelText
}

/** Loads a model into a thread or a process of its own; see `loadModel`. */
export async function loadThere(
  model: string | undefined,
  { signal, progress, onPass: _onPass, ...options }: HereOptions,
  place: Place,
): Promise<Model> {
  let opening: Promise<OpenedPackage> | null = null
  const runner = new Runner(place)
  try {
    const handlers: Handlers = {
      progress: (info: ProgressInfo) => progress?.(info),
      // Beside the rest of the loading.
      package: (p: WirePackage) => {
        opening ??= open(p)
        opening.catch(() => undefined)
      },
    }
    const args = { model, options, wantsProgress: progress !== undefined }
    const facts = await runner.call('load', args, { handlers, signal })
    if (opening === null) throw new Error('a model was loaded and no package opened')
    const { package: p, text } = await (opening as Promise<OpenedPackage>)
    const identity = new WeightsIdentity(p.gguf)
    const known = {
      layers: facts.hyperparameters.layers,
      fingerprint: () => identity.fingerprint,
      knownFirstCheck: () => (text.tokenizer === null || triedOn(identity.fingerprint) ? 0 : null),
    }
    // The same file, whatever its name has come to mean.
    const { quantization: _quantization, revision: _revision, ...again } = options
    const restart = { model: p.path, options: again, wantsProgress: false }
    const service = new RemoteService(runner, known, () => startAgain(place, restart))
    return new LoadedModel({ ...facts, package: p }, text, identity, service)
  } catch (error) {
    await runner.terminate()
    const opened = await (opening as Promise<OpenedPackage> | null)?.catch(() => null)
    opened?.text.tokenizer?.dispose()
    throw error
  }
}

async function open(p: WirePackage): Promise<OpenedPackage> {
  const whole = { ...p, gguf: await readGguf(p.path) }
  return { package: whole, text: await openModelText(whole) }
}

async function startAgain(place: Place, args: Calls['load']['args']): Promise<Runner> {
  const runner = new Runner(place)
  try {
    await runner.call('load', args)
    return runner
  } catch (error) {
    await runner.terminate()
    throw error
  }
}
