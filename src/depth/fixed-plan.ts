import { requireLayers } from './definition.js'
import type { Plan, SkipPolicy } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/** Meaning of the key `prompt=`, for every policy that has one plan for all tokens. */
export const PROMPT_KEY = 'full (default): the prompt runs every layer; plan: the plan holds there too'

/** A skip policy whose plan is the same for every token. `spec` is canonical but for `prompt=`, which is read here. */
export function fixedPlan(
  args: SpecArguments,
  spec: string,
  layers: number,
  plan: Plan,
  notes: readonly string[] = [],
): SkipPolicy {
  const prompt = args.choice('prompt', ['full', 'plan'], 'full')
  const canonical = prompt === 'full' ? spec : `${spec},prompt=plan`
  return {
    kind: 'skip',
    spec: canonical,
    notes,
    prompt,
    plan(info) {
      requireLayers(canonical, layers, info.layers)
      return plan
    },
  }
}
