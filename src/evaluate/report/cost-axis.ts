import type { Interval } from '../bootstrap.js'
import type { EvalCell } from '../result.js'

/** What accuracy is drawn against. */
export interface CostAxis {
  readonly name: string
  readonly label: string
  /** Narrower data are widened to this span. */
  readonly minSpan: number
  value(cell: EvalCell): Interval | null
  text(value: Interval): string
}

export interface PanelCells {
  readonly title: string
  readonly cells: readonly EvalCell[]
}
