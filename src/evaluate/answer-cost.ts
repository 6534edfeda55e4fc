import { bridgesOf } from '../depth/bridge.js'
import { allLayers, type Plan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { bridgeFlops, checkFlops, headFlops, layerFlops, type ModelSize } from './cost.js'

/** FLOPs of an answer: the prompt's rows and those fed after it through the layers and bridges, the head and exit checks for each row that is read. */
export interface AnswerFlops {
  readonly flops: number
  readonly flopsWithChecks: number
  /** Of the same rows at full depth. */
  readonly full: number
}

/**
 * What was computed: under an exit policy a row also runs the layers that a later one needs of it.
 * @param depths of the prompt's last row and of each token that was fed after it
 * @param policy null for full depth and for controls that check nothing
 */
export function answerFlops(
  size: ModelSize,
  promptTokens: number,
  depths: readonly number[],
  policy: Policy | null,
): AnswerFlops {
  const full = allLayers(size.layers)
  const heads = depths.length * headFlops(size)
  const bridges = policy?.kind === 'skip' ? bridgesOf(policy.bridges ?? [], policy.everyToken ?? [], size.layers) : []
  const bridged = bridges.reduce((sum, bridge) => sum + bridgeFlops(bridge), 0)
  const through = (layersOf: (row: number) => Plan): number => {
    let flops = heads
    for (const row of depths.keys()) {
      // Position p attends to p + 1 positions.
      const [rows, context] = row === 0 ? [promptTokens, (promptTokens + 1) / 2] : [1, promptTokens + row]
      const layers = layersOf(row)
      for (const layer of layers) flops += rows * layerFlops(size, layer, context)
      if (layers.length < size.layers) flops += rows * bridged
    }
    return flops
  }
  const computed = policy?.kind === 'skip' ? null : reachedDepths(depths)
  const flops = through((row) => {
    if (computed !== null) return full.slice(0, computed[row])
    const { prompt, everyToken } = policy as Extract<Policy, { kind: 'skip' }>
    if (row === 0 && prompt === 'full') return full
    return everyToken ?? full.slice(0, Math.round(depths[row]!))
  })
  const checks =
    policy?.kind === 'exit' ? depths.reduce((sum, depth) => sum + flopsOfChecks(size, depth, policy), 0) : 0
  return { flops, flopsWithChecks: flops + checks, full: through(() => full) }
}

/** How far each row gets in the end: as far as any row from it on. */
function reachedDepths(depths: readonly number[]): number[] {
  const reached = [...depths]
  for (let row = reached.length - 2; row >= 0; row--) reached[row] = Math.max(reached[row]!, reached[row + 1]!)
  return reached
}

/** Of one row's checks, beyond its head. */
function flopsOfChecks(size: ModelSize, depth: number, policy: Extract<Policy, { kind: 'exit' }>): number {
  const deepest = depth - 1
  const checks = policy.checkLayers(size.layers).filter((layer) => layer <= deepest)
  const { checkTokens, lens = [] } = policy
  // What a token says is read through its map again, unless its check was of the whole head.
  const said = checkTokens !== undefined || !checks.includes(deepest) ? [deepest] : []
  const maps = [...checks, ...said].flatMap((layer) => lens.find(({ from }) => from === layer) ?? [])
  const read = maps.reduce((sum, map) => sum + bridgeFlops(map), 0)
  if (checkTokens !== undefined) return read + checks.length * checkFlops(size, checkTokens.length)
  // The check that let the token leave is also its head.
  const asHead = checks.includes(deepest) && deepest < size.layers - 1 ? 1 : 0
  return read + checks.length * checkFlops(size) - asHead * headFlops(size)
}
