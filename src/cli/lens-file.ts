import { readBridgeFile } from '../convert/bridge-file.js'
import { type BridgeSet, lensIn } from '../depth/bridge.js'
import { lensNotes } from '../depth/lens.js'
import type { Model } from '../engine/api.js'
import { FileError } from '../errors.js'
import { type Cli, noteOnce } from './cli.js'

/** A lens that a command is given, for this model. Throws FileError where the file holds something else. */
export async function readLensFile(cli: Cli, path: string, model: Model): Promise<BridgeSet> {
  const set = await readLens(path)
  const { layers, hidden } = model.hyperparameters
  if (set.layers !== layers || set.hidden !== hidden) {
    throw new FileError(
      path,
      `was made for a model of ${set.layers} layers and ${set.hidden} dimensions, and this one has ${layers} and ${hidden}`,
    )
  }
  for (const line of lensNotes(set, model.fingerprint)) noteOnce(cli, `note: ${line}`)
  return set
}

/** A lens as it is in its file. */
export async function readLens(path: string): Promise<BridgeSet> {
  const set = await readBridgeFile(path)
  if (!lensIn(set)) throw new FileError(path, 'holds bridges of a plan, and no lens; shoal bridge --lens fits one')
  return set
}
