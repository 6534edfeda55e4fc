/**
 * What drafts by depth gain, with the share of them that stand forced by a seeded coin: the real engine and kernels on
 * TinyLlama's shape with random weights, drafts from the first layers, as long as adaptive drafting wants.
 *
 * Printed first is what a step costs by its rows: a draft, and a pass of the full model. From these follows the best that
 * any number of drafts can gain; the gain that was measured is held against it. Steps, full depth and drafts take turns in
 * every round, in another order each time, so that a machine's moods meet them all alike; medians count. Eight rounds before
 * the first that counts build graphs and learn what steps cost; they have a column of their own.
 */

import { toTheTop } from '../dist/engine/plan/token-depth.js'
import { AdaptiveDrafting } from '../dist/engine/schedule/adaptive-drafting.js'
import { MOST_DRAFTS } from '../dist/engine/schedule/drafting.js'
import { LosslessDecoder } from '../dist/engine/schedule/lossless.js'
import { createRandomStream } from '../dist/engine/schedule/random-stream.js'
import { createSampler } from '../dist/engine/schedule/sampler.js'
import { loadModel } from '../dist/index.js'
import { ensureTinyLlama } from './tinyllama.js'

const ROWS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16]
/** Rounds that build graphs and learn what steps cost. */
const LEARNING = 8

/** @param options of the command line, all texts */
export async function coin(options) {
  const path = options.model ?? (await ensureTinyLlama())
  const [exit, rounds, tokens, promptLength, threads] = ['exit', 'rounds', 'tokens', 'prompt', 'threads'].map((name) =>
    Number(options[name]),
  )
  const acceptances = options.acceptance.split(',').map(Number)
  const model = await loadModel(path, { thread: false, threads, context: 1024 })
  const { engine } = model.parts
  const { layers } = engine
  const full = toTheTop(layers)
  const draft = { ...full, last: exit }
  const prompt = Array.from({ length: promptLength }, (_, i) => (7 * i + 5) % model.hyperparameters.vocabulary)
  const median = (values) => [...values].sort((a, b) => a - b)[(values.length - 1) >> 1]

  async function step(feed) {
    const [outcome] = await engine.step([feed])
    if ('error' in outcome) throw outcome.error
    return outcome.result
  }

  /** Milliseconds of a draft, of the pass that verifies so many rows, and of rows that all start at the bottom: one sample of each. */
  async function measureSteps() {
    const sequence = engine.createSequence()
    // The middle of what the runs below see.
    await step({ sequence, ids: [...prompt, ...prompt.slice(0, tokens / 2)], depth: full })
    const base = sequence.length
    const timed = async (feed) => {
      const started = performance.now()
      await step({ sequence, ...feed })
      return performance.now() - started
    }
    const drafts = []
    const verify = []
    const fresh = []
    for (const count of ROWS) {
      for (let d = 1; d < count; d++) drafts.push(await timed({ ids: [d], depth: draft }))
      verify.push(await timed({ ids: [9], depth: full, logitsFrom: base }))
      sequence.truncate(base)
      fresh.push(await timed({ ids: prompt.slice(0, count), depth: full, logitsFrom: base }))
      sequence.truncate(base)
    }
    sequence.dispose()
    return { draft: median(drafts), verify, fresh }
  }

  /** On a line between the measured numbers of rows. */
  function at(rows, values, count) {
    const above = rows.findIndex((r) => r >= count)
    if (rows[above] === count) return values[above]
    const [r0, r1, v0, v1] = [rows[above - 1], rows[above], values[above - 1], values[above]]
    return v0 + ((v1 - v0) * (count - r0)) / (r1 - r0)
  }

  /** The best gain of a fixed number of drafts, each standing with probability a. */
  function bestGain(costs, a) {
    let best = { gain: 1, drafts: 0 }
    for (let drafts = 1; drafts <= MOST_DRAFTS; drafts++) {
      const expected = (1 - a ** (drafts + 1)) / (1 - a)
      const ms = drafts * costs.draft + at(costs.rows, costs.verify, drafts + 1)
      const gain = (expected * costs.verify[0]) / ms
      if (gain > best.gain) best = { gain, drafts }
    }
    return best
  }

  async function runFull() {
    const sequence = engine.createSequence()
    let { top } = await step({ sequence, ids: prompt, depth: full })
    const started = performance.now()
    for (let t = 0; t < tokens; t++) ({ top } = await step({ sequence, ids: [top], depth: full }))
    const ms = performance.now() - started
    sequence.dispose()
    return ms / tokens
  }

  /** @param drafting outlives a run, as it does in a loaded model */
  async function runLossless(acceptance, drafting, seed) {
    const coin = createRandomStream(seed)
    const rule = (drafted, _q, p) => {
      const accepted = coin() < acceptance
      return { accepted, id: accepted ? drafted : p.ids[0] }
    }
    const depth = { spec: `exit:${exit}`, next: () => draft, observePrompt: () => undefined, fork: () => depth }
    const decoder = new LosslessDecoder(createSampler({ seed: 1 }), depth, drafting, layers, prompt, rule)
    const sequence = engine.createSequence()
    let said = decoder.accept(sequence, await step({ sequence, ids: prompt, depth: decoder.prompt }))
    let last = said.at(-1).id
    let count = 0
    const started = performance.now()
    while (count < tokens) {
      // A model of random weights goes round in circles; here only the first layers draft.
      decoder.proposal = null
      said = decoder.accept(sequence, await step({ sequence, ...decoder.feed(sequence, last, 1000) }))
      count += said.length
      last = said.at(-1)?.id ?? last
    }
    const ms = performance.now() - started
    decoder.end()
    sequence.dispose()
    const { judged, accepted, ...counts } = decoder.counts
    return { ms: ms / count, judged: judged.depth, accepted: accepted.depth, ...counts }
  }

  const draftings = acceptances.map(() => new AdaptiveDrafting())
  const runs = acceptances.map(() => [])
  const learning = acceptances.map(() => ({ fullMs: 0, ms: 0 }))
  const steps = []
  for (let round = -LEARNING; round < rounds; round++) {
    const sampled = await measureSteps()
    if (round >= 0) steps.push(sampled)
    for (const [i, acceptance] of acceptances.entries()) {
      const fullFirst = (round + i) % 2 === 0
      const before = fullFirst ? await runFull() : Number.NaN
      const lossless = await runLossless(acceptance, draftings[i], 100 + round)
      const fullMs = fullFirst ? before : await runFull()
      if (round >= 0) runs[i].push({ ...lossless, gain: fullMs / lossless.ms })
      else {
        learning[i].fullMs += fullMs
        learning[i].ms += lossless.ms
      }
    }
  }
  await model.dispose()
  const costs = {
    rows: ROWS,
    draft: median(steps.map((s) => s.draft)),
    verify: ROWS.map((_, r) => median(steps.map((s) => s.verify[r]))),
    fresh: ROWS.map((_, r) => median(steps.map((s) => s.fresh[r]))),
  }
  const one = costs.fresh[0]
  console.log(`one row ${one.toFixed(2)} ms, a draft of ${exit + 1} layers ${(costs.draft / one).toFixed(2)} of it`)
  console.log('rows           ', ROWS.map((r) => String(r).padStart(6)).join(''))
  console.log('full depth     ', costs.fresh.map((ms) => (ms / one).toFixed(2).padStart(6)).join(''))
  console.log('drafts verified', costs.verify.map((ms) => (ms / one).toFixed(2).padStart(6)).join(''))
  const WIDTHS = [10, 10, 16, 14, 8, 13, 15, 16]
  const print = (cells) => console.log(cells.map((cell, j) => String(cell).padStart(WIDTHS[j])).join(''))
  console.log()
  print([
    'acceptance',
    'measured',
    'drafts at best',
    'gain at best',
    'gain',
    'of the best',
    'tokens a pass',
    'while learning',
  ])
  const report = acceptances.map((acceptance, i) => {
    const best = bestGain(costs, acceptance)
    const gain = median(runs[i].map((s) => s.gain))
    const sum = (field) => runs[i].reduce((all, s) => all + s[field], 0)
    const measured = sum('judged') === 0 ? null : sum('accepted') / sum('judged')
    const tokensPerPass = sum('tokens') / sum('passes')
    const whileLearning = learning[i].fullMs / learning[i].ms
    print([
      acceptance,
      measured?.toFixed(2) ?? '–',
      best.drafts,
      `${best.gain.toFixed(2)}x`,
      `${gain.toFixed(2)}x`,
      `${Math.round((100 * gain) / best.gain)}%`,
      tokensPerPass.toFixed(1),
      `${whileLearning.toFixed(2)}x`,
    ])
    return { acceptance, measured, best, gain, tokens_per_pass: tokensPerPass, while_learning: whileLearning }
  })
  console.log(JSON.stringify({ layers, exit, threads, rounds, costs, report }))
}
