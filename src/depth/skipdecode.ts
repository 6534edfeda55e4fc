import { type PolicyDefinition, requireLayers } from './definition.js'
import { allLayers, type Plan } from './plan.js'
import type { SkipPolicy } from './policy.js'

/** Keeps 22 / 2.2 and the like from losing a layer to rounding. */
const TINY = 1e-9

/** Layers of which the first token after the prompt runs `max` and the last one `min`, `mean` of them on average. */
export interface Descent {
  readonly min: number
  readonly max: number
  readonly mean: number
}

/**
 * How many of T tokens run more than min, min + 1, .. max - 1 layers; so token i runs min + (how many of these exceed i).
 * The depth falls along a straight line from max to min. Where the mean of the two is not the mean that is asked for, it
 * stays at max for a while before or at min behind. In all they are floor(T * (mean - min)), so the mean is never
 * exceeded and missed by less than one layer of one token.
 */
export function descentSteps({ min, max, mean }: Descent, tokens: number): number[] {
  const levels = max - min
  if (levels === 0) return []
  const total = Math.floor(tokens * (mean - min) + TINY)
  const share = total / (tokens * levels)
  const begins = Math.max(0, 2 * share - 1)
  const ends = Math.min(1, 2 * share)
  const exact = Array.from({ length: levels }, (_, k) => tokens * (ends - ((ends - begins) * (k + 0.5)) / levels))
  const steps = exact.map(Math.floor)
  // Rounded so that the sum stays: the largest fractions go up, the lower level first of equal ones.
  const byFraction = exact
    .map((value, k) => ({ k, fraction: value - steps[k]! }))
    .sort((a, b) => b.fraction - a.fraction || a.k - b.k)
  for (const { k } of byFraction.slice(0, total - steps.reduce((sum, n) => sum + n, 0))) steps[k]!++
  return steps
}

/** The first `warmup` layers and the uppermost of the others: `depth` in all. */
export function upperPlan(layers: number, warmup: number, depth: number): Plan {
  return allLayers(layers).filter((layer) => layer < warmup || layer >= layers - (depth - warmup))
}

/**
 * SkipDecode (arXiv 2307.02628, section 3): the depth depends on the place in the sequence alone and never rises along
 * it; lower and middle layers are bypassed, the upper ones kept, and warm-up layers at the bottom always run. The constants
 * of its decay are unpublished: here it is linear over the tokens after the prompt's pass, up to the most that may be
 * generated, and symmetric about the mean of L / S layers unless `min` or `max` says otherwise. The paper shares one exit
 * point among a batch's rows; here each sequence has its own, so that a batch gives what single runs give.
 */
export const skipdecode: PolicyDefinition = {
  kind: 'skipdecode',
  usage: 'skipdecode:Sx[,warmup=N][,min=N][,max=N]',
  summary: 'plans that shrink along the sequence, the lower layers left out, for a target speedup S on average',
  keys: {
    warmup: 'layers at the bottom that always run (default 1)',
    min: 'layers that run at the end (default: as many below the mean as max is above it)',
    max: 'layers that run after the prompt (default: as many above the mean as min is below it)',
  },
  examples: [
    'skipdecode:2x',
    'skipdecode:1.5x',
    'skipdecode:1x',
    'skipdecode:2x,warmup=3,min=5,max=16',
    'skipdecode:3x,warmup=0,max=9',
  ],
  parse(args, layers): SkipPolicy<number[]> {
    const target = args.speedup('skipdecode:2x')
    const warmup = args.wholeOption('warmup', 0, layers - 1) ?? Math.min(1, layers - 1)
    const mean = layers / target
    const least = warmup + 1
    const given = { min: args.wholeOption('min', least, layers), max: args.wholeOption('max', least, layers) }
    const runs = `a target of ${target}x runs ${rounded(mean)} of ${layers} layers on average`
    if (given.max !== null && mean > given.max + TINY) throw args.error(`${runs}, and max= allows only ${given.max}`)
    const lowest = given.min ?? least
    if (mean < lowest - TINY) {
      const which = given.min === null ? 'warm-up and the last layer' : 'min='
      const largest = Math.floor((100 * layers) / lowest) / 100
      throw args.error(`${runs}, and ${lowest} run at least (${which}); the largest possible target is ${largest}x`)
    }
    const bounds = withDefaults(given, mean, least, layers)
    const { min, max } = bounds
    const descent = { min, max, mean: Math.min(max, Math.max(min, mean)) }

    // The canonical SPEC leaves out a bound that the defaults give anyway.
    const follows = (min: number | null, max: number | null): boolean => {
      const other = withDefaults({ min, max }, mean, least, layers)
      return other.min === bounds.min && other.max === bounds.max
    }
    const shownMin = given.min !== null && follows(null, given.max) ? null : given.min
    const shownMax = given.max !== null && follows(shownMin, null) ? null : given.max
    const keys = [
      warmup === Math.min(1, layers - 1) ? '' : `,warmup=${warmup}`,
      shownMin === null ? '' : `,min=${shownMin}`,
      shownMax === null ? '' : `,max=${shownMax}`,
    ]
    const spec = `skipdecode:${target}x${keys.join('')}`
    return {
      kind: 'skip',
      spec,
      prompt: 'full',
      startSequence: ({ maxTokens }) => descentSteps(descent, Math.max(1, maxTokens - 1)),
      plan(info, steps) {
        requireLayers(spec, layers, info.layers)
        const token = Math.max(0, info.generated - 1)
        return upperPlan(layers, warmup, min + steps.filter((tokens) => tokens > token).length)
      },
    }
  },
}

interface Given {
  readonly min: number | null
  readonly max: number | null
}

/** What is not given lies as far on the other side of the mean, and without either, both as far as there are layers. */
function withDefaults(given: Given, mean: number, least: number, layers: number): { min: number; max: number } {
  const reach = Math.min(layers - mean, mean - least)
  const lowest = given.max === null ? mean - reach : 2 * mean - given.max
  const highest = given.min === null ? mean + reach : 2 * mean - given.min
  return {
    min: given.min ?? Math.max(least, Math.floor(lowest + TINY)),
    max: given.max ?? Math.min(layers, Math.ceil(highest - TINY)),
  }
}

function rounded(value: number): string {
  return String(Math.round(100 * value) / 100)
}
