import { CHECK_KEYS, checkNeeds, readCheckLayers } from './check-layers.js'
import type { PolicyDefinition } from './definition.js'
import { cosine } from './exit-features.js'
import { LENS_KEY, readLens } from './lens.js'
import type { Check, ExitPolicy } from './policy.js'

const MEASURES = ['gap', 'max', 'state'] as const
type Measure = (typeof MEASURES)[number]

/** The temperature of the decay in the paper's experiments. */
const DECAY = 4

/**
 * The threshold of generated token i of at most N: T * exp(-decay * i / N) / 10 + 9 * T / 10. It falls from T by a tenth
 * at most, because early mistakes cost more than late ones.
 */
export function decayedThreshold(threshold: number, decay: number, generated: number, maxTokens: number): number {
  return threshold * (0.9 + Math.exp((-decay * generated) / maxTokens) / 10)
}

/**
 * Stop where a measure of confidence exceeds a threshold that decays along the sequence (CALM, arXiv 2207.07061, section
 * 3): `gap` and `max` of the softmax, or `state`, the saturation of the hidden state. The formula of the decay is that of
 * the published code, and so are minimum exit 0 and interval 1, which are `from` and `every` here; the classifier of the
 * paper is trained with the model, and `adainfer:FILE` stands in its place.
 */
export const calm: PolicyDefinition = {
  kind: 'calm',
  usage: 'calm:T[,measure=gap|max|state][,decay=D][,from=N][,every=N][,lens=FILE] or calm:T,..,layers=A,B,..',
  summary: 'stop at the first check whose confidence is greater than T, which decays along the sequence',
  keys: {
    measure: 'gap (default): P(top1) - P(top2); max: P(top1); state: cosine of the layer with the one before',
    decay: `how fast the threshold falls to nine tenths of T (default ${DECAY}; 0: not at all)`,
    ...CHECK_KEYS,
    ...LENS_KEY,
  },
  examples: [
    'calm:0.9',
    'calm:0.3,measure=max,decay=0,from=2',
    'calm:0.95,measure=state,decay=8,every=2',
    'calm:0.02,layers=3,5,9',
  ],
  needs: checkNeeds,
  parse(args, layers, model): ExitPolicy<number, number> {
    const threshold = args.number('the threshold', 'calm:0.9', 0, 1)
    const measure = args.choice('measure', MEASURES, 'gap')
    const decay = args.numberOption('decay') ?? DECAY
    if (decay < 0) throw args.error(`decay= must be at least 0, not ${decay}`)
    const checks = readCheckLayers(args, layers, model)
    const lens = readLens(args, model)
    const own = `${measure === 'gap' ? '' : `,measure=${measure}`}${decay === DECAY ? '' : `,decay=${decay}`}`
    return {
      kind: 'exit',
      spec: `calm:${threshold}${own}${checks.suffix}${lens.suffix}`,
      notes: [...checks.notes, ...lens.notes],
      generationNotes: lens.generationNotes,
      ...lens.policy,
      needs: measure === 'state' ? { hidden: true } : {},
      checkLayers: checks.of,
      startSequence: ({ maxTokens }) => maxTokens,
      startToken: ({ generated }, maxTokens) => decayedThreshold(threshold, decay, generated, maxTokens),
      exits: (check, least) => confidence(measure, check) > least,
    }
  },
}

function confidence(measure: Measure, check: Check): number {
  if (measure === 'gap') return check.gap
  if (measure === 'max') return check.topProb
  // Below the first layer stand the embeddings, and no layer to be saturated against.
  return check.layer === 0 ? 0 : cosine(check.hidden, check.input)
}
