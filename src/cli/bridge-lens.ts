import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { fitMemory, type MadeBridges } from '../calibrate/bridges/make.js'
import { makeLens } from '../calibrate/bridges/make-lens.js'
import { type BridgeFigures, writeBridgeFile } from '../convert/bridge-file.js'
import { type BridgeType, bridgeType, bridgeUnits } from '../depth/bridge.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { printable } from '../errors.js'
import { type LensQuality, lensQuality } from '../evaluate/lens-figures.js'
import { type BridgeTexts, type BridgeTextsOptions, readBridgeTexts } from './bridge-texts.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { bar, bytesText, createProgressLine } from './progress-line.js'
import { printTable } from './table.js'

export interface LensFitOptions extends BridgeTextsOptions {
  readonly rank?: number | null
  readonly type?: BridgeType
  /** The file of the lens. */
  readonly out: string
  /** Texts of a task that it is fitted on too. */
  readonly prompts?: readonly ForcedText[]
}

export interface FittedLens {
  readonly made: MadeBridges
  readonly texts: BridgeTexts
  /** Null where no texts were held out. */
  readonly quality: LensQuality | null
}

/** Where maps are kept until their file is written. */
export function bridgeJournal(out: string): string {
  return `${out}.bridge.jsonl`
}

/** What maps are to be stored as. Throws UsageError where their rows do not divide into blocks. */
export function storedType(hidden: number, type: BridgeType | undefined): BridgeType {
  if (type === 'q8_0' && hidden % 32 !== 0) {
    throw new UsageError(`--type q8_0 needs rows that divide by 32, and this model has ${hidden}; give f16`)
  }
  return type ?? bridgeType(hidden)
}

/** Fits a lens and writes its file. */
export async function fitLens(cli: Cli, model: Model, options: LensFitOptions): Promise<FittedLens> {
  const { out, rank = null, prompts = [] } = options
  const { layers, hidden } = model.hyperparameters
  const type = storedType(hidden, options.type)
  const read = await readBridgeTexts(cli, model, options)
  const texts =
    prompts.length === 0 ? read : { ...read, fit: [...read.fit, ...prompts], sha256: hashOf([read.sha256, prompts]) }
  note(
    cli,
    `fitting a lens of ${layers - 1} layers on ${texts.fit.length} texts: about ${bytesText(fitMemory(hidden, 0, texts.fit))} beside the model`,
  )
  const made = await withBar(cli, 'fitting', (onProgress) =>
    makeLens(model, texts.fit, {
      rank,
      type,
      signal: cli.signal,
      journal: bridgeJournal(out),
      run: {
        model: model.fingerprint,
        quantization: model.quantization,
        texts: texts.sha256,
        plan: null,
        rank,
        type,
      },
      onProgress,
    }),
  )
  let written = false
  try {
    const bridges = made.fitted.map(({ bridge }) => bridge)
    const quality =
      texts.heldOut.length === 0
        ? null
        : await withBar(cli, 'reading layers', (onProgress) =>
            lensQuality(model, texts.heldOut, bridges, { signal: cli.signal, onProgress }),
          )
    await writeBridgeFile(out, {
      plan: null,
      layers,
      hidden,
      bridges,
      model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
      texts: texts.sha256,
      figures: figuresOf(made, quality),
    })
    written = true
    return { made, texts, quality }
  } finally {
    made.close(written)
  }
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}

/** `shoal bridge --lens`: fits, reports. */
export async function bridgeLens(
  cli: Cli,
  model: Model,
  options: LensFitOptions & { readonly json?: boolean },
): Promise<void> {
  const started = performance.now()
  const { made, texts, quality } = await fitLens(cli, model, options)
  const seconds = (performance.now() - started) / 1000
  const { rank = null, out, seed } = options
  const { layers, hidden } = model.hyperparameters
  const units = bridgeUnits(
    made.fitted.slice(0, 1).map(({ bridge }) => bridge),
    hidden,
  )
  if (options.json) {
    const readings = new Map(quality?.layers.map((reading) => [reading.layer, reading]))
    printJson(cli, {
      model: model.name,
      quantization: model.quantization,
      layers,
      rank,
      texts: texts.files,
      sha256: texts.sha256,
      seed,
      units,
      fit: { texts: texts.fit.length, rows: made.rows },
      held_out: { texts: quality?.texts ?? 0, rows: quality?.rows ?? 0 },
      lens: made.fitted.map(({ bridge: { from: layer }, ridge, unexplained }) => {
        const { raw, lens } = readings.get(layer) ?? {}
        return { layer, ridge, unexplained, raw, lens }
      }),
      out,
      seconds,
    })
    return
  }
  if (quality !== null) {
    printTable(cli, [
      ['layer', 'agreement', 'through the lens', 'KL', 'through the lens'],
      ...quality.layers.map(({ layer, raw, lens }) => [
        String(layer),
        raw.agreement.toFixed(3),
        lens.agreement.toFixed(3),
        raw.kl.toFixed(2),
        lens.kl.toFixed(2),
      ]),
    ])
    cli.stdout.write(
      `agreement with the last layer's best token and KL in nats, on ${quality.rows} rows of ${quality.texts} texts without a part in the fit\n`,
    )
  }
  cli.stdout.write(
    `fitted on ${made.rows} rows in ${seconds.toFixed(0)} s; ${units.toFixed(2)} x ${hidden} x ${hidden} multiply-adds a check\n`,
  )
  cli.stdout.write(
    `written to ${printable(basename(out))}; read through it with --depth gap:0.8,lens=${printable(out)}\n`,
  )
}

function figuresOf({ rows, fitted }: MadeBridges, quality: LensQuality | null): BridgeFigures {
  const figures: Record<string, number> = { fit_rows: rows }
  for (const { bridge, unexplained } of fitted) {
    if (unexplained !== null) figures[`unexplained.${bridge.from}`] = unexplained
  }
  if (quality === null) return figures
  figures.rows = quality.rows
  for (const { layer, raw, lens } of quality.layers) {
    figures[`agreement.${layer}`] = raw.agreement
    figures[`lens_agreement.${layer}`] = lens.agreement
    figures[`kl.${layer}`] = raw.kl
    figures[`lens_kl.${layer}`] = lens.kl
  }
  return figures
}

async function withBar<T>(
  cli: Cli,
  what: string,
  work: (onProgress: (done: number) => void) => Promise<T>,
): Promise<T> {
  const line = createProgressLine(cli)
  const started = performance.now()
  try {
    return await work((done) => {
      const seconds = Math.round(((performance.now() - started) / 1000) * (1 / done - 1))
      line.show(`${what} ${bar(done)} ${seconds} s left`)
    })
  } finally {
    line.clear()
  }
}
