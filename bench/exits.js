/**
 * Early exit in batches: every token of every sequence stops after a layer drawn from a seed, a tenth of them after the
 * last one, so that tokens stop at half the layers on average. Tokens per second over full depth at the same batch, on the
 * engine itself: what is measured is the staircase and how rows share passes, without checks.
 *
 *     npm run bench:exits -- [--model FILE] [--batch 1,2,4,8] [--rounds 5] [--tokens 64] [--prompt 128] [--threads 2]
 *
 * "At most" is what row costs allow: every layer is passed as often, with as many rows, and a pass costs what
 * it costs at full depth. Catching up computes in the end every row that full depth computes, so exits can only gain where
 * a pass of many rows is cheaper than many passes of few; in a batch somebody needs nearly every layer in every step. "Held
 * at most" is the same where deep tokens wait for each other: the best of three layers to wait at and six numbers of rows.
 *
 * The model is TinyLlama-1.1B's shape with random weights unless another is named.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { toTheTop } from '../dist/engine/plan/token-depth.js'
import { loadModel } from '../dist/index.js'
import { ensureTinyLlama } from './tinyllama.js'

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    batch: { type: 'string', default: '1,2,4,8' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
    prompt: { type: 'string', default: '128' },
    threads: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: '1' },
  },
})
const path = options.model ?? (await ensureTinyLlama())
const [promptLength, tokens, rounds] = [options.prompt, options.tokens, options.rounds].map(Number)
const model = await loadModel(path, { thread: false, threads: Number(options.threads), context: 512 })
const { engine } = model.parts
const { layers } = engine
const full = toTheTop(layers)

const median = (values) => [...values].sort((a, b) => a - b)[(values.length - 1) >> 1]

/** Numbers from 0 to 1 (mulberry32). */
function stream(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One layer in ten is the last; the others are even over the layers that bring the mean depth to half of all. */
function drawLayer(random) {
  if (random() < 0.1) return layers - 1
  const meanDepth = (layers / 2 - 0.1 * layers) / 0.9
  const most = Math.round(2 * meanDepth - 1)
  return Math.floor(random() * most)
}

/** Milliseconds of a step at full depth, by its rows. */
async function measureRows() {
  const rows = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64]
  const times = rows.map(() => [])
  const sequence = engine.createSequence()
  const ids = Array.from({ length: promptLength + tokens / 2 }, (_, p) => (7 * p) % model.hyperparameters.vocabulary)
  await engine.step([{ sequence, ids, depth: full }])
  const base = sequence.length
  for (let round = 0; round <= rounds; round++) {
    for (const [i, count] of rows.entries()) {
      const started = performance.now()
      await engine.step([{ sequence, ids: ids.slice(0, count), depth: full }])
      if (round > 0) times[i].push(performance.now() - started)
      sequence.truncate(base)
    }
  }
  sequence.dispose()
  const known = times.map(median)
  return (count) => {
    const above = Math.max(
      1,
      rows.findIndex((r) => r >= count),
    )
    const [r0, r1, t0, t1] = [rows[above - 1], rows[above], known[above - 1], known[above]]
    return t0 + ((t1 - t0) * (count - r0)) / (r1 - r0)
  }
}

/** The gain over full depth of the same draws where passes cost what they cost at full depth. */
function mostGain(batch, costOf, seed) {
  const random = stream(seed)
  const cached = Array.from({ length: batch }, () => new Int32Array(layers))
  let cost = 0
  for (let t = 1; t <= tokens; t++) {
    const last = cached.map(() => {
      const drawn = drawLayer(random)
      random()
      return drawn
    })
    for (let layer = 0; layer < layers; layer++) {
      let rows = 0
      cached.forEach((seen, i) => {
        if (last[i] < layer) return
        rows += t - seen[layer]
        seen[layer] = t
      })
      if (rows > 0) cost += costOf(rows)
    }
  }
  return (tokens * layers * costOf(batch)) / cost
}

/**
 * The same where tokens that go beyond a layer wait there until enough rows stand, while other sequences go on. Sequences
 * are no longer in step, so tokens come later than they could; no engine does this here.
 */
function heldGain(batch, costOf, seed, hold) {
  const random = stream(seed)
  const all = Array.from({ length: batch }, () => ({ seen: new Int32Array(layers), said: 0, last: -1, held: false }))
  let cost = 0
  let said = 0
  const pass = (group, from, to) => {
    for (let layer = from; layer < to; layer++) {
      let rows = 0
      for (const s of group) {
        if (s.last < layer) continue
        rows += s.said + 1 - s.seen[layer]
        s.seen[layer] = s.said + 1
      }
      if (rows > 0) cost += costOf(Math.min(rows, 64))
    }
  }
  const finish = (group) => {
    for (const s of group) {
      s.said++
      s.held = false
      said++
    }
  }
  while (said < batch * tokens) {
    const free = all.filter((s) => !s.held)
    for (const s of free) s.last = drawLayer(random)
    pass(free, 0, hold.layer)
    for (const s of free) s.held = s.last >= hold.layer
    finish(free.filter((s) => !s.held))
    const held = all.filter((s) => s.held)
    const standing = held.reduce((sum, s) => sum + s.said + 1 - s.seen[hold.layer], 0)
    if (held.length === batch || standing >= hold.rows) {
      pass(held, hold.layer, layers)
      finish(held)
    }
  }
  return ((said / batch) * layers * costOf(batch)) / cost
}

/** The best of some layers to wait at and numbers of rows to wait for. */
function mostHeld(batch, costOf, seed) {
  const gains = [0.25, 0.5, 0.75].flatMap((share) =>
    [8, 12, 16, 24, 32, 48].map((rows) => heldGain(batch, costOf, seed, { layer: Math.round(share * layers), rows })),
  )
  return Math.max(...gains)
}

async function run(batch, exits, seed) {
  const random = stream(seed)
  const sequences = Array.from({ length: batch }, () => engine.createSequence())
  try {
    for (const [i, sequence] of sequences.entries()) {
      const ids = Array.from(
        { length: promptLength },
        (_, p) => (7 * p + 13 * i + 5) % model.hyperparameters.vocabulary,
      )
      await engine.step([{ sequence, ids, depth: full }])
    }
    let depth = 0
    let rowLayers = 0
    const started = performance.now()
    for (let t = 0; t < tokens; t++) {
      const outcomes = await engine.step(
        sequences.map((sequence) => {
          const last = exits ? drawLayer(random) : layers - 1
          depth += last + 1
          return { sequence, ids: [Math.floor(random() * model.hyperparameters.vocabulary)], depth: { ...full, last } }
        }),
      )
      for (const outcome of outcomes) {
        if ('error' in outcome) throw outcome.error
        rowLayers += outcome.result.rowLayers
      }
    }
    const ms = performance.now() - started
    const count = tokens * batch
    return { perSecond: (count / ms) * 1000, meanDepth: depth / count, computed: rowLayers / count }
  } finally {
    for (const sequence of sequences) sequence.dispose()
  }
}

const batches = options.batch.split(',').map(Number)
const samples = batches.map(() => ({ full: [], exits: [] }))
const seeds = Array.from({ length: rounds + 1 }, (_, round) => Number(options.seed) + round)
for (let round = 0; round <= rounds; round++) {
  for (const [i, batch] of batches.entries()) {
    // Other draws in every round: which graphs are there already is as in use.
    const whole = await run(batch, false, seeds[round])
    const early = await run(batch, true, seeds[round])
    // The first round warms up.
    if (round === 0) continue
    samples[i].full.push(whole)
    samples[i].exits.push(early)
  }
}
const costOf = await measureRows()
await model.dispose()

const rows = batches.map((batch, i) => {
  const { full: whole, exits } = samples[i]
  return {
    batch,
    full: median(whole.map((s) => s.perSecond)),
    exits: median(exits.map((s) => s.perSecond)),
    ratio: median(exits.map((s, r) => s.perSecond / whole[r].perSecond)),
    mean_depth: median(exits.map((s) => s.meanDepth)),
    computed: median(exits.map((s) => s.computed)),
    most: median(seeds.slice(1).map((seed) => mostGain(batch, costOf, seed))),
    held: median(seeds.slice(1).map((seed) => mostHeld(batch, costOf, seed))),
  }
})
console.log('batch  full tok/s  exits tok/s  ratio  mean depth  computed  of the first  at most  held at most')
for (const r of rows) {
  const cells = [r.batch, r.full.toFixed(1), r.exits.toFixed(1), r.ratio.toFixed(2), r.mean_depth.toFixed(1)]
  cells.push(
    r.computed.toFixed(1),
    `${Math.round((100 * r.ratio) / rows[0].ratio)}%`,
    r.most.toFixed(2),
    r.held.toFixed(2),
  )
  console.log(cells.map((cell, i) => String(cell).padStart([5, 12, 13, 7, 12, 10, 14, 9, 14][i])).join(''))
}
console.log(JSON.stringify({ layers, rounds, rows }))
