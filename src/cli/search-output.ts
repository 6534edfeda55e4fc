import type { SearchTexts } from '../calibrate/search-texts.js'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import type { Cli } from './cli.js'

interface SearchedHow {
  readonly texts: readonly string[]
  readonly by?: 'time' | 'layers'
  readonly prompt: 'full' | 'plan'
  readonly seed: number
}

/** What the JSON of every search begins with. */
export function searchHead(
  model: Model,
  { sha256 }: SearchTexts,
  { texts, by = 'time', prompt, seed }: SearchedHow,
  seconds: number,
): object {
  const { name, quantization, hyperparameters } = model
  return { model: name, quantization, layers: hyperparameters.layers, texts, sha256, by, prompt, seed, seconds }
}

/** Where a plan is, and how it is run. */
export function tellWritten(cli: Cli, path: string, prompt: 'full' | 'plan'): void {
  const spec = `plan:${path}${prompt === 'plan' ? ',prompt=plan' : ''}`
  cli.stdout.write(`written to ${printable(path)}; run it with --depth ${printable(spec)}\n`)
}
