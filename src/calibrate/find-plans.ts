import { basename } from 'node:path'
import type { RunFacts } from '../checkpoint/journal.js'
import { allLayers, type Plan } from '../depth/plan.js'
import type { PromptPass } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import { SpecError } from '../errors.js'
import { PlanEvaluations } from './plan-evaluations.js'
import { type FoundPlan, searchPlan } from './plan-search.js'
import type { SearchTexts, SearchTextsOptions } from './search-texts.js'

export interface FindPlansOptions {
  /** Target speedups. */
  readonly targets: readonly number[]
  /** Whether a speedup is of measured time, or L over the number of layers; default as `unified:Sx` has it. */
  readonly by?: 'time' | 'layers'
  /** What the prompts run. */
  readonly prompt: 'full' | 'plan'
  readonly beam?: number
  /** Where evaluations are kept until they are not needed any more; null to keep none. */
  readonly journal: string | null
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: FindProgress) => void
  /** Called where the journal holds evaluations of an earlier run. */
  readonly onKept?: (sets: number) => void
}

export interface FindProgress {
  readonly target: number
  /** Sets that were tried for this target, and how many more there may be. */
  readonly tried: number
  readonly left: number
}

/** What was found for one target. */
export interface FoundTarget extends FoundPlan {
  readonly target: number
  readonly balanced: Plan
  /** Loss at full depth on the texts that the search saw, in nats per token. */
  readonly fullLoss: number
}

export interface FoundPlans {
  readonly targets: readonly FoundTarget[]
  /** Sets that were evaluated, on all texts or a part of them. */
  readonly evaluated: number
  /** Per found plan and text that the search saw: summed loss in nats. */
  readonly each: ReadonlyMap<FoundTarget, readonly number[]>
  /** Per text: what the model says at full depth after the prompt. */
  readonly passes: readonly PromptPass[]
  /** To be called in the end; with true where the results are kept elsewhere. */
  close(remove: boolean): void
}

/** Finds a set of layers for each target. An interrupted search goes on from its journal. */
export async function findPlans(
  model: Model,
  texts: SearchTexts,
  drawn: Omit<SearchTextsOptions, 'signal'>,
  options: FindPlansOptions,
): Promise<FoundPlans> {
  const { targets, prompt, signal, onProgress, beam } = options
  const { layers } = model.hyperparameters
  const losses = model.planLosses(texts.search, { prompt })
  try {
    const evaluations = new PlanEvaluations(
      losses,
      texts.search,
      options.journal,
      searchFacts(model, texts, drawn, prompt),
    )
    if (evaluations.count > 0) options.onKept?.(evaluations.count)
    try {
      const found: FoundTarget[] = []
      for (const target of targets) {
        const balanced = await balancedPlan(model, target, options)
        const plan = await searchPlan(
          {
            layers,
            balanced,
            ...(beam === undefined ? {} : { beam }),
            onProgress: (tried, left) => onProgress?.({ target, tried, left }),
          },
          (set, part) => evaluations.loss(set, part, signal),
        )
        const fullLoss = await evaluations.loss(allLayers(layers), 'all', signal)
        found.push({ ...plan, target, balanced, fullLoss })
      }
      const each = new Map<FoundTarget, readonly number[]>()
      for (const one of found) each.set(one, await evaluations.each(one.plan))
      const passes = await losses.prompts(signal)
      return {
        targets: found,
        evaluated: evaluations.count,
        each,
        passes,
        close: (remove) => evaluations.close(remove),
      }
    } catch (error) {
      evaluations.close(false)
      throw error
    }
  } finally {
    await losses.dispose()
  }
}

/** The policy whose plan has as many layers as a target leaves. */
export function unifiedSpec(target: number, by: 'time' | 'layers' | undefined): string {
  return `unified:${target}x${by === undefined ? '' : `,by=${by}`}`
}

/** The balanced set of a target, from the policy that users would compare with. */
async function balancedPlan(model: Model, target: number, { by, signal }: FindPlansOptions): Promise<Plan> {
  const spec = unifiedSpec(target, by)
  const policy = await model.policy(spec, signal === undefined ? {} : { signal })
  if (policy.kind !== 'skip' || policy.everyToken === undefined) throw new SpecError(`depth "${spec}" has no plan`)
  return policy.everyToken
}

/** What evaluations depend on: a journal of anything else is not this search's. */
export function searchFacts(
  model: Model,
  texts: SearchTexts,
  { window, promptShare, samples, heldOut, seed }: Omit<SearchTextsOptions, 'signal'>,
  prompt: 'full' | 'plan',
): RunFacts {
  return {
    model: model.fingerprint,
    quantization: model.quantization,
    data: texts.sha256,
    window,
    prompt_share: promptShare,
    samples,
    held_out: heldOut,
    seed,
    prompt,
  }
}

/** `mine.policy.json` with a label: `mine-1.5x.policy.json`. */
export function planPath(path: string, label: string | null): string {
  if (label === null) return path
  const name = basename(path)
  const dot = name.indexOf('.')
  const end = dot <= 0 ? path.length : path.length - name.length + dot
  return `${path.slice(0, end)}-${label}${path.slice(end)}`
}
