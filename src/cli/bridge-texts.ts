import { createHash } from 'node:crypto'
import { sampledTexts } from '../calibrate/bridges/sampled-texts.js'
import { searchTexts } from '../calibrate/search-texts.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { type Cli, note, UsageError } from './cli.js'
import { bar, createProgressLine } from './progress-line.js'

export interface BridgeTextsOptions {
  /** Undefined where the model samples them. */
  readonly texts?: readonly string[]
  readonly samples: number
  readonly heldOut: number
  readonly window: number
  readonly promptShare: number
  readonly seed: number
}

export interface BridgeTexts {
  readonly fit: readonly ForcedText[]
  readonly heldOut: readonly ForcedText[]
  readonly sha256: string
  /** Null where the model sampled them. */
  readonly files: readonly string[] | null
}

/** Texts that maps are fitted on, and others for a report: of files, or sampled by the model. */
export async function readBridgeTexts(cli: Cli, model: Model, options: BridgeTextsOptions): Promise<BridgeTexts> {
  const { texts: files, samples, heldOut, window, promptShare, seed } = options
  const signal = cli.signal
  if (files !== undefined) {
    const read = await searchTexts(model, files, { samples, heldOut, window, promptShare, seed, signal })
    if (read.cut) note(cli, 'the texts are long: only the beginning of each file was read')
    if (read.search.length < 5) {
      const least = heldOut === 0 ? 'five' : 'ten'
      throw new UsageError(
        `--${heldOut === 0 ? 'lens-' : ''}texts must hold ${least} texts at least${heldOut === 0 ? '' : ', of which half are fitted on'}; plain text is cut into windows of ${window} tokens`,
      )
    }
    return { fit: read.search, heldOut: read.heldOut, sha256: read.sha256, files }
  }
  const count = samples + heldOut
  const line = createProgressLine(cli)
  try {
    const onText = (done: number): void => line.show(`sampling texts ${bar(done / count)} ${done} of ${count}`)
    const all = await sampledTexts(model, { count, window, promptShare, seed, signal, onText })
    const sha256 = createHash('sha256').update(JSON.stringify(all)).digest('hex')
    return { fit: all.slice(0, samples), heldOut: all.slice(samples), sha256, files: null }
  } finally {
    line.clear()
  }
}
