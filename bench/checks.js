// What exit checks cost: npm run bench:checks -- [--rounds 15] [--threads 2] [--tokens 256]
//
// Exits are drawn from a seed around three quarters of the depth, the same for every kind of check, so that only the price
// of looking differs. Runs take turns in one process; the table gives medians.
import { parseArgs } from 'node:util'
import { median, medianRatio } from '../dist/calibrate/quantile.js'
import { loadModel } from '../dist/index.js'
import { ensureTinyLlama } from './tinyllama.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    threads: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '256' },
    model: { type: 'string', default: 'ripple-8m,tinyllama' },
  },
})
const rounds = Number(values.rounds)
const k = Number(values.tokens)

for (const name of values.model.split(',')) {
  const path = name === 'tinyllama' ? await ensureTinyLlama() : name
  const model = await loadModel(path, { thread: false, threads: Number(values.threads) })
  for (const kind of ['prompt', 'decode']) await measure(name, model, kind)
  await model.dispose()
}

async function measure(name, model, kind) {
  const { layers, vocabulary } = model.hyperparameters
  const some = Array.from({ length: k }, (_, i) => Math.floor(((i + 0.5) * vocabulary) / k))
  const all = Array.from({ length: layers - 1 }, (_, l) => l)
  const chosen = all.filter((l) => l >= layers / 2 && (layers - 2 - l) % 2 === 0)
  const cases = [
    { name: 'full' },
    { name: 'exits known beforehand', checks: chosen, look: false },
    { name: 'every layer, whole head', checks: all },
    { name: `every layer, ${k} tokens`, checks: all, tokens: some },
    { name: 'chosen layers, whole head', checks: chosen },
    { name: `chosen layers, ${k} tokens`, checks: chosen, tokens: some },
  ]
  const samples = cases.map(() => [])
  const depths = cases.map(() => 0)
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < cases.length; i++) {
      const at = (i + round) % cases.length
      const run = await once(model, kind, depthOf(cases[at], chosen, layers), round)
      if (round > 0) samples[at].push(run)
      depths[at] = run.depth
    }
  }
  const time = samples.map((s) => median(s.map((x) => x.ms)))
  const toFull = samples.map((s) =>
    medianRatio(
      s.map((x) => x.ms),
      samples[0].map((x) => x.ms),
    ),
  )
  const layerMs = (time[0] - time[1]) / (layers - depths[1])
  console.log(`\n${name} (${model.quantization}) · ${kind} · ${layers} layers · ${values.threads} threads`)
  console.table(
    cases.map((c, i) => {
      const checks = median(samples[i].map((x) => x.checkMs))
      const saved = (layers - depths[i]) * layerMs
      const looks = i > 1
      return {
        case: c.name,
        layers: depths[i].toFixed(2),
        'time / full': toFull[i].toFixed(3),
        'checks, ms': looks ? checks.toFixed(3) : '',
        'of the time': looks ? `${((100 * checks) / time[i]).toFixed(1)}%` : '',
        'of the time of layers saved': looks ? `${((100 * checks) / saved).toFixed(1)}%` : '',
        'time saved / layers saved': i > 0 ? ((1 - toFull[i]) / (1 - depths[i] / layers)).toFixed(2) : '',
      }
    }),
  )
}

/** One prompt of 128 tokens up to its first token, or 32 tokens after it. */
async function once(model, kind, depth, seed) {
  const ids = Array.from({ length: 128 }, (_, i) => 3 + ((i * 7919 + seed) % (model.hyperparameters.vocabulary - 3)))
  if (kind === 'prompt') return await model.predict(ids, { depth })
  const result = await model.generate(ids, { depth, maxTokens: 33, ignoreEos: true }).result
  const own = result.depths.slice(1)
  return {
    ms: result.timing.decodeMs / own.length,
    checkMs: result.checkMs / result.depths.length,
    depth: own.reduce((sum, d) => sum + d, 0) / own.length,
  }
}

function depthOf({ checks, tokens, look = true }, chosen, layers) {
  if (checks === undefined) return 'full'
  const stopOf = ({ position }) => chosen[hash(position) % chosen.length]
  return look
    ? {
        kind: 'exit',
        spec: 'drawn',
        ...(tokens === undefined ? {} : { checkTokens: tokens }),
        checkLayers: () => checks,
        startToken: stopOf,
        exits: ({ layer }, stop) => layer === stop,
      }
    : {
        kind: 'skip',
        spec: 'known',
        prompt: 'plan',
        plan: () => Array.from({ length: Math.round(layers * 0.75) }, (_, l) => l),
      }
}

function hash(position) {
  return (Math.imul(position ^ 0x5bd1e995, 0x9e3779b1) >>> 16) & 0xffff
}
