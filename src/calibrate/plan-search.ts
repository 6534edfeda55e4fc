import { allLayers, type Plan } from '../depth/plan.js'

/** Sets that go on from one size to the next, unless said otherwise. */
const BEAM = 2
/** Of the sets that look best on the screening texts, so many are seen on all texts, for each set that goes on. */
const FINALISTS = 3
/** Of the texts, the share that candidates are screened on. */
export const SCREEN_SHARE = 0.25
/** Swaps in a row at most; a search of 16 layers ends after one to four. */
const MOST_SWAPS = 12
/** Where a size has no more sets than this, all of them are tried. */
const MOST_TRIED = 64
/** Swaps that are expected from each start, for the estimate of what is left. */
const EXPECTED_SWAPS = 2

export interface PlanSearchOptions {
  /** L, the number of layers. */
  readonly layers: number
  /** The balanced set, first and last layer included; what is found has as many layers. */
  readonly balanced: Plan
  readonly beam?: number
  /** Sets that were tried, and how many more there will be as far as that is known; a set on part of the texts is part of one. */
  readonly onProgress?: (tried: number, left: number) => void
}

/** Loss in nats per token of a set, on the screening texts or on all that the search sees. */
export type PlanLoss = (plan: Plan, part: 'screen' | 'all') => Promise<number>

export interface FoundPlan {
  readonly plan: Plan
  /** On all texts that the search sees, in nats per token. */
  readonly loss: number
  readonly balancedLoss: number
  /** True where every set of this size with the first and the last layer was tried. */
  readonly exhaustive: boolean
}

interface Ranked {
  readonly plan: Plan
  readonly loss: number
}

/**
 * Looks for the set of as many layers as the balanced one that has the least loss. Two ways down to it: a beam takes out
 * layer after layer from all of them, and single layers are swapped, the best swap first, from the balanced set and from the
 * beam's. Candidates are screened on a part of the texts, and the best are compared on all. The first and the last layer
 * stay. What is returned is never worse than the balanced set on the texts that the search sees.
 */
export async function searchPlan(options: PlanSearchOptions, loss: PlanLoss): Promise<FoundPlan> {
  const { layers, balanced, beam = BEAM, onProgress = () => undefined } = options
  const kept = balanced.length
  const seen = new Map<string, Ranked>()
  let tried = 0
  let left = 0

  const full = async (plan: Plan): Promise<Ranked> => {
    const known = seen.get(plan.join())
    if (known !== undefined) return known
    const ranked = { plan, loss: await loss(plan, 'all') }
    seen.set(plan.join(), ranked)
    return ranked
  }
  const count = (share: number): void => {
    tried += share
    left = Math.max(0, left - share)
    onProgress(tried, left)
  }
  /** The best `most` of the candidates, the least loss first. */
  const best = async (candidates: readonly Plan[], most: number): Promise<Ranked[]> => {
    let finalists = candidates
    if (candidates.length > most * FINALISTS) {
      const screened: Ranked[] = []
      for (const plan of candidates) {
        screened.push({ plan, loss: await loss(plan, 'screen') })
        count(SCREEN_SHARE)
      }
      finalists = sorted(screened)
        .slice(0, most * FINALISTS)
        .map(({ plan }) => plan)
    }
    const ranked: Ranked[] = []
    for (const plan of finalists) {
      ranked.push(await full(plan))
      count(finalists === candidates ? 1 : 1 - SCREEN_SHARE)
    }
    return sorted(ranked).slice(0, most)
  }
  const costOf = (candidates: number, most: number): number =>
    candidates <= most * FINALISTS ? candidates : candidates * SCREEN_SHARE + most * FINALISTS * (1 - SCREEN_SHARE)

  const swapped = (kept - 2) * (layers - kept)
  const sets = choices(layers - 2, kept - 2)
  const start = await full(balanced)
  const exhaustive = sets <= MOST_TRIED
  if (exhaustive) {
    left = costOf(sets, sets)
    await best(subsets(layers, kept), sets)
  } else {
    const starts = [start]
    const swapCost = 2 * EXPECTED_SWAPS * costOf(swapped, 1)
    for (let size = layers - 1; size >= kept; size--) left += costOf(beamCandidates(size, layers, beam), beam)
    left += swapCost
    let beams: Ranked[] = [{ plan: allLayers(layers), loss: Number.NaN }]
    for (let size = layers - 1; size >= kept; size--) {
      beams = await best(unique(beams.flatMap(({ plan }) => removals(plan))), beam)
    }
    starts.push(...beams.slice(0, 1))
    left = swapCost
    for (let current of starts) {
      for (let swap = 0; swap < MOST_SWAPS; swap++) {
        const [next] = await best(swaps(current.plan, layers), 1)
        if (next === undefined || next.loss >= current.loss) break
        current = next
      }
    }
  }
  const [winner] = sorted([...seen.values()].filter(({ plan }) => plan.length === kept))
  // The balanced set wins a tie: another one would be found for nothing.
  const found = winner === undefined || winner.loss >= start.loss ? start : winner
  return { plan: found.plan, loss: found.loss, balancedLoss: start.loss, exhaustive }
}

/** Sets with one layer fewer; the first and the last stay. */
function removals(plan: Plan): Plan[] {
  return plan.slice(1, -1).map((gone) => plan.filter((layer) => layer !== gone))
}

/** Sets with one layer exchanged for one that was left out; the first and the last stay. */
function swaps(plan: Plan, layers: number): Plan[] {
  const out = allLayers(layers).filter((layer) => !plan.includes(layer))
  return removals(plan).flatMap((rest) => out.map((layer) => [...rest, layer].sort((a, b) => a - b)))
}

/** Every set of `kept` layers with the first and the last among them. */
function subsets(layers: number, kept: number): Plan[] {
  const grow = (from: number, missing: number): number[][] => {
    if (missing === 0) return [[]]
    const all: number[][] = []
    for (let layer = from; layer <= layers - 1 - missing; layer++) {
      for (const rest of grow(layer + 1, missing - 1)) all.push([layer, ...rest])
    }
    return all
  }
  if (kept >= layers) return [allLayers(layers)]
  return grow(1, kept - 2).map((between) => [0, ...between, layers - 1])
}

/** Ways to choose k of n. */
function choices(n: number, k: number): number {
  let ways = 1
  for (let i = 1; i <= Math.min(k, n - k); i++) ways = (ways * (n - i + 1)) / i
  return Math.round(ways)
}

function beamCandidates(size: number, layers: number, beam: number): number {
  return (size === layers - 1 ? 1 : beam) * (size - 1)
}

function unique(plans: readonly Plan[]): Plan[] {
  return [...new Map(plans.map((plan) => [plan.join(), plan])).values()]
}

function sorted(ranked: readonly Ranked[]): Ranked[] {
  return [...ranked].sort((a, b) => a.loss - b.loss)
}
