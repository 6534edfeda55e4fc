import type { Plan } from '../../depth/plan.js'
import type { Policy } from '../../depth/policy.js'
import type { Model, PolicyOptions } from '../../engine/api.js'
import { SpecError } from '../../errors.js'
import { depthExtent } from '../cost.js'

export const SPEED_METHODS = ['full', 'early exit', 'SkipDecode', 'unified'] as const
export type SpeedMethod = (typeof SPEED_METHODS)[number]

/** One method for one target at one batch size. */
export interface SpeedCase {
  readonly target: number
  readonly method: SpeedMethod
  readonly batch: number
  /** Null where the target cannot be had. */
  readonly policy: Policy | null
  /** Why not. */
  readonly reason: string | null
  /** Layers of every token, where they are the same. */
  readonly plan: Plan | null
  /** What measured costs say; null where no speedup in time was planned. */
  readonly predicted: number | null
}

/**
 * The cases of the paper's Table 4. Unified is planned for each batch size; early exit stops after as many layers as it
 * keeps, SkipDecode runs L / target on average.
 */
export async function speedCases(
  model: Model,
  targets: readonly number[],
  batches: readonly number[],
  { maxTokens, ...options }: PolicyOptions & { readonly maxTokens: number },
): Promise<SpeedCase[]> {
  const cases: SpeedCase[] = []
  const resolve = async (target: number, method: SpeedMethod, batch: number, spec: string): Promise<SpeedCase> => {
    const key = { target, method, batch }
    try {
      const policy = await model.policy(spec, options)
      const { stages } = depthExtent(policy, model.hyperparameters.layers, maxTokens)
      const plan = stages.length === 1 ? (stages[0]?.layers ?? null) : null
      const predicted = policy.kind === 'skip' ? (policy.speedup?.predicted ?? null) : null
      return { ...key, policy, reason: null, plan, predicted }
    } catch (error) {
      if (!(error instanceof SpecError)) throw error
      return { ...key, policy: null, reason: error.message, plan: null, predicted: null }
    }
  }
  for (const batch of batches) {
    cases.push(await resolve(1, 'full', batch, 'full'))
    for (const target of targets) {
      const unified = await resolve(
        target,
        'unified',
        batch,
        `unified:${target}x${batch === 1 ? '' : `,batch=${batch}`}`,
      )
      const exit =
        unified.plan === null
          ? { ...unified, method: 'early exit' as const }
          : await resolve(target, 'early exit', batch, `exit:${unified.plan.length - 1}`)
      cases.push(exit, await resolve(target, 'SkipDecode', batch, `skipdecode:${target}x`), unified)
    }
  }
  return cases
}
