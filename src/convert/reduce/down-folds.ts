import { setImmediate } from 'node:timers/promises'
import { rowBytes } from '../../checkpoint/tensor-type.js'
import { type Bridge, type BridgeMatrix, checkBridges, gapText } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import { UnsupportedError } from '../../errors.js'
import { downProjection } from '../../families/down-projection.js'
import type { Family } from '../../families/family.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'
import { Backend } from '../../ggml/backend.js'
import { dequantize } from '../../ggml/dequantize.js'
import { RowMap } from '../../ggml/row-algebra.js'

/** Columns that are mapped before the event loop has a turn. */
const BLOCK = 256

export interface FoldOptions {
  readonly threads?: number | undefined
  /** Called now and then; throws where the work is to stop. */
  readonly check?: () => void
}

/** Bridges by the tensor that they change, under its new GGUF name: layer l of the written model is the l-th of the plan. */
export interface DownFold {
  readonly bridge: Bridge
  readonly isBias: boolean
}

/**
 * Where bridges of MLP outputs go: h + s m with m = D x + d becomes h + s (m + W m + b), which is D + W D in the place of D and
 * d + W d + b in the place of d.
 * @param h of the whole model
 * @throws UnsupportedError that names the first bridge that no checkpoint has a place for; InputError for one that does not fit
 */
export function downFolds(
  bridges: readonly Bridge[],
  plan: Plan,
  family: Family,
  h: Hyperparameters,
): ReadonlyMap<string, DownFold> {
  checkBridges(bridges, plan, h.layers, h.hidden)
  const folds = new Map<string, DownFold>()
  for (const bridge of bridges) {
    const name = `the bridge over ${gapText(bridge)}`
    const { from, on, bias } = bridge
    if (on === 'hidden') {
      throw new UnsupportedError(
        `${name} reads the hidden state, which no checkpoint has a place for; fit one with shoal bridge --on mlp`,
      )
    }
    const place = downProjection(family, h, from)
    if (typeof place === 'string') {
      throw new UnsupportedError(`${name} does not fold into layer ${from} of ${family.architecture}: ${place}`)
    }
    if (place.bias === null && bias.some((value) => value !== 0)) {
      throw new UnsupportedError(
        `${name} has a bias, and the down projection of layer ${from} has none; fit it again with shoal bridge --on mlp`,
      )
    }
    const renamed = (tensor: string): string => tensor.replace(/^blk\.\d+\./, `blk.${plan.indexOf(from)}.`)
    folds.set(renamed(place.weight), { bridge, isBias: false })
    if (place.bias !== null) folds.set(renamed(place.bias), { bridge, isBias: true })
  }
  return folds
}

/**
 * Folds a bridge into a down projection or its bias, in place, in float32.
 * @param values [H, F], or [F, H] where `transposed`; a bias is [H, 1]
 */
export async function foldInto(
  values: Float32Array,
  { bridge, isBias }: DownFold,
  { transposed = false, threads, check }: FoldOptions & { readonly transposed?: boolean } = {},
): Promise<void> {
  const { factors, bias } = bridge
  const hidden = bias.length
  const columns = values.length / hidden
  const at = transposed
    ? (row: number, column: number): number => column * hidden + row
    : (row: number, column: number): number => row * columns + column
  const backend = new Backend({ threads })
  const map = new RowMap(backend, factors.map(inFloat32), isBias ? bias : new Float32Array(hidden))
  const column = new Float32Array(hidden)
  try {
    for (let first = 0; first < columns; first += BLOCK) {
      map.each(
        Math.min(BLOCK, columns - first),
        (c) => {
          for (let r = 0; r < hidden; r++) column[r] = values[at(r, first + c)]!
          return column
        },
        (c, mapped) => {
          for (let r = 0; r < hidden; r++) {
            const place = at(r, first + c)
            values[place] = values[place]! + mapped[r]!
          }
        },
      )
      await setImmediate()
      check?.()
    }
  } finally {
    map.dispose()
    await backend.dispose()
  }
}

/** A quantised matrix would have its rows quantised too while it multiplies. */
function inFloat32({ type, columns, rows, data }: BridgeMatrix): BridgeMatrix {
  const values = new Float32Array(rows * columns)
  dequantize(type, data, rows, columns, values)
  return { type: 'f32', columns, rows, data: new Uint8Array(values.buffer, 0, rows * rowBytes('f32', columns)) }
}
