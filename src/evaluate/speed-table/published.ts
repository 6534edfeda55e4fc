import type { SpeedMethod } from './cases.js'

/** A row of the paper's table; what is not known is null. */
export interface PublishedSpeed {
  readonly target: number
  readonly method: SpeedMethod
  readonly bleu: number
  /** Prompt and new tokens per second of all time, by batch size. */
  readonly tokensPerSecond: Readonly<Record<number, number>>
}

export const PUBLISHED_SETUP =
  'Unified Layer Skipping (arXiv 2404.06954), Table 4: BLOOMZ-7B of 30 layers, fine-tuned for each target, on WMT22, A100 80 GB; prompt and output over all time'

/** Early exit has no figures in batches there. */
export const PUBLISHED_SPEEDS: readonly PublishedSpeed[] = [
  { target: 1, method: 'full', bleu: 23.81, tokensPerSecond: { 1: 51, 2: 92, 8: 303 } },
  { target: 2, method: 'early exit', bleu: 17.82, tokensPerSecond: { 1: 73 } },
  { target: 2, method: 'SkipDecode', bleu: 20.7, tokensPerSecond: { 1: 67, 2: 127, 8: 387 } },
  { target: 2, method: 'unified', bleu: 21.23, tokensPerSecond: { 1: 90, 2: 159, 8: 503 } },
  { target: 5, method: 'early exit', bleu: 10.02, tokensPerSecond: { 1: 167 } },
  { target: 5, method: 'SkipDecode', bleu: 11.52, tokensPerSecond: { 1: 154, 2: 285, 8: 864 } },
  { target: 5, method: 'unified', bleu: 14.87, tokensPerSecond: { 1: 201, 2: 332, 8: 1004 } },
]

/** Times as fast as the published full depth at the same batch size; null where it is not known. */
export function publishedSpeedup({ tokensPerSecond }: PublishedSpeed, batch: number): number | null {
  const own = tokensPerSecond[batch]
  const full = PUBLISHED_SPEEDS[0]?.tokensPerSecond[batch]
  return own === undefined || full === undefined ? null : own / full
}
