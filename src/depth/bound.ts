/** A bound on the disagreement with full depth that holds with `confidence` (see calibrate/bound.ts). */
export interface Bound {
  readonly max_disagreement: number
  readonly confidence: number
  /** What is drawn: single answers, or sequences of generated tokens. */
  readonly unit: 'answer' | 'sequence'
  /** `any`: share of units in which some token differs; `mean`: mean share of tokens that differ. */
  readonly measure: 'any' | 'mean'
  readonly units: number
  readonly tasks: readonly string[]
  /** False where no threshold passed; then every token runs all layers. */
  readonly holds: boolean
  /** Thresholds tested until the first failure, safest first, and how many there were. */
  readonly tested: number
  readonly thresholds: number
  /** At the chosen threshold; null where none passed. */
  readonly disagreement: number | null
  readonly p_value: number | null
  readonly mean_layers: number
  /** Units that this bound needs at least. */
  readonly units_needed: number
}
