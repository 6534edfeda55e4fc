import { allLayers, type Plan } from '../depth/plan.js'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { type Interval, ratioBootstrap } from './bootstrap.js'

/** Texts under one plan. */
export interface PlanQuality {
  readonly plan: Plan
  /** Nats per token. */
  readonly loss: number
  readonly perplexity: number
}

/** A plan beside the balanced one of the same size and full depth, on the same texts. */
export interface PlanComparison {
  readonly full: PlanQuality
  readonly balanced: PlanQuality
  readonly found: PlanQuality
  /** Loss of the found plan - loss of the balanced one, with its paired bootstrap interval over texts of 95%. */
  readonly difference: Interval
  /** Loss of the found plan - loss of full depth, likewise. */
  readonly toFull: Interval
}

/** Summed losses of each of the texts, by plan. */
export type TextLosses = (plan: Plan) => Promise<ArrayLike<number>>

/** Compares pairs of plans on texts. @param losses per text, as `PlanLosses.of` gives them */
export async function comparePlans(
  model: Model,
  texts: readonly ForcedText[],
  losses: TextLosses,
  { balanced, found }: { readonly balanced: Plan; readonly found: Plan },
): Promise<PlanComparison> {
  const tokens = texts.map(({ ids, promptLength }) => ids.length - promptLength)
  const all = allLayers(model.hyperparameters.layers)
  const [ofFull, ofBalanced, ofFound] = [await losses(all), await losses(balanced), await losses(found)]
  const quality = (plan: Plan, each: ArrayLike<number>): PlanQuality => {
    const loss = sum(each) / sum(tokens)
    return { plan, loss, perplexity: Math.exp(loss) }
  }
  const difference = (a: ArrayLike<number>, b: ArrayLike<number>): Interval =>
    ratioBootstrap(
      Array.from(a, (x, i) => x - (b[i] as number)),
      tokens,
    )
  return {
    full: quality(all, ofFull),
    balanced: quality(balanced, ofBalanced),
    found: quality(found, ofFound),
    difference: difference(ofFound, ofBalanced),
    toFull: difference(ofFound, ofFull),
  }
}

function sum(values: ArrayLike<number>): number {
  return Array.from(values).reduce((total, value) => total + value, 0)
}
