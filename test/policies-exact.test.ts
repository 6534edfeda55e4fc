import { beforeAll, describe, expect, it } from 'vitest'
import { features } from '../src/depth/features.js'
import { allLayers } from '../src/depth/plan.js'
import type { Check, ExitPolicy } from '../src/depth/policy.js'
import { POLICIES, parseDepth } from '../src/depth/spec.js'
import type { Model } from '../src/engine/api.js'
import type { Trace } from '../src/engine/known-text.js'
import { largestDifference, rowOf } from './compare.js'
import { useWorkspace } from './workspace.js'

// Every exit policy stops each token where its own rule, applied to a full-depth trace, says so, and with the logits that
// the full model has there; every skip policy of one plan is `layers:` under another name. Under every
// policy a beam says what a run of its text alone says.

const workspace = useWorkspace()
const LAYERS = 16
const PROMPT = 6
const SPECS = POLICIES.flatMap(({ examples }) => examples)
const ANY_ORDER = { layers: LAYERS, order: () => allLayers(LAYERS) }
const EXITS = SPECS.filter((spec) => parseDepth(spec, ANY_ORDER).kind === 'exit')
const SKIPS = SPECS.filter((spec) => /^(bottom|random|plan|shortgpt|sleb):/.test(spec))

const MODELS = [
  {
    name: 'random weights',
    open: () => workspace.loadRandom(41, { layers: LAYERS, kvHeads: 2, vocabulary: 80 }),
    ids: () => Array.from({ length: 40 }, (_, i) => (i * i * 7 + 13 * i + 5) % 80),
  },
  {
    name: 'ripple-8m',
    open: () => workspace.load('ripple-8m'),
    ids: (model: Model) =>
      model.tokenizer!.encode(
        'Once upon a time there was a little fox who lived in the forest. Every morning she went down to the river to drink, and there she met the old heron.',
      ),
  },
]

describe.each(MODELS)('on $name', ({ open, ids }) => {
  let model: Model
  let text: readonly number[]
  let trace: Trace

  beforeAll(async () => {
    model = await open()
    text = ids(model).slice(0, 40)
    trace = await model.trace(text)
  })

  const lens = (layer: number, position: number): Float32Array =>
    rowOf(trace.lensLogits[layer]!, position, model.hyperparameters.vocabulary)

  /** What the policy would be shown after a layer, from the trace; sublayers are not in it. */
  function checkAt(layer: number, position: number): Check {
    const logits = lens(layer, position)
    const { hidden: width } = model.hyperparameters
    const row = (of: number) => rowOf(trace.hidden[of]!, position, width)
    const { top, second, topProb, gap, entropy } = features(logits)
    const input = layer === 0 ? new Float32Array(width) : row(layer - 1)
    return { layer, top, second, topProb, gap, entropy, logits, hidden: row(layer), input } as Check
  }

  it.each(EXITS)('%s stops where its rule says, with the logits of the full model there', async (spec) => {
    const policy = parseDepth(spec, { layers: LAYERS }) as ExitPolicy
    const count = text.length - PROMPT
    const sequence = policy.startSequence?.({ layers: LAYERS, promptTokens: PROMPT, maxTokens: count })
    const last = policy.lastLayer?.(LAYERS) ?? LAYERS - 1
    const expected = Array.from({ length: count }, (_, i) => {
      const token = policy.startToken?.({ position: PROMPT + i, generated: i + 1 }, sequence)
      const stops = (layer: number) => policy.exits(checkAt(layer, PROMPT + i), token, sequence)
      return 1 + (policy.checkLayers(LAYERS).find(stops) ?? last)
    })
    const score = await model.score(text, { promptLength: PROMPT, depth: spec })
    expect([...score.depth]).toEqual(expected)
    for (const [i, depth] of expected.entries()) {
      const logits = rowOf(score.logits, i, model.hyperparameters.vocabulary)
      expect(largestDifference(logits, lens(depth - 1, PROMPT + i))).toBeLessThan(1e-4)
    }
  })

  it.each(SKIPS)('%s runs the layers that it stands for', async (spec) => {
    const policy = await model.policy(spec)
    if (policy.kind !== 'skip') throw new Error('not a skip policy')
    const plan = policy.plan({ position: PROMPT, generated: 1, layers: LAYERS }, undefined)
    const named = `layers:${plan.join(',')}${policy.prompt === 'plan' ? ',prompt=plan' : ''}`
    const options = { maxTokens: 8, ignoreEos: true }
    const prompt = text.slice(0, PROMPT)
    const result = await model.generate(prompt, { ...options, depth: spec }).result
    const same = await model.generate(prompt, { ...options, depth: named }).result
    expect(result.tokens).toEqual(same.tokens)
    expect(result.depths).toEqual(same.depths)
    expect(result.logprobs).toEqual(same.logprobs)
  })

  it.each(SPECS)('%s gives each beam the score of its text alone', async (depth) => {
    const maxTokens = 6
    const prompt = text.slice(0, 24)
    const { beams } = await model.beamSearch(prompt, { beams: 3, maxTokens, ignoreEos: true, depth })
    expect(beams).toHaveLength(3)
    for (const { tokens, score } of beams) {
      const alone = await model.predict(prompt, { depth, continuation: tokens.slice(0, -1) })
      const logprobs = tokens.map((id, i) => {
        const row = alone.logits[i]!
        return row[id]! - Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0))
      })
      expect(score).toBeCloseTo(logprobs.reduce((a, b) => a + b) / maxTokens, 4)
    }
  })

  it('skipdecode runs fewer layers token by token, and its mean is that of the target', async () => {
    const { depths } = await model.generate(text.slice(0, PROMPT), {
      depth: 'skipdecode:2x',
      maxTokens: 25,
      ignoreEos: true,
    }).result
    const after = depths.slice(1)
    expect(depths[0]).toBe(LAYERS)
    expect(after).toEqual([...after].sort((a, b) => b - a))
    expect([after[0], after.at(-1)]).toEqual([14, 2])
    expect(after.reduce((a, b) => a + b, 0) / after.length).toBe(8)
    const full = await model.score(text, { promptLength: PROMPT, depth: 'full' })
    const same = await model.score(text, { promptLength: PROMPT, depth: 'skipdecode:1x' })
    expect(largestDifference(same.logits, full.logits)).toBe(0)
  })
})
