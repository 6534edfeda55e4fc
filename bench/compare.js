// Shoal and node-llama-cpp on the same file: CPU, same threads, same prompt and context, rounds interleaved. Both stay
// loaded in processes of their own and take turns, so that both meet the same machine.
import { fork, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { readGguf } from '../dist/checkpoint/gguf.js'
import { readBandwidth } from './bandwidth.js'
import { ensureTinyLlama, SHAPE } from './tinyllama.js'

const USAGE = `npm run bench -- [options]
  --rounds N     interleaved rounds, 7
  --tokens N     new tokens per run, 128
  --long N       tokens in the cache for the long rows, 2000; 0 leaves them out
  --threads N    threads of both, all cores
  --model FILE   another GGUF file than the one of TinyLlama's shape that is written for this
  --only a,b     some of: decode, long, prefill128, prefill512, unified, batch8
  --no-llama     Shoal alone
  --json FILE    write the figures there too`

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
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

const path = values.model ?? (await ensureTinyLlama())
const bandwidth = await readBandwidth(threads)
const context = Math.max(1024, Math.max(...CASES.map((c) => c.prompt)) + tokens + 8)

const engines = [{ name: 'shoal', worker: await startWorker('./shoal-worker.js') }]
if (!values['no-llama']) {
  installLlama()
  engines.push({ name: 'llama', worker: await startWorker('./llama-worker.js') })
}

const samples = new Map(CASES.map((c) => [c.name, { shoal: [], llama: [] }]))
for (let round = 0; round <= rounds; round++) {
  for (const c of CASES) {
    // Who goes first changes from round to round.
    const order = round % 2 === 0 ? engines : [...engines].reverse()
    for (const { name, worker } of order) {
      if (name === 'llama' && !c.llama) continue
      const {
        prefillMs,
        decodeMs,
        tokens: n,
      } = await worker.ask({
        run: { prompt: promptOf(c.prompt), tokens: c.tokens, depth: c.depth, batch: c.batch },
      })
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
await report()

async function report() {
  const bytes = await weightBytes()
  const rows = CASES.map((c) => {
    const { shoal, llama } = samples.get(c.name)
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
    if (c.of !== undefined && samples.has(c.of)) {
      row.of = c.of
      const base = samples.get(c.of).shoal
      row.ratio = median(shoal.map((speed, i) => speed / base[i]))
    }
    if (c.figure === 'decode' && (c.batch ?? 1) === 1 && c.depth === undefined && bytes !== null) {
      row.bytes_per_token = bytes.weights + bytes.cachePerPosition * (c.prompt + c.tokens / 2)
      row.gb_per_second = (row.bytes_per_token * row.shoal) / 1e9
    }
    row.samples = { shoal, llama }
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
    `${row.goal}x`,
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
    'goal',
    'read per token',
    'reads',
  ]
  printTable([header, ...cells])
  const machine = { cpu: cpus()[0]?.model ?? '', threads, read_gb_per_second: bandwidth / 1e9, node: process.version }
  console.log(`\nmedians of ${rounds} rounds, tokens per second; ratios are medians of each round's ratio`)
  console.log(`${machine.cpu}, ${threads} threads, reads ${machine.read_gb_per_second.toFixed(1)} GB/s\n`)
  const document = { file: path, rounds, tokens, context, machine, rows }
  console.log(JSON.stringify(document))
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(document, null, 2)}\n`)
}

/** What decoding one token reads: every matrix but the embedding, of which it takes a row, and the f16 cache. */
async function weightBytes() {
  if (values.model !== undefined) return null
  const { tensors } = await readGguf(path)
  let weights = 0
  for (const { name, bytes } of tensors.values()) if (name !== 'token_embd.weight') weights += bytes
  return { weights, cachePerPosition: SHAPE.layers * SHAPE.kvHeads * SHAPE.headDim * 2 * 2 }
}

/** node-llama-cpp has a folder and a lock file of its own, so that Shoal's own install stays small. */
function installLlama() {
  const folder = fileURLToPath(new URL('../test/llama-cpp', import.meta.url))
  if (existsSync(`${folder}/node_modules/node-llama-cpp`)) return
  console.error('installing node-llama-cpp in test/llama-cpp')
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (npm.status !== 0) throw new Error('node-llama-cpp could not be installed; --no-llama measures Shoal alone')
}

function promptOf(length) {
  return Array.from({ length }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919) % 256)))
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

function printTable(rows) {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join('  ')
        .trimEnd(),
    )
}

async function startWorker(file) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  let next = 0
  const waiting = new Map()
  child.on('message', ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) resolve(result)
    else reject(new Error(`${file}: ${error}`))
  })
  child.on('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${file} ended with ${code}`))
  })
  const worker = {
    ask: (message) =>
      new Promise((resolve, reject) => {
        const id = next++
        waiting.set(id, { resolve, reject })
        child.send({ id, ...message })
      }),
    end: () => child.disconnect(),
  }
  await worker.ask({ start: { path, threads, context } })
  return worker
}
