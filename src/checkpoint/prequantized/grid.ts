import type { SafetensorsTensor, TensorSource } from '../safetensors.js'
import type { ScaleRows } from './coded-matrix.js'
import { readScaleValues, sameShape } from './parts.js'

/** How the scales of a matrix lie: one for a block of so many rows and columns. */
export interface ScaleGrid {
  readonly rowsPerScale: number
  readonly columnsPerScale: number
  /** Scales of one row. */
  readonly groups: number
}

/** One scale for all, for each row, or for each group of columns in each row. */
export function tensorGrid(rows: number, columns: number): ScaleGrid {
  return { rowsPerScale: Math.max(1, rows), columnsPerScale: Math.max(1, columns), groups: 1 }
}

export function channelGrid(columns: number): ScaleGrid {
  return { rowsPerScale: 1, columnsPerScale: Math.max(1, columns), groups: 1 }
}

/** A scale for each block of `height` rows and `width` columns; the last ones of a row and column may be cut. */
export function blockGrid(columns: number, height: number, width: number): ScaleGrid {
  return { rowsPerScale: height, columnsPerScale: width, groups: Math.ceil(columns / width) }
}

/** Shapes that a part with the scales of such a matrix may have. */
export function gridShapes(
  { rowsPerScale, columnsPerScale, groups }: ScaleGrid,
  rows: number,
  columns: number,
): number[][] {
  const height = Math.ceil(rows / rowsPerScale)
  const shapes = [[height, groups]]
  if (columnsPerScale >= columns && groups === 1) shapes.push([height])
  if (height === 1 && groups === 1) shapes.push([])
  return shapes
}

/** Whether a part can hold the scales of such a grid. */
export function fitsGrid(part: SafetensorsTensor, grid: ScaleGrid, rows: number, columns: number): boolean {
  return gridShapes(grid, rows, columns).some((shape) => sameShape(shape, part.shape))
}

/** Rows of scales `start` .. of a part that is stored as the grid. */
export async function readGridRows(
  weights: TensorSource,
  part: SafetensorsTensor,
  { groups }: ScaleGrid,
  start: number,
  count: number,
): Promise<ScaleRows> {
  return { scales: await readScaleValues(weights, part, start * groups, count * groups), zeros: null }
}
