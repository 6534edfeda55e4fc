import type { Interval } from '../result.js'

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

/** `0.71 [0.68, 0.74]` */
export function interval(value: Interval | null, decimals: number, number = fixed): string {
  if (value === null || !Number.isFinite(value.mean)) return NONE
  const mean = number(value.mean, decimals)
  if (!Number.isFinite(value.low) || !Number.isFinite(value.high)) return mean
  return `${mean} [${number(value.low, decimals)}, ${number(value.high, decimals)}]`
}

/** Decimals that give a time three figures: 0.853, 12.4, 310. */
export function timeDecimals(ms: number): number {
  return ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : 3
}

/** 1234567 as `1,234,567`. */
export function grouped(value: number): string {
  return Number.isFinite(value) ? value.toLocaleString('en-US') : NONE
}
