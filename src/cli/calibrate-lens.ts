import { existsSync } from 'node:fs'
import type { BridgeSet } from '../depth/bridge.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { printable } from '../errors.js'
import { fitLens } from './bridge-lens.js'
import { type Cli, note } from './cli.js'
import { readLensFile } from './lens-file.js'

/** As `shoal bridge --lens` has them. */
const FIT = { samples: 48, heldOut: 0, window: 256, promptShare: 0.125 } as const

export interface CalibrateLensOptions {
  /** A file, or true for one that is fitted. */
  readonly lens?: string | true
  /** Texts that it is fitted on; default texts that the model samples. */
  readonly lensTexts?: readonly string[]
  /** The policy file. */
  readonly out: string
  readonly seed: number
}

/** Where a lens is written that is fitted for a policy. */
export function lensBeside(out: string): string {
  return `${out.replace(/(\.policy)?\.json$/, '')}.lens.gguf`
}

/**
 * The lens that a policy is calibrated with: of a file, or fitted and written beside the policy.
 * @param prompts texts that it is fitted on beside the others
 */
export async function calibrateLens(
  cli: Cli,
  model: Model,
  prompts: readonly ForcedText[],
  { lens, lensTexts: texts, out, seed }: CalibrateLensOptions,
): Promise<BridgeSet | undefined> {
  if (lens === undefined) return undefined
  if (lens !== true) return await readLensFile(cli, lens, model)
  const path = lensBeside(out)
  if (existsSync(path)) note(cli, `taking the lens ${printable(path)}, which is there; remove it to have one fitted`)
  else await fitLens(cli, model, { ...FIT, out: path, seed, prompts, ...(texts === undefined ? {} : { texts }) })
  return await readLensFile(cli, path, model)
}
