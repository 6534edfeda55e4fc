// What it costs that a model computes in a thread or a process of its own, and how late the caller's timers fire meanwhile.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { loadModel } from '../dist/index.js'
import { median, printTable, promptOf } from './worker.js'

const PROMPT = 16
const PAUSE_MS = 200
const PLACES = [
  { place: 'here', options: { thread: false } },
  { place: 'thread', options: { thread: true } },
  { place: 'process', options: { process: true } },
]

/** @param models name and path */
export async function thread(models, { rounds, threads, tokens }) {
  const documents = []
  for (const { name, path } of models) documents.push(await measure(name, path, { rounds, threads, tokens }))
  console.log(`\n${tokens} tokens where the model computes, medians of ${rounds} rounds, ${threads} threads\n`)
  printTable([
    ['', 'here', 'thread', 'of here', 'goal', 'process', 'of here', 'timers late (p99): here', 'thread', 'process'],
    ...documents.map(({ name, goal, here, thread, process }) => [
      name,
      `${here.rate.toFixed(1)} tokens/s`,
      thread.rate.toFixed(1),
      thread.ratio.toFixed(3),
      goal.toFixed(2),
      process.rate.toFixed(1),
      process.ratio.toFixed(3),
      ...[here, thread, process].map(({ lateMs }) => `${lateMs.toFixed(1)} ms`),
    ]),
  ])
  console.log(JSON.stringify(documents))
  return documents
}

async function measure(name, path, { rounds, threads, tokens }) {
  const models = []
  for (const { place, options } of PLACES) models.push({ place, model: await loadModel(path, { threads, ...options }) })
  const samples = Object.fromEntries(PLACES.map(({ place }) => [place, []]))
  try {
    for (let round = 0; round <= rounds; round++) {
      const one = {}
      for (const { place, model } of round % 2 === 0 ? models : models.toReversed()) {
        // Threads that have computed spin for a while.
        await setTimeout(PAUSE_MS)
        const rate = await decode(model, tokens)
        // The clock that measures wakes this thread every ms: it has a run of its own.
        const delay = monitorEventLoopDelay({ resolution: 1 })
        delay.enable()
        await decode(model, tokens)
        delay.disable()
        one[place] = { rate, lateMs: delay.percentile(99) / 1e6 - 1 }
      }
      // Round 0 warms up.
      if (round === 0) continue
      for (const { place } of models) samples[place].push({ ...one[place], ratio: one[place].rate / one.here.rate })
    }
  } finally {
    for (const { model } of models) await model.dispose()
  }
  const of = (place) => ({
    rate: median(samples[place].map(({ rate }) => rate)),
    ratio: median(samples[place].map(({ ratio }) => ratio)),
    lateMs: median(samples[place].map(({ lateMs }) => lateMs)),
  })
  return {
    ...{ name, rounds, threads, tokens },
    goal: path === 'ripple-8m' ? 0.97 : 1,
    ...Object.fromEntries(PLACES.map(({ place }) => [place, of(place)])),
  }
}

/** From the first token to the last, as the caller sees them. */
async function decode(model, tokens) {
  let first = 0
  let last = 0
  for await (const _ of model.generate(promptOf(PROMPT), { maxTokens: tokens, ignoreEos: true, temperature: 0 })) {
    last = performance.now()
    if (first === 0) first = last
  }
  return ((tokens - 1) * 1000) / (last - first)
}
