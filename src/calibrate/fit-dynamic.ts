import { confidenceOf, PROMPT_FEATURES, type PromptFeature } from '../depth/dynamic-file.js'
import type { Plan } from '../depth/plan.js'
import type { PromptPass } from '../depth/policy.js'
import { InputError } from '../errors.js'

export interface DynamicSamples {
  /** From the fewest layers to the most. */
  readonly plans: readonly Plan[]
  /** Per text: what the model says after its prompt. */
  readonly passes: readonly PromptPass[]
  /** Per plan and text: summed loss in nats. */
  readonly losses: readonly ArrayLike<number>[]
  /** Per text: tokens that the loss is of. */
  readonly tokens: readonly number[]
}

export interface FittedDynamic {
  readonly feature: PromptFeature
  /** Those of the plans that some text gets. */
  readonly plans: readonly Plan[]
  readonly thresholds: readonly number[]
  /** Nats per token on these texts. */
  readonly loss: number
  /** Mean layers of a token on these texts. */
  readonly meanDepth: number
}

/** Steps of the bisection for the price of a layer. */
const STEPS = 60

/**
 * Thresholds on one feature of the prompt, so that the texts' tokens run `depth` layers on average at the most and lose as
 * little as such thresholds allow: the surer the model is after the prompt, the smaller the plan. Each layer has a price, the
 * cheapest assignment for a price is found by dynamic programming over the texts in the order of the feature, and the price
 * is raised until the mean is met. The best of the three features is taken.
 * @throws InputError where even the smallest plan has more layers
 */
export function fitDynamic(samples: DynamicSamples, depth: number): FittedDynamic {
  const [smallest] = samples.plans
  if (smallest === undefined || smallest.length > depth + 1e-9) {
    throw new InputError(`no plan has ${depth} layers or fewer, so the mean cannot be ${depth}`)
  }
  const fitted = PROMPT_FEATURES.map((feature) => fitFeature(samples, depth, feature))
  // One plan for every prompt may be better still: a price cannot find every assignment.
  const order = samples.tokens.map((_, i) => i)
  samples.plans.forEach((plan, k) => {
    const all = order.map(() => k)
    if (plan.length <= depth + 1e-9) fitted.push(describe(samples, order, order, all, PROMPT_FEATURES[0]))
  })
  return fitted.reduce((best, next) => (next.loss < best.loss ? next : best))
}

function fitFeature(samples: DynamicSamples, depth: number, feature: PromptFeature): FittedDynamic {
  const sureness = samples.passes.map((pass) => confidenceOf(feature, pass))
  const order = sureness.map((_, i) => i).sort((a, b) => (sureness[b] as number) - (sureness[a] as number))
  const assign = (price: number) =>
    describe(samples, sureness, order, cheapest(samples, sureness, order, price), feature)
  const free = assign(0)
  if (free.meanDepth <= depth + 1e-9) return free
  // At so high a price every text takes the smallest plan.
  let high = 1
  while (assign(high).meanDepth > depth + 1e-9) high *= 2
  let low = 0
  let best = assign(high)
  for (let step = 0; step < STEPS; step++) {
    const middle = (low + high) / 2
    const next = assign(middle)
    if (next.meanDepth > depth + 1e-9) low = middle
    else {
      high = middle
      if (next.loss < best.loss) best = next
    }
  }
  return best
}

/** Per text in `order`: the plan of the cheapest assignment in which no text has a smaller plan than a surer one. */
function cheapest(
  { plans, losses, tokens }: DynamicSamples,
  sureness: readonly number[],
  order: readonly number[],
  price: number,
): number[] {
  const cost = (k: number, text: number): number =>
    (losses[k]?.[text] as number) + price * (plans[k] as Plan).length * (tokens[text] as number)
  let costs = plans.map(() => 0)
  const from: number[][] = []
  order.forEach((text, i) => {
    // Texts of the same value cannot be told apart: they stay together.
    const mayChange = i > 0 && sureness[text] !== sureness[order[i - 1] as number]
    const before = costs
    const came = plans.map((_, k) => {
      let least = k
      if (mayChange) for (let j = 0; j < k; j++) if ((before[j] as number) < (before[least] as number)) least = j
      return least
    })
    from.push(came)
    costs = came.map((j, k) => (before[j] as number) + cost(k, text))
  })
  let k = costs.indexOf(Math.min(...costs))
  const assigned: number[] = []
  for (let i = order.length - 1; i >= 0; i--) {
    assigned[i] = k
    k = from[i]?.[k] as number
  }
  return assigned
}

function describe(
  { plans, losses, tokens }: DynamicSamples,
  sureness: readonly number[],
  order: readonly number[],
  assigned: readonly number[],
  feature: PromptFeature,
): FittedDynamic {
  const used = [...new Set(assigned)]
  const thresholds = used.slice(1).map((k) => {
    const at = assigned.indexOf(k)
    const between = ((sureness[order[at] as number] as number) + (sureness[order[at - 1] as number] as number)) / 2
    return feature === 'entropy' ? -between : between
  })
  let [loss, layers, total] = [0, 0, 0]
  order.forEach((text, i) => {
    const k = assigned[i] as number
    loss += losses[k]?.[text] as number
    layers += (plans[k] as Plan).length * (tokens[text] as number)
    total += tokens[text] as number
  })
  return {
    feature,
    plans: used.map((k) => plans[k] as Plan),
    thresholds,
    loss: loss / total,
    meanDepth: layers / total,
  }
}
