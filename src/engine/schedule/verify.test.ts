import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Sequence } from '../cache/sequence.js'
import { type SequenceDepth, type TokenDepth, toTheTop } from '../plan/token-depth.js'
import type { SaidRow, StepResult } from '../run/step.js'
import { AdaptiveDrafting } from './adaptive-drafting.js'
import type { Emission } from './decoder.js'
import type { DraftMember, Move, Sureness } from './drafting.js'
import { LosslessDecoder } from './lossless.js'
import { createRandomStream } from './random-stream.js'
import { createSampler, type Distribution, type Sampler } from './sampler.js'
import { type AcceptRule, acceptDraft, residual } from './verify.js'

const VOCABULARY = 8
const LAYERS = 4
const SAMPLES = 120_000

/** Logits of a made-up model after some tokens: the full model's and a draft's, which says something else. */
function logitsAfter(tokens: readonly number[], which: 'full' | 'draft'): Float32Array {
  let seed = which === 'full' ? 17 : 91
  for (const token of tokens) seed = (Math.imul(seed, 31) + token + 1) >>> 0
  const random = createRandomStream(seed)
  const own = Float32Array.from({ length: VOCABULARY }, () => 3 * random())
  if (which === 'full') return own
  return logitsAfter(tokens, 'full').map((value, i) => 0.6 * value + 0.6 * own[i]!)
}

/** Just what a decoder asks of a sequence: how many positions it holds, and how many of them every layer has seen. */
class FakeSequence {
  length: number
  complete: number
  constructor(length: number) {
    this.length = length
    this.complete = length
  }
  get waiting(): number {
    return this.length - this.complete
  }
  truncate(length: number): void {
    this.length = Math.min(this.length, length)
    this.complete = Math.min(this.complete, length)
  }
}

const SAMPLING = { temperature: 0.9, topK: 6, topP: 0.95, repetitionPenalty: 1.3 }
const PROMPT = [3]
const DEPTH: SequenceDepth = { spec: 'exit:1', next: () => DRAFT, observePrompt: () => undefined, fork: () => DEPTH }
const DRAFT: TokenDepth = { ...toTheTop(LAYERS), last: 1 } as TokenDepth

/** After any of its tokens but 1 comes 1, and after 1 any token: what stands after a 1 has a proposal. */
const REPEATING_PROMPT = [1, 0, 1, 1, 1, 2, 1, 3, 1, 4, 1, 5, 1, 6, 1, 7, 1]

/** Drafts as long as the past says: not a rule of the decoder's, but any must do. */
class ScriptedDrafting extends AdaptiveDrafting {
  constructor(
    private readonly source: Sureness['source'],
    private readonly length: () => number,
  ) {
    super()
  }
  private drafts = 0
  override next({ proposal }: DraftMember): Move {
    if (this.source === 'text') return { kind: 'verify', proposed: Math.min(proposal?.count ?? 0, this.length()) }
    return this.drafts < this.length() ? { kind: 'draft' } : { kind: 'verify', proposed: 0 }
  }
  override feeds(kind: Move['kind']): void {
    this.drafts = kind === 'draft' ? this.drafts + 1 : 0
  }
  override ran(): void {}
}

interface Decoding {
  readonly prompt: readonly number[]
  readonly tokens: number
  readonly source: Sureness['source']
  readonly sampler: Sampler
  readonly rule?: AcceptRule
  /** How long to draft, given what was said. */
  readonly length: (said: readonly number[]) => number
}

function decode({ prompt, tokens, source, sampler, rule = acceptDraft, length }: Decoding): {
  said: number[]
  drafted: number
} {
  const said: number[] = []
  const drafting = new ScriptedDrafting(source, () => length(said))
  const decoder = new LosslessDecoder(sampler, DEPTH, drafting, LAYERS, prompt, rule)
  const fake = new FakeSequence(prompt.length)
  const sequence = fake as unknown as Sequence
  const fed = [...prompt]
  const take = (emissions: readonly Emission[]) => said.push(...emissions.map(({ id }) => id))
  take(decoder.accept(sequence, resultOf([logitsAfter(fed, 'full')])))
  while (said.length < tokens) {
    const feed = decoder.feed(sequence, said.at(-1)!, 100)
    fed.length = fake.length
    fed.push(...feed.ids)
    const from = feed.logitsFrom ?? fake.length
    fake.length = fed.length
    const full = feed.depth.kind === 'exit' && feed.depth.last === LAYERS - 1
    if (full) fake.complete = fake.length
    const rows = full
      ? Array.from({ length: fed.length - from }, (_, i) => logitsAfter(fed.slice(0, from + i + 1), 'full'))
      : [logitsAfter(fed, 'draft')]
    take(decoder.accept(sequence, resultOf(rows)))
  }
  return { said: said.slice(0, tokens), drafted: decoder.counts.judged.text }
}

/** Three tokens after the prompt, by drafts of lengths 0 to 3 that depend on what was said. */
function sample(seed: number, rule: AcceptRule, source: Sureness['source'], prompt: readonly number[]): number[] {
  const sampler = createSampler({ ...SAMPLING, seed }, prompt)
  const length = (said: readonly number[]) => (said.length + (said.at(-1) ?? 0)) % 4
  return decode({ prompt, tokens: 3, source, sampler, rule, length }).said
}

function resultOf(rows: Float32Array[]): StepResult {
  const said = rows.map((logits): SaidRow => {
    const topValue = Math.max(...logits)
    const logSumExp = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0))
    return { logits, top: logits.indexOf(topValue), topValue, logSumExp }
  })
  const counted = { depth: 1, rowLayers: 0, layerPasses: 0, batch: 1, checkMs: 0 }
  return { ...said.at(-1)!, earlier: said.slice(0, -1), ...counted }
}

/** The exact law of three tokens from the full model. */
function law(prompt: readonly number[]): Map<string, number> {
  const all = new Map<string, number>()
  const walk = (said: number[], probability: number) => {
    if (said.length === 3) {
      all.set(said.join(), probability)
      return
    }
    const sampler = createSampler({ ...SAMPLING, seed: 1 }, prompt)
    for (const id of said) sampler.remember(id)
    const { ids, probabilities } = sampler.distribution(logitsAfter([...prompt, ...said], 'full'))
    ids.forEach((id, i) => {
      walk([...said, id], probability * probabilities[i]!)
    })
  }
  walk([], 1)
  return all
}

/** Upper tail of chi-square, by Wilson and Hilferty's cube root. */
function chiSquareTail(statistic: number, freedom: number): number {
  const z = (Math.cbrt(statistic / freedom) - (1 - 2 / (9 * freedom))) / Math.sqrt(2 / (9 * freedom))
  return normalTail(z)
}

/** Abramowitz and Stegun 26.2.17. */
function normalTail(z: number): number {
  if (z < 0) return 1 - normalTail(-z)
  const t = 1 / (1 + 0.2316419 * z)
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly
}

/** p-value of Pearson's test that samples follow the law; cells that expect fewer than 5 are counted together. */
function pValue(
  rule: AcceptRule,
  { samples = SAMPLES, source = 'depth' as Sureness['source'], prompt = PROMPT } = {},
): number {
  const counts = new Map<string, number>()
  for (let i = 0; i < samples; i++) {
    const key = sample(1000 + i, rule, source, prompt).join()
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const expected = law(prompt)
  if ([...counts.keys()].some((key) => !expected.has(key))) return 0
  let statistic = 0
  let cells = 0
  const rest = { expected: 0, seen: 0 }
  for (const [key, probability] of expected) {
    const mean = probability * samples
    const seen = counts.get(key) ?? 0
    if (mean < 5) {
      rest.expected += mean
      rest.seen += seen
      continue
    }
    statistic += (seen - mean) ** 2 / mean
    cells++
  }
  if (rest.expected >= 5) {
    statistic += (rest.seen - rest.expected) ** 2 / rest.expected
    cells++
  }
  return chiSquareTail(statistic, cells - 1)
}

const wrong = (redraw: (p: Distribution, q: Distribution) => Distribution): AcceptRule => {
  return (drafted, q, p, random, draw) => {
    const verdict = acceptDraft(drafted, q, p, random, () => -1)
    return verdict.accepted ? verdict : { accepted: false, id: draw(redraw(p, q)) }
  }
}

/** max(p - q, 0) as it is: what its sum lacks to 1 falls to the last id. */
function unnormalised(p: Distribution, q: Distribution): Distribution {
  const { ids } = residual(p, q)
  const at = (d: Distribution, id: number) => d.probabilities[d.ids.indexOf(id)] ?? 0
  return { ids, probabilities: Float64Array.from(ids, (id) => at(p, id) - at(q, id)) }
}

/** q as the draft's softmax gives it, before temperature, filters and penalty. */
const rawQ: AcceptRule = (drafted, q, p, random, draw) => {
  const flat = q.probabilities.map((probability) => probability ** SAMPLING.temperature)
  const sum = flat.reduce((a, b) => a + b, 0)
  const raw = { ids: q.ids, probabilities: flat.map((probability) => (0.9 * probability) / sum) }
  return acceptDraft(drafted, raw, p, random, draw)
}

describe('speculative sampling', () => {
  it('has the joint law of the full model over three tokens', () => {
    expect(pValue(acceptDraft)).toBeGreaterThan(0.001)
  })

  it('has it too where the text proposes', () => {
    const text = { source: 'text', prompt: REPEATING_PROMPT } as const
    expect(pValue(acceptDraft, { ...text, samples: SAMPLES / 2 })).toBeGreaterThan(0.001)
    const blind = wrong((p) => p)
    expect(pValue(blind, { ...text, samples: SAMPLES / 4 })).toBeLessThan(0.001)
  })

  it('says greedily what the full model says, whatever the text is and however much of it is proposed', () => {
    let judged = 0
    const texts = fc.array(fc.nat(VOCABULARY - 1), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(
        texts,
        fc.array(fc.nat(15), { minLength: 1 }),
        fc.constantFrom(1, 1.5),
        (prompt, lengths, penalty) => {
          const sampler = () => createSampler({ temperature: 0, repetitionPenalty: penalty }, prompt)
          const alone = sampler()
          const wanted: number[] = []
          while (wanted.length < 24) {
            const row = resultOf([logitsAfter([...prompt, ...wanted], 'full')])
            wanted.push(alone.sample(row.logits, row).id)
          }
          const length = (said: readonly number[]) => lengths[said.length % lengths.length]!
          const { said, drafted } = decode({ prompt, tokens: 24, source: 'text', sampler: sampler(), length })
          expect(said).toEqual(wanted)
          judged += drafted
        },
      ),
    )
    expect(judged).toBeGreaterThan(100)
  })

  it.each([
    ['draws from p where a draft falls', wrong((p) => p)],
    ['draws from a residual that is not normalised', wrong(unnormalised)],
    ['takes the raw distribution for what was drawn from', rawQ],
  ] as const)('the test rejects a rule that %s', (_name, rule) => {
    expect(pValue(rule, { samples: SAMPLES / 4 })).toBeLessThan(0.001)
  })

  it('is a comparison where both distributions hold one token', () => {
    const one = (id: number) => ({ ids: Int32Array.of(id), probabilities: Float64Array.of(1) })
    const never = () => {
      throw new Error('no number is drawn')
    }
    expect(acceptDraft(3, one(3), one(3), never, never)).toEqual({ accepted: true, id: 3 })
    expect(acceptDraft(3, one(3), one(5), never, ({ ids }) => ids[0]!)).toEqual({ accepted: false, id: 5 })
  })
})
