import type { PolicyFile } from '../depth/policy-file.js'
import { exitLayer } from './apply.js'
import { type CrossFit, crossFit } from './cross-fit.js'
import type { FitOptions } from './fit.js'
import type { Target } from './threshold.js'
import type { TraceSet } from './traces.js'

/** Fits after the choice of layers at most: the threshold moves with the layers, and the layers with it. */
const MOST_ROUNDS = 3

/**
 * Fits a policy and chooses the layers that are worth a check: those for which layers and checks together cost the
 * least on the traces.
 * @param checkCost what a check costs, in layers
 */
export function fitChosenLayers(
  traces: TraceSet,
  options: FitOptions,
  target: Target,
  checkCost: number,
  seed = 0,
): PolicyFile {
  // One round of splits is enough to compare sets of layers.
  const fitted = (layers: FitOptions['layers']): CrossFit =>
    crossFit(traces, layers === undefined ? options : { ...options, layers }, target, { rounds: 1, seed })
  const everywhere = fitted(options.layers)
  let best = everywhere
  let current = everywhere
  for (let round = 0; round < MOST_ROUNDS && current.policy.threshold !== null; round++) {
    const layers = chooseLayers(everywhere, current.policy.threshold, traces.layers, checkCost)
    if (layers.length === 0 || String(layers) === String(current.policy.checked_layers)) break
    current = fitted(layers)
    if (meanCost(current, traces.layers, checkCost) < meanCost(best, traces.layers, checkCost)) best = current
  }
  const { policy } = crossFit(traces, { ...options, layers: best.policy.checked_layers }, target, { seed })
  return { ...policy, calibration: policy.calibration && { ...policy.calibration, check_cost: checkCost } }
}

/**
 * The checked layers of least cost at a threshold, by dynamic programming over the last layer that is checked: those who
 * pass it go on to the next. Who passes is taken from that layer alone, which is exact where a value that has risen above
 * the threshold stays there.
 */
export function chooseLayers(
  { policy, decisions }: CrossFit,
  threshold: number,
  layers: number,
  checkCost: number,
): number[] {
  const { checked_layers: checked } = policy
  const passing = checked.map((_, check) => decisions.filter((values) => !(values[check]! > threshold)).length)
  // Least cost up to a check, and the check before it; -1 is the start, where nobody has left.
  const cost: number[] = []
  const before: number[] = []
  const reach = (layer: number, upTo: number, price: number): [least: number, from: number] => {
    let least: [number, number] = [decisions.length * (layer + 1 + price), -1]
    for (let i = 0; i < upTo; i++) {
      const total = cost[i]! + passing[i]! * (layer - checked[i]! + price)
      if (total < least[0]) least = [total, i]
    }
    return least
  }
  for (const [check, layer] of checked.entries()) {
    const [least, from] = reach(layer, check, checkCost)
    cost.push(least)
    before.push(from)
  }
  const chosen: number[] = []
  for (let i = reach(layers - 1, checked.length, 0)[1]; i >= 0; i = before[i]!) chosen.unshift(checked[i]!)
  return chosen
}

/** Layers and checks that an instance runs on average, in layers. */
function meanCost({ policy, decisions }: CrossFit, layers: number, checkCost: number): number {
  const { checked_layers: checked, threshold } = policy
  const total = decisions.reduce((sum, values) => {
    const exit = exitLayer(values, threshold, checked, layers)
    return sum + exit + 1 + checkCost * checked.filter((layer) => layer <= exit).length
  }, 0)
  return total / decisions.length
}
