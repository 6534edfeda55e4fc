import { InputError, UnsupportedError } from '../errors.js'
import type { LoadOptions, Model } from './api.js'
import { KV_TYPES } from './cache/kv-type.js'
import { refuseUnknownOptions } from './known-options.js'
import { loadHere } from './load-here.js'
import { LoadedModel } from './model.js'
import { loadThere } from './remote/load-there.js'

/**
 * Loads a model: a folder in Hugging Face's layout (converted on first use), a GGUF file, a bundled model by name, or a
 * model of the Hub (`org/name`, `org/name:Q4_K_M`, `org/name/file.gguf`; fetched into Hugging Face's cache).
 * @throws FileError, UnsupportedError, InputError, HubError; ShoalError `library_missing`, `library_version`, `aborted`, `runner_lost`
 */
export async function loadModel(model?: string, options: LoadOptions = {}): Promise<Model> {
  refuseUnknownOptions('loadModel', options)
  const { device = 'cpu', thread = true, process = false, ...rest } = options
  if (device !== 'cpu') throw new UnsupportedError(`device "${String(device)}" is not supported yet; use cpu`)
  if (typeof thread !== 'boolean' || typeof process !== 'boolean')
    throw new InputError('thread and process must be true or false; the number that compute is threads')
  checkOptions(rest)
  if (rest.onPass !== undefined && (thread || process)) throw new InputError('onPass goes with thread: false')
  if (thread || process) return loadThere(model, rest, process ? 'process' : 'thread')
  const { facts, text, identity, service } = await loadHere(model, rest)
  return new LoadedModel(facts, text, identity, service)
}

function checkOptions({ threads, slots, prefixCache, context, kvType }: LoadOptions): void {
  if (threads !== undefined) wholeNumber('threads', threads, 512)
  if (slots !== undefined) wholeNumber('slots', slots, 4096)
  if (prefixCache !== undefined) wholeNumber('prefixCache', prefixCache, 4096, 0)
  if (context !== undefined) wholeNumber('context', context, 2 ** 24)
  if (kvType !== undefined && !KV_TYPES.includes(kvType)) {
    throw new InputError(`kvType must be one of ${KV_TYPES.join(', ')}, not ${String(kvType)}`)
  }
}

function wholeNumber(name: string, value: number, most: number, least = 1): void {
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    throw new InputError(`${name} must be a whole number from ${least} to ${most}`)
  }
}
