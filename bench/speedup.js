// Target, predicted and delivered speedup of unified:Sx over full depth at the same batch size, rounds interleaved.
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { basename } from 'node:path'
import { parseArgs } from 'node:util'
import { loadModel } from '../dist/index.js'
import { ensureTinyLlama } from './tinyllama.js'

const USAGE = `npm run bench:speedup -- [options]
  --rounds N     interleaved rounds, 7
  --batch LIST   sequences at once, 1,2,8
  --target LIST  target speedups, 2,5
  --prompt N     tokens of each prompt, 128
  --tokens N     new tokens of each sequence, 64
  --threads N    threads that compute, 2
  --model FILE   another model than TinyLlama's shape in q4_0, which is written for this
  --json FILE    write the figures there too`

/** Published, delivered over target by batch: prompt and output tokens over all time (arXiv 2404.06954, table 4). */
const PAPER = { 1: { 2: 0.88, 5: 0.79 }, 2: { 2: 0.87, 5: 0.72 }, 8: { 2: 0.83, 5: 0.66 } }
/** What is asked for of delivered over target in decode time. */
const GOAL = { 2: 0.98, 5: 0.95 }

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    batch: { type: 'string', default: '1,2,8' },
    target: { type: 'string', default: '2,5' },
    prompt: { type: 'string', default: '128' },
    tokens: { type: 'string', default: '64' },
    threads: { type: 'string', default: '2' },
    model: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const rounds = Number(values.rounds)
const batches = values.batch.split(',').map(Number)
const targets = values.target.split(',').map(Number)
const [prompt, tokens, threads] = [values.prompt, values.tokens, values.threads].map(Number)

const path = values.model ?? (await ensureTinyLlama())
const model = await loadModel(path, {
  thread: false,
  threads,
  slots: Math.max(...batches),
  context: prompt + tokens + 8,
})
const rows = []
const profiles = []
for (const batch of batches) {
  progress(`measuring what a step costs at batch ${batch}`)
  const costs = await model.costs(batch, { anew: true })
  profiles.push(costs)
  const cases = [{ depth: 'full', samples: [] }]
  for (const target of targets) {
    const depth = `unified:${target}x,batch=${batch}`
    const { everyToken, speedup } = await model.policy(depth)
    cases.push({ depth, target, plan: everyToken, predicted: speedup.predicted, samples: [] })
  }
  for (let round = 0; round <= rounds; round++) {
    // Who goes first changes from round to round.
    for (const c of round % 2 === 0 ? cases : [...cases].reverse()) {
      progress(`batch ${batch}, round ${round} of ${rounds}: ${c.depth}`)
      const sample = await run(c.depth, batch)
      // Round 0 warms up: graphs, pages, clocks.
      if (round > 0) c.samples.push(sample)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const [full, ...others] = cases
  for (const { depth, target, plan, predicted, samples } of others) {
    const ratio = (key) => median(samples.map((sample, i) => full.samples[i][key] / sample[key]))
    const delivered = ratio('decodeMs')
    const whole = ratio('totalMs')
    rows.push({
      batch,
      target,
      depth,
      layers: plan.length,
      plan,
      predicted,
      delivered,
      delivered_over_target: delivered / target,
      predicted_over_delivered: predicted / delivered,
      goal: GOAL[target] ?? null,
      whole,
      whole_over_target: whole / target,
      paper: PAPER[batch]?.[target] ?? null,
      full_tokens_per_second: median(full.samples.map(({ decodeMs }) => (batch * (tokens - 1) * 1000) / decodeMs)),
      tokens_per_second: median(samples.map(({ decodeMs }) => (batch * (tokens - 1) * 1000) / decodeMs)),
      samples: { full: full.samples, unified: samples },
    })
  }
}
progress('')
await model.dispose()
report()

/** The same number of new tokens in every sequence, greedy. Decoding lasts from the first token to the slowest's last. */
async function run(depth, batch) {
  const started = performance.now()
  const results = await Promise.all(
    Array.from({ length: batch }, (_, i) => {
      const ids = Array.from({ length: prompt }, (_, k) => 3 + ((k * 7919 + i * 104_729) % 256))
      return model.generate(ids, { depth, maxTokens: tokens, ignoreEos: true }).result
    }),
  )
  return {
    decodeMs: Math.max(...results.map(({ timing }) => timing.decodeMs)),
    totalMs: performance.now() - started,
  }
}

function report() {
  const ms = (value) => value.toFixed(2)
  printTable([
    ['batch', 'full step ms', 'layer', 'head', 'check', 'rest', 'by layers'],
    ...profiles.map((c) => [
      String(c.batch),
      ...[c.fullMs, c.layerMs, c.headMs, c.checkMs, c.restMs].map(ms),
      c.plans.map((plan) => `${plan.layers}: ${ms(plan.ms)}`).join('  '),
    ]),
  ])
  console.log('')
  const header = ['batch', 'target', 'layers', 'tok/s', 'full', 'predicted', 'delivered', 'predicted/delivered']
  printTable([
    [...header, 'delivered/target', 'goal', 'prompt + output', 'over target', 'paper'],
    ...rows.map((row) => [
      String(row.batch),
      `${row.target}x`,
      `${row.layers} of ${model.hyperparameters.layers}`,
      row.tokens_per_second.toFixed(1),
      row.full_tokens_per_second.toFixed(1),
      `${row.predicted.toFixed(2)}x`,
      `${row.delivered.toFixed(2)}x`,
      row.predicted_over_delivered.toFixed(3),
      row.delivered_over_target.toFixed(3),
      row.goal === null ? '' : `>= ${row.goal}`,
      `${row.whole.toFixed(2)}x`,
      row.whole_over_target.toFixed(2),
      row.paper === null ? '' : row.paper.toFixed(2),
    ]),
  ])
  const machine = { cpu: cpus()[0]?.model ?? '', threads, node: process.version }
  console.log(
    `\nprompt ${prompt}, ${tokens} new tokens, greedy; medians of each round's ratio to full depth at the same batch, ${rounds} rounds`,
  )
  console.log(
    '"prompt + output" counts all tokens over all time, as the paper does; the columns before it decoding alone',
  )
  console.log(`${machine.cpu}, ${threads} threads, node ${machine.node}\n`)
  const document = { file: basename(path), rounds, prompt, tokens, machine, profiles, rows }
  console.log(JSON.stringify(document))
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(document, null, 2)}\n`)
}

function progress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${text}`)
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function printTable(all) {
  const widths = all[0].map((_, c) => Math.max(...all.map((row) => row[c].length)))
  for (const row of all)
    console.log(
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join('  ')
        .trimEnd(),
    )
}
