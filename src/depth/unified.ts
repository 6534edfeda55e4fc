import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY } from './fixed-plan.js'
import { allLayers, gapsOf, largestHole } from './plan.js'
import type { Plan } from './policy.js'

/**
 * How many of L layers a target speedup leaves: floor(L / s), at least 2, all of them at 1x. The small term keeps
 * targets such as 1.1x from losing a layer to rounding (33 / 1.1 is 29.999999999999996 in binary).
 */
export function keptLayers(layers: number, target: number): number {
  return Math.min(layers, Math.max(2, Math.floor(layers / target + 1e-9)))
}

/**
 * First and last layer kept, the others evenly spaced (Unified Layer Skipping, arXiv 2404.06954, section 3): layer i of
 * n at i * (L - 1) / (n - 1), rounded, so no two gaps differ by more than one layer.
 */
export function balancedPlan(layers: number, target: number): Plan {
  const n = keptLayers(layers, target)
  if (n === layers) return allLayers(layers)
  // round(a / b) as floor((2a + b) / 2b): exact in whole numbers.
  return Array.from({ length: n }, (_, i) => Math.floor((2 * i * (layers - 1) + n - 1) / (2 * (n - 1))))
}

/**
 * What the paper's published code returns: keep 0 and L - 1, then walk up in steps of int(L / (n - 1)) until n = int(L /
 * s) are kept. Null where n <= 1, where that code divides by zero.
 */
export function referencePlan(layers: number, target: number): Plan | null {
  const n = Math.trunc(layers / target)
  if (n <= 1) return null
  const interval = Math.trunc(layers / (n - 2 + 1))
  const between: number[] = []
  for (let layer = 1; layer < layers - 1 && between.length < n - 2; layer++) {
    if (layer % interval === 0) between.push(layer)
  }
  return [0, ...between, layers - 1]
}

/** The plan for a target speedup. */
export const unified: PolicyDefinition = {
  kind: 'unified',
  usage: 'unified:Sx[,by=layers][,rule=balanced|reference][,prompt=full|plan]',
  summary: 'the first, the last and evenly spaced layers between, for a target speedup S',
  keys: {
    by: 'layers: floor(L / S) layers are kept',
    rule: 'balanced (default): even gaps; reference: as the published code chooses',
    prompt: PROMPT_KEY,
  },
  examples: ['unified:2x', 'unified:1.5x', 'unified:1x', 'unified:3x,rule=reference', 'unified:4x,prompt=plan'],
  parse(args, layers) {
    const target = args.speedup('unified:2x')
    if (args.has('by') && args.choice('by', ['layers', 'time'], 'layers') === 'time') {
      throw args.error('by=time is not available in this version, only by=layers')
    }
    const rule = args.choice('rule', ['balanced', 'reference'], 'balanced')
    if (rule === 'balanced') return fixedPlan(args, `unified:${target}x`, layers, balancedPlan(layers, target))

    const plan = referencePlan(layers, target)
    if (plan === null) {
      const n = Math.trunc(layers / target)
      throw args.error(
        `rule=reference keeps int(${layers} / ${target}) = ${n} layers here and needs 2; use rule=balanced`,
      )
    }
    return fixedPlan(args, `unified:${target}x,rule=reference`, layers, plan, holeNotes(plan))
  },
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
