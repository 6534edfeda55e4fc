import { FEW, type Interval } from '../bootstrap.js'

/** What stands where there is no number. */
export const NONE = '–'

/** A number with fixed decimals; never `-0.00`. */
export function fixed(value: number | null, decimals: number): string {
  if (value === null || !Number.isFinite(value)) return NONE
  const text = value.toFixed(decimals)
  return Number(text) === 0 ? text.replace('-', '') : text
}

/** A difference: positive ones carry their sign. */
export function signed(value: number | null, decimals: number): string {
  const text = fixed(value, decimals)
  return text !== NONE && Number(text) > 0 ? `+${text}` : text
}

/** `0.71 [0.68, 0.74]`, and `0.71 [0.60, 0.82] (n 12)` of few units: more stand in a column of their own. */
export function interval(value: Interval | null, decimals: number, number = fixed): string {
  if (value === null || !Number.isFinite(value.mean)) return NONE
  const { low, high, n } = value
  const mean = number(value.mean, decimals)
  const ends = Number.isFinite(low) && Number.isFinite(high)
  return `${mean}${ends ? ` [${number(low, decimals)}, ${number(high, decimals)}]` : ''}${n < FEW ? ` (n ${n})` : ''}`
}

/** Decimals that give a time three figures: 0.853, 12.4, 310. */
export function timeDecimals(ms: number): number {
  return ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : 3
}

/** 1234567 as `1,234,567`. */
export function grouped(value: number): string {
  return Number.isFinite(value) ? value.toLocaleString('en-US') : NONE
}
