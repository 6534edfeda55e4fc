import { median, medianRatio } from '../../calibrate/quantile.js'
import { workOf } from '../../depth/same-layers.js'
import type { Model } from '../../engine/api.js'
import { machineName } from '../machine.js'
import { type SpeedCase, speedCases } from './cases.js'
import { type DecodeSample, measureDecode } from './decode.js'
import { type Quality, type QualityOptions, qualityOf } from './quality.js'

/**
 * What one case gave; figures are medians over the rounds, null where the target cannot be had. Cases that run the same layers
 * at the same batch size are measured once.
 */
export interface SpeedCell extends Omit<SpeedCase, 'policy' | 'plan'> {
  /** The policy's canonical SPEC. */
  readonly depth: string | null
  readonly plan: readonly number[] | null
  readonly meanDepth: number | null
  /** New tokens after each sequence's first, per second of decoding. */
  readonly outputTokensPerSecond: number | null
  /** Prompt and new tokens per second of all time, as the paper counts. */
  readonly allTokensPerSecond: number | null
  /** Over full depth at the same batch size in the same round, by `outputTokensPerSecond`. */
  readonly delivered: number | null
  /** By `allTokensPerSecond`. */
  readonly deliveredAll: number | null
  /** Null where it was not measured. */
  readonly quality: Quality | null
}

/** Targets x methods x batch sizes, in the layout of Unified Layer Skipping's Table 4. */
export interface SpeedTable {
  readonly model: string
  readonly quantization: string
  readonly layers: number
  /** ISO 8601. */
  readonly date: string
  readonly machine: string
  readonly promptLength: number
  readonly maxTokens: number
  readonly rounds: number
  /** What quality was measured on; null where it was not. */
  readonly text: string | null
  readonly tasks: readonly string[]
  readonly cells: readonly SpeedCell[]
}

export interface SpeedTableOptions {
  /** Beside full depth. */
  readonly targets: readonly number[]
  /** The model must have as many slots. */
  readonly batches: readonly number[]
  readonly promptLength: number
  readonly maxTokens: number
  readonly rounds: number
  /** Null to measure speed alone. */
  readonly quality: Omit<QualityOptions, 'signal' | 'onProgress'> | null
  readonly signal?: AbortSignal
  /** What is done now, and the share of it that is done. */
  readonly onProgress?: (what: string, share: number) => void
}

/** Measures the table. Rounds are interleaved: each runs every case once. */
export async function speedTable(model: Model, options: SpeedTableOptions): Promise<SpeedTable> {
  const { targets, batches, promptLength, maxTokens, rounds, signal, onProgress } = options
  const cases = await speedCases(model, targets, batches, {
    maxTokens,
    ...(signal === undefined ? {} : { signal }),
    onMeasure: ({ what, done }) => onProgress?.(what, done),
  })
  const possible = cases.filter(({ policy }) => policy !== null)
  const samples = new Map<string, DecodeSample[]>(possible.map((c) => [runOf(c), []]))
  const runs = [...samples.keys()].map((run) => possible.find((c) => runOf(c) === run)!)
  // The first round builds graphs and wakes the processor; it does not count.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, c] of runs.entries()) {
      const share = (round * runs.length + i) / ((rounds + 1) * runs.length)
      onProgress?.(`${c.policy!.spec}, batch ${c.batch}`, share)
      const how = { promptLength, maxTokens, ...(signal === undefined ? {} : { signal }) }
      const sample = await measureDecode(model, c.policy!, c.batch, how)
      if (round > 0) samples.get(runOf(c))!.push(sample)
    }
  }
  const quality = await measureQuality(model, possible, options)
  const figure = (c: SpeedCase, of: (sample: DecodeSample) => number): number | null =>
    c.policy === null ? null : median(samples.get(runOf(c))!.map(of))
  const cells = cases.map((c): SpeedCell => {
    const { policy, ...rest } = c
    const full = cases.find(({ method, batch }) => method === 'full' && batch === c.batch)
    const ratio = (of: (sample: DecodeSample) => number): number | null =>
      policy === null ? null : medianRatio(samples.get(runOf(c))!.map(of), samples.get(runOf(full!))!.map(of))
    return {
      ...rest,
      depth: policy?.spec ?? null,
      meanDepth: figure(c, (sample) => sample.meanDepth),
      outputTokensPerSecond: figure(c, (sample) => sample.decode),
      allTokensPerSecond: figure(c, (sample) => sample.all),
      delivered: ratio((sample) => sample.decode),
      deliveredAll: ratio((sample) => sample.all),
      quality: (policy && quality?.get(workOf(policy))) ?? null,
    }
  })
  return {
    model: model.name,
    quantization: model.quantization,
    layers: model.hyperparameters.layers,
    date: new Date().toISOString(),
    machine: machineName(),
    promptLength,
    maxTokens,
    rounds,
    text: options.quality?.text.name ?? null,
    tasks: options.quality?.tasks.map(({ name }) => name) ?? [],
    cells,
  }
}

/** What is the same for cases that are measured together. */
function runOf({ batch, policy }: SpeedCase): string {
  return `${batch} ${workOf(policy!)}`
}

async function measureQuality(
  model: Model,
  possible: readonly SpeedCase[],
  { quality, signal, onProgress }: SpeedTableOptions,
): Promise<Map<string, Quality> | null> {
  if (quality === null) return null
  const specs = new Map<string, string>()
  for (const { policy } of possible) if (!specs.has(workOf(policy!))) specs.set(workOf(policy!), policy!.spec)
  const found = await qualityOf(model, [...specs.values()], {
    ...quality,
    ...(signal === undefined ? {} : { signal }),
    onProgress: (share) => onProgress?.('quality', share),
  })
  return new Map([...specs].flatMap(([key, spec]) => (found.has(spec) ? [[key, found.get(spec)!]] : [])))
}
