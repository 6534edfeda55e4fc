// Shoal and node-llama-cpp on the same file: CPU, same threads, same prompt and context, rounds interleaved. Both stay
// loaded in processes of their own and take turns, so that both meet the same machine. On the real model node-llama-cpp
// takes part twice: how far it differs from itself is what a difference must exceed.
import { writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { readGguf } from '../dist/checkpoint/gguf.js'
import { GEMMA3, realModel, SMOLLM2 } from '../test/real-model.mjs'
import { readBandwidth } from './bandwidth.js'
import { batchBound } from './batch-bound.js'
import { busy } from './busy.js'
import { ensureExperts } from './experts.js'
import { prefix } from './prefix.js'
import { responsive } from './responsive.js'
import { thread } from './thread.js'
import { ensureTinyLlama } from './tinyllama.js'
import { installLlama, median, printTable, promptOf, quantile, startWorker } from './worker.js'

const USAGE = `npm run bench -- [options]
  --parts a,b    some of: tinyllama, experts, smollm2, gemma3, busy, responsive, prefix, thread, batch; all of them
  --rounds N     interleaved rounds, 9
  --tokens N     new tokens per run, 128
  --long N       tokens in the cache for the long rows, 2000; 0 leaves them out
  --threads N    threads of both, all cores
  --model FILE   one other GGUF file, and none of the parts
  --only a,b     some of: decode, long, prefill128, prefill512, unified, batch8
  --no-llama     Shoal alone
  --json FILE    write the figures there too`

const { values } = parseArgs({
  options: {
    parts: { type: 'string', default: 'tinyllama,experts,smollm2,gemma3,busy,responsive,prefix,thread,batch' },
    rounds: { type: 'string', default: '9' },
    tokens: { type: 'string', default: '128' },
    long: { type: 'string', default: '2000' },
    threads: { type: 'string', default: String(availableParallelism()) },
    model: { type: 'string' },
    only: { type: 'string' },
    'no-llama': { type: 'boolean', default: false },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const rounds = Number(values.rounds)
const tokens = Number(values.tokens)
const long = Number(values.long)
const threads = Number(values.threads)

/** Each case: what it measures, and the runs of a round. `of` is the case that a ratio within Shoal is taken to. */
const CASES = [
  { name: 'decode', prompt: 16, tokens, figure: 'decode', llama: true, goal: 1 },
  { name: 'long', prompt: long, tokens, figure: 'decode', llama: true, goal: 1 },
  { name: 'prefill128', prompt: 128, tokens: 1, figure: 'prefill', llama: true, goal: 1 },
  { name: 'prefill512', prompt: 512, tokens: 1, figure: 'prefill', llama: true, goal: 1 },
  { name: 'unified', prompt: 16, tokens, figure: 'decode', depth: 'unified:2x,by=layers', of: 'decode', goal: 1.8 },
  { name: 'batch8', prompt: 16, tokens, figure: 'decode', batch: 8, of: 'decode', goal: 2.8 },
].filter(({ name, prompt }) => prompt > 0 && (values.only === undefined || values.only.split(',').includes(name)))

const PARTS = {
  tinyllama: async () => compare("TinyLlama's shape, random weights, Q4_0", await ensureTinyLlama(), CASES),
  experts: async () =>
    compare(
      '32 experts, four used, random weights, Q4_0',
      await ensureExperts(),
      CASES.filter(({ name }) => name !== 'unified'),
    ),
  smollm2: () => real('SmolLM2-135M-Instruct, Q4_1', SMOLLM2),
  gemma3: () => real('Gemma 3 270M, Q4_K_M', GEMMA3),
  busy: () => busy({ rounds }),
  async responsive() {
    const path = realModel(SMOLLM2)
    return path === null ? null : responsive(path, { rounds, threads })
  },
  prefix() {
    const real = [SMOLLM2, GEMMA3].flatMap((file) => {
      const path = realModel(file)
      return path === null ? [] : [{ name: file.replace(/\.gguf$/, ''), path }]
    })
    return prefix(real, { rounds, threads })
  },
  async thread() {
    const smollm2 = realModel(SMOLLM2)
    const models = [
      { name: 'ripple-8m', path: 'ripple-8m' },
      ...(smollm2 === null ? [] : [{ name: 'SmolLM2-135M-Instruct', path: smollm2 }]),
      { name: "TinyLlama's shape", path: await ensureTinyLlama() },
    ]
    return thread(models, { rounds, threads, tokens })
  },
  async batch() {
    const smollm2 = realModel(SMOLLM2)
    const models = [
      ...(smollm2 === null ? [] : [{ name: 'SmolLM2-135M-Instruct', path: smollm2 }]),
      { name: "TinyLlama's shape", path: await ensureTinyLlama() },
    ]
    return batchBound(models, { rounds, threads, tokens })
  },
}

/** A real model, where its file is. */
async function real(title, file) {
  const path = realModel(file)
  if (path === null) return null
  const cases = CASES.filter(({ name }) => ['decode', 'long', 'prefill512'].includes(name))
  return compare(title, path, cases, { twice: true })
}

const documents = []
if (values.model !== undefined) documents.push(await compare(values.model, values.model, CASES))
else {
  for (const name of values.parts.split(',')) {
    if (PARTS[name] === undefined)
      throw new Error(`there is no part ${name}; known are ${Object.keys(PARTS).join(', ')}`)
    const document = await PARTS[name]()
    if (document) documents.push(document)
  }
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(documents, null, 2)}\n`)

/** @param options.twice node-llama-cpp runs in two processes, which are compared with each other too */
async function compare(title, path, cases, { twice = false } = {}) {
  const bandwidth = await readBandwidth(threads)
  const context = Math.max(1024, Math.max(...cases.map((c) => c.prompt)) + tokens + 8)
  const start = { path, threads, context }
  const engines = [{ name: 'shoal', worker: await startWorker('./shoal-worker.js', start) }]
  if (!values['no-llama']) {
    installLlama()
    engines.push({ name: 'llama', worker: await startWorker('./llama-worker.js', start) })
    if (twice) engines.push({ name: 'again', worker: await startWorker('./llama-worker.js', start) })
  }

  const samples = new Map(cases.map((c) => [c.name, { shoal: [], llama: [], again: [] }]))
  for (let round = 0; round <= rounds; round++) {
    for (const c of cases) {
      // Who goes first changes from round to round.
      const order = engines.map((_, i) => engines[(i + round) % engines.length])
      for (const { name, worker } of order) {
        if (name !== 'shoal' && !c.llama) continue
        const run = { prompt: promptOf(c.prompt), tokens: c.tokens, depth: c.depth, batch: c.batch }
        const { prefillMs, decodeMs, tokens: n } = await worker.ask({ run })
        const batch = c.batch ?? 1
        const speed = c.figure === 'prefill' ? (c.prompt * 1000) / prefillMs : (batch * (n - 1) * 1000) / decodeMs
        // Round 0 warms up: graphs, pages, clocks.
        if (round > 0) samples.get(c.name)[name].push(speed)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2Kround ${round} of ${rounds}: ${c.name}`)
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  for (const { worker } of engines) worker.end()
  return report(title, path, cases, samples, { bandwidth, context, twice })
}

async function report(title, path, cases, samples, { bandwidth, context, twice }) {
  const bytes = await weightBytes(path, title)
  const rows = cases.map((c) => {
    const { shoal, llama, again } = samples.get(c.name)
    const row = {
      case: c.name,
      prompt: c.prompt,
      batch: c.batch ?? 1,
      depth: c.depth ?? 'full',
      unit: 'tok/s',
      goal: c.goal,
    }
    row.shoal = median(shoal)
    if (c.llama && llama.length > 0) {
      row.llama = median(llama)
      row.ratio = median(shoal.map((speed, i) => speed / llama[i]))
    }
    if (again.length > 0) {
      // Against both of them, since neither is the right one.
      row.ratio = median(shoal.map((speed, i) => speed / Math.sqrt(llama[i] * again[i])))
      const ratios = again.map((speed, i) => speed / llama[i])
      row.self = { median: median(ratios), quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)] }
    }
    if (c.of !== undefined && samples.has(c.of)) {
      row.of = c.of
      const base = samples.get(c.of).shoal
      row.ratio = median(shoal.map((speed, i) => speed / base[i]))
    }
    if (c.figure === 'decode' && (c.batch ?? 1) === 1 && c.depth === undefined && bytes !== null) {
      row.bytes_per_token = bytes.weights + bytes.cachePerPosition * (c.prompt + c.tokens / 2)
      row.gb_per_second = (row.bytes_per_token * row.shoal) / 1e9
    }
    row.samples = { shoal, llama, ...(again.length > 0 && { again }) }
    return row
  })
  const cells = rows.map((row) => [
    row.case,
    String(row.prompt),
    String(row.batch),
    row.depth,
    row.shoal.toFixed(1),
    row.llama?.toFixed(1) ?? '',
    row.ratio === undefined ? '' : `${row.ratio.toFixed(2)}x${row.of === undefined ? '' : ` of ${row.of}`}`,
    row.self === undefined
      ? `${row.goal}x`
      : `its own two: ${row.self.median.toFixed(2)}x, half of the rounds ${row.self.quartiles.map((q) => q.toFixed(2)).join(' to ')}`,
    row.bytes_per_token === undefined ? '' : `${(row.bytes_per_token / 1e6).toFixed(0)} MB`,
    row.gb_per_second === undefined ? '' : `${row.gb_per_second.toFixed(1)} GB/s`,
  ])
  const header = [
    'case',
    'prompt',
    'batch',
    'depth',
    'shoal',
    'node-llama-cpp',
    'ratio',
    twice ? 'node-llama-cpp beside itself' : 'goal',
    'read per token',
    'reads',
  ]
  console.log(`\n${title}\n`)
  printTable([header, ...cells])
  const machine = { cpu: cpus()[0]?.model ?? '', threads, read_gb_per_second: bandwidth / 1e9, node: process.version }
  console.log(`\nmedians of ${rounds} rounds, tokens per second; ratios are medians of each round's ratio`)
  console.log(`${machine.cpu}, ${threads} threads, reads ${machine.read_gb_per_second.toFixed(1)} GB/s\n`)
  const document = { title, rounds, tokens, context, machine, rows }
  console.log(JSON.stringify(document))
  return document
}

/** What decoding one token of TinyLlama's shape reads: every matrix but the embedding, of which it takes a row, and the f16 cache. */
async function weightBytes(path, title) {
  if (!title.startsWith('TinyLlama')) return null
  const { tensors } = await readGguf(path)
  let weights = 0
  for (const { name, bytes } of tensors.values()) if (name !== 'token_embd.weight') weights += bytes
  return { weights, cachePerPosition: 22 * 4 * 64 * 2 * 2 }
}
