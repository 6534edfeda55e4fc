// Four sequences decode while a prompt of 4,000 tokens arrives: how long they wait for their next token, how long the prompt waits for its
// first one, and how late timers fire meanwhile.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { loadModel } from '../dist/index.js'
import { median, printTable, promptOf } from './worker.js'

const SEQUENCES = 4
const PROMPT = 4000
/** What the sequences decode alone, and how far they are when the prompt comes. */
const ALONE = 64
const BEFORE = 16
/** Sequences decode until the prompt has its first token, and no longer than the context. */
const CONTEXT = 8192

/** @param path of SmolLM2's file */
export async function responsive(path, { rounds, threads }) {
  const model = await loadModel(path, { threads, slots: SEQUENCES + 1, context: CONTEXT })
  const measured = []
  try {
    for (let round = 0; round <= rounds; round++) {
      const one = await measure(model)
      // Round 0 warms up: graphs, costs, clocks.
      if (round > 0) measured.push(one)
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2Kresponsive: round ${round} of ${rounds}`)
    }
  } finally {
    await model.dispose()
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  return report(measured, { rounds, threads })
}

async function measure(model) {
  const prefill = await firstToken(model)
  const alone = await Promise.all(sequences().map((prompt) => decode(model, prompt, () => false, ALONE)))
  const stepMs = median(alone.flatMap(gapsOf))
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let over = false
  let arrive
  const arrived = new Promise((resolve) => {
    arrive = resolve
  })
  const decoding = sequences().map((prompt, i) =>
    decode(model, prompt, (count) => {
      if (i === 0 && count === BEFORE) arrive()
      return over
    }),
  )
  await arrived
  delay.enable()
  const from = performance.now()
  const first = await firstToken(model)
  const to = performance.now()
  delay.disable()
  over = true
  const times = await Promise.all(decoding)
  const during = times.map((of) => of.filter((at) => at >= from && at <= to))
  const steps = Math.max(...during.map((of) => of.length))
  return {
    stepMs,
    // The gap that the prompt's arrival falls into counts, and so does the one that it ends in.
    longestGapMs: Math.max(...times.flatMap((of) => gapsOf(of.filter((at) => at >= from - stepMs * 2)))),
    prefillMs: prefill,
    firstMs: first,
    steps,
    expectedMs: prefill + steps * stepMs,
    delayMs: delay.percentile(99) / 1e6,
  }
}

function sequences() {
  return Array.from({ length: SEQUENCES }, (_, i) => promptOf(24 + i))
}

/** When each token came. */
async function decode(model, prompt, stop, maxTokens = CONTEXT - 200) {
  const times = []
  for await (const _ of model.generate(prompt, { maxTokens, ignoreEos: true, temperature: 0 })) {
    times.push(performance.now())
    if (stop(times.length)) break
  }
  return times
}

async function firstToken(model) {
  const from = performance.now()
  await model.generate(promptOf(PROMPT), { maxTokens: 1, ignoreEos: true, temperature: 0 }).result
  return performance.now() - from
}

function gapsOf(times) {
  return times.slice(1).map((at, i) => at - times[i])
}

function report(measured, { rounds, threads }) {
  const of = (figure) => median(measured.map(figure))
  const gap = of(({ longestGapMs, stepMs }) => longestGapMs / Math.max(100, 2.5 * stepMs))
  const late = of(({ firstMs, expectedMs }) => firstMs / expectedMs)
  const ms = (figure) => `${of(figure).toFixed(0)} ms`
  console.log(`\n${SEQUENCES} sequences decode, a prompt of ${PROMPT} tokens arrives: SmolLM2-135M-Instruct, Q4_1\n`)
  printTable([
    ['', 'measured', 'goal'],
    ['a step without the prompt', ms(({ stepMs }) => stepMs), ''],
    [
      'longest gap between two tokens',
      `${ms(({ longestGapMs }) => longestGapMs)}, ${gap.toFixed(2)} of the goal`,
      '100 ms or 2.5 steps',
    ],
    ['the prompt alone', ms(({ prefillMs }) => prefillMs), ''],
    ['its first token meanwhile', ms(({ firstMs }) => firstMs), ''],
    ['over the prompt alone and the steps meanwhile', `${late.toFixed(2)}x`, '1.25x'],
    ['steps meanwhile', of(({ steps }) => steps).toFixed(0), ''],
    ['delay of the event loop, p99', ms(({ delayMs }) => delayMs), '20 ms'],
  ])
  console.log(`\nmedians of ${rounds} rounds, ${threads} threads\n`)
  const document = { title: 'responsive', rounds, threads, measured }
  console.log(JSON.stringify(document))
  return document
}
