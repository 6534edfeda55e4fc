import { type Bridge, type BridgeSet, bridgesOf, bridgeUnits, planGaps } from './bridge.js'
import { loadedBridges, neededBridges } from './bridge-source.js'
import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY, promptOf } from './fixed-plan.js'
import { foreignModelNotes } from './foreign-model.js'
import { type Measurement, MOST_BATCH, type StepCosts, stepMs } from './measurement.js'
import { allLayers, gapsOf, largestHole, type Plan } from './plan.js'
import type { SpecArguments } from './spec-arguments.js'

/**
 * How many of L layers a target speedup leaves: floor(L / s), at least 2, all of them at 1x. The small term keeps
 * targets such as 1.1x from losing a layer to rounding (33 / 1.1 is 29.999999999999996 in binary).
 */
export function keptLayers(layers: number, target: number): number {
  return Math.min(layers, Math.max(2, Math.floor(layers / target + 1e-9)))
}

/**
 * n layers, first and last among them, the others evenly spaced (Unified Layer Skipping, arXiv 2404.06954, section 3):
 * layer i of n at i * (L - 1) / (n - 1), rounded, so no two gaps differ by more than one layer. n = 1 is the first alone.
 */
export function balancedPlan(layers: number, n: number): Plan {
  if (n >= layers) return allLayers(layers)
  if (n <= 1) return [0]
  // round(a / b) as floor((2a + b) / 2b): exact in whole numbers.
  return Array.from({ length: n }, (_, i) => Math.floor((2 * i * (layers - 1) + n - 1) / (2 * (n - 1))))
}

/**
 * What the paper's published code returns for n = int(L / s): keep 0 and L - 1, then walk up in steps of int(L / (n - 1))
 * until n are kept. Null where n <= 1, where that code divides by zero.
 */
export function referencePlan(layers: number, n: number): Plan | null {
  if (n <= 1) return null
  const interval = Math.trunc(layers / (n - 2 + 1))
  const between: number[] = []
  for (let layer = 1; layer < layers - 1 && between.length < n - 2; layer++) {
    if (layer % interval === 0) between.push(layer)
  }
  return [0, ...between, layers - 1]
}

/**
 * The most layers, from 2 to all, with which a step is predicted to be `target` times as fast as at full depth; null where
 * even 2 are too slow.
 * @param bridges in units of H x H that a plan of so many layers has
 */
export function layersInTime(
  costs: StepCosts,
  target: number,
  bridges: (count: number) => number = () => 0,
): number | null {
  for (let n = costs.layers; n >= fewest(costs.layers); n--)
    if (speedupOf(costs, n, bridges(n)) >= target - 1e-9) return n
  return null
}

/**
 * How many times as fast as full depth a step with `count` layers is predicted to be.
 * @param bridges in units of H x H
 */
export function speedupOf(costs: StepCosts, count: number, bridges = 0): number {
  return costs.fullMs / stepMs(costs, count, bridges)
}

function fewest(layers: number): number {
  return Math.min(2, layers)
}

/** The plan for a target speedup. */
export const unified: PolicyDefinition = {
  kind: 'unified',
  usage: 'unified:Sx[,batch=N][,by=time|layers][,rule=balanced|reference][,bridge=FILE][,prompt=full|plan]',
  summary: 'the plan of the first, the last and evenly spaced layers between, for a target speedup S of decoding',
  keys: {
    batch: 'sequences at once that the speedup holds for (default 1)',
    by: 'time (default where a model is loaded): the most layers that meet S in measured time; layers: floor(L / S)',
    rule: 'balanced (default): even gaps; reference: as the published code chooses',
    bridge: 'file of bridges over the gaps of this plan (shoal bridge); their time counts in S',
    prompt: PROMPT_KEY,
  },
  // Costs are measured, and an example has to fit everywhere.
  examples: [
    'unified:2x,by=layers',
    'unified:1.5x,by=layers',
    'unified:1x,by=layers',
    'unified:3x,by=layers,rule=reference',
    'unified:4x,by=layers,prompt=plan',
  ],
  needs(args) {
    const { by, batch, bridge } = readArguments(args)
    promptOf(args)
    const costs: Measurement[] = by === 'layers' ? [] : [{ kind: 'costs', batch }]
    return bridge === null ? costs : [...costs, neededBridges(bridge)]
  },
  parse(args, layers, model) {
    const { target, by, batch, rule, bridge } = readArguments(args)
    const over = bridge === null ? null : loadedBridges(args, model, bridge)
    const unitsOf = (n: number): number => (over === null ? 0 : unitsFor(over, balancedPlan(layers, n)))
    const costs = by === 'layers' ? undefined : model?.costs?.(batch)
    if (by === 'time' && costs === undefined) {
      throw args.error('by=time needs a model that is loaded; without one the target counts layers')
    }
    const n = costs === undefined ? countedLayers(layers, target, rule) : layersInTime(costs, target, unitsOf)
    if (n === null) throw args.error(refusal(costs as StepCosts))
    const plan = rule === 'balanced' ? balancedPlan(layers, n) : referencePlan(layers, n)
    if (plan === null) {
      throw args.error(
        `rule=reference keeps int(${layers} / ${target}) = ${n} layers here and needs 2; use rule=balanced`,
      )
    }
    const kind = costs === undefined ? ',by=layers' : batch === 1 ? '' : `,batch=${batch}`
    const bridges = over === null ? [] : bridgesFor(args, over, plan, layers)
    const file = over === null ? '' : `,bridge=${bridge}`
    const spec = `unified:${target}x${kind}${rule === 'balanced' ? '' : ',rule=reference'}${file}`
    const made = over && { name: over.modelName, fingerprint: over.model, layers }
    const notes = [
      ...(rule === 'balanced' ? [] : holeNotes(plan)),
      ...(over === null || made === null ? [] : foreignModelNotes(over.path, made, model?.fingerprint)),
    ]
    const policy = {
      ...fixedPlan(args, spec, layers, plan, notes),
      ...(over === null ? {} : { bridges, source: over.source }),
    }
    if (costs === undefined) return policy
    const units = over === null ? 0 : bridgeUnits(bridges, over.hidden)
    return { ...policy, speedup: { target, predicted: speedupOf(costs, n, units), batch, fullMs: costs.fullMs } }
  },
}

function readArguments(args: SpecArguments) {
  const target = args.speedup('unified:2x')
  const by = args.has('by') ? args.choice('by', ['layers', 'time'], 'time') : null
  const batch = args.wholeOption('batch', 1, MOST_BATCH)
  if (by === 'layers' && batch !== null) throw args.error('batch= is for by=time: layers are the same for every batch')
  const rule = args.choice('rule', ['balanced', 'reference'], 'balanced')
  const bridge = args.textOption('bridge')
  return { target, by, batch: batch ?? 1, rule, bridge } as const
}

/** H x H maps that a plan has where every gap is bridged as in a file. */
function unitsFor(set: BridgeSet, plan: Plan): number {
  const { bridges, layers, hidden } = set
  return (planGaps(plan, layers).length * bridgeUnits(bridges, hidden)) / Math.max(1, bridges.length)
}

/** The bridges of a file over a plan's gaps. Throws SpecError where the file is for other layers. */
function bridgesFor(
  args: SpecArguments,
  { path, plan: made, bridges }: BridgeSet,
  plan: Plan,
  layers: number,
): Bridge[] {
  if (made?.join() === plan.join()) return bridgesOf(bridges, plan, layers)
  const what = made === null ? 'a lens' : `bridges for layers ${made.join(',')}`
  throw args.error(
    `${path} holds ${what}, and these are layers ${plan.join(',')}; shoal bridge fits them, or plan:${path} runs those of the file`,
  )
}

function countedLayers(layers: number, target: number, rule: 'balanced' | 'reference'): number {
  return rule === 'balanced' ? keptLayers(layers, target) : Math.trunc(layers / target)
}

function refusal(costs: StepCosts): string {
  const n = fewest(costs.layers)
  // Rounded down, so that what is named can be had.
  const largest = Math.max(1, Math.floor(speedupOf(costs, n) * 100) / 100)
  const batch = costs.batch === 1 ? '' : ` at batch ${costs.batch}`
  return `${n} of ${costs.layers} layers are ${largest}x as fast as all of them on this machine${batch}: the largest target is ${largest}x`
}

/** The reference rule stops walking at n layers: what is left before the last layer is left out in one piece. */
function holeNotes(plan: Plan): string[] {
  const gaps = gapsOf(plan)
  const hole = largestHole(plan)
  if (hole === null || Math.max(...gaps) - Math.min(...gaps) <= 1) return []
  const { first, last } = hole
  const which = first === last ? `layer ${first}` : `layers ${first} to ${last}`
  return [`rule=reference leaves out ${which} in one piece; rule=balanced spaces the layers evenly`]
}
