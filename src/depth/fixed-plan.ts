import { requireLayers } from './definition.js'
import type { Plan } from './plan.js'
import type { SkipPolicy } from './policy.js'
import type { SpecArguments } from './spec-arguments.js'

/** Meaning of the key `prompt=`, for every policy that has one plan for all tokens. */
export const PROMPT_KEY = 'full (default): the prompt runs every layer; plan: the plan holds there too'

/** What `prompt=` says. */
export function promptOf(args: SpecArguments): 'full' | 'plan' {
  return args.choice('prompt', ['full', 'plan'], 'full')
}

/** A skip policy whose plan is the same for every token. `spec` is canonical but for `prompt=`, which is read here. */
export function fixedPlan(
  args: SpecArguments,
  spec: string,
  layers: number,
  plan: Plan,
  notes: readonly string[] = [],
): SkipPolicy {
  const prompt = promptOf(args)
  const canonical = prompt === 'full' ? spec : `${spec},prompt=plan`
  return {
    kind: 'skip',
    spec: canonical,
    notes,
    prompt,
    everyToken: plan,
    plan(info) {
      requireLayers(canonical, layers, info.layers)
      return plan
    },
  }
}
