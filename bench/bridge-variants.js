/**
 * What else could a bridge be? Maps over the gaps of one plan, fitted one after the other on the pruned model's own rows as `shoal bridge` does:
 *
 *   linear       h + W h + b, as bridges are
 *   normed       h + W (h / rms h) + b
 *   both         h + W [h; h / rms h] + b: twice the products
 *   end          linear, and one more map after the last layer, towards the full model's last hidden state
 *   every layer  linear, and one more map after every kept layer above the first gap
 *
 *     node bench/bridge-variants.js [--model FILE] [--leave-out 3-10,14-15] [--texts 48] [--windows 8] [--threads N] [--data FOLDER]
 *
 * Added loss in nats per token on held-out news and prose.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { captureRows, RowBlock } from '../dist/calibrate/bridges/full-rows.js'
import { chooseRidge, Moments } from '../dist/calibrate/bridges/ridge.js'
import { searchTexts } from '../dist/calibrate/search-texts.js'
import { planGaps } from '../dist/depth/bridge.js'
import { allLayers } from '../dist/depth/plan.js'
import { Backend } from '../dist/ggml/backend.js'
import { RowMap } from '../dist/ggml/row-algebra.js'
import { loadModel } from '../dist/index.js'
import { realModel, SMOLLM2 } from '../test/real-model.mjs'
import { cutTexts } from './method-inputs.js'
import { printTable } from './worker.js'

const { values: options } = parseArgs({
  options: {
    model: { type: 'string' },
    'leave-out': { type: 'string', default: '3-10,14-15' },
    texts: { type: 'string', default: '48' },
    windows: { type: 'string', default: '8' },
    variants: { type: 'string', default: 'linear,normed,both,end,every layer' },
    threads: { type: 'string', default: String(availableParallelism()) },
    data: { type: 'string', default: fileURLToPath(new URL('../../shared/data', import.meta.url)) },
  },
})
const file = options.model ?? realModel(SMOLLM2)
if (file === null) process.exit(0)
const model = await loadModel(file, { thread: false, threads: Number(options.threads) })
const { layers, hidden: width } = model.hyperparameters
const last = layers - 1
const gone = new Set(options['leave-out'].split(',').flatMap(rangeOf))
const plan = allLayers(layers).filter((layer) => !gone.has(layer))
const gaps = new Map(planGaps(plan, layers).map(({ from, to }) => [from, to - 1]))
const above = plan.filter((layer) => layer > Math.min(...gaps.keys()))
const backend = new Backend({ threads: Number(options.threads) })
const folder = mkdtempSync(join(tmpdir(), 'shoal-variants-'))

const INPUTS = {
  linear: { size: width, of: (row) => row },
  normed: { size: width, of: (row) => scaled(row, 1 / rms(row)) },
  both: { size: 2 * width, of: (row) => Float32Array.from([...row, ...scaled(row, 1 / rms(row))]) },
}
/** By the layer after which there is a map, the layer of the full model that it leads to. */
const PLACES = {
  gaps,
  end: new Map([[last, last], ...gaps]),
  'every layer': new Map([...above.map((layer) => [layer, layer]), ...gaps]),
}
const VARIANTS = {
  linear: ['linear', 'gaps'],
  normed: ['normed', 'gaps'],
  both: ['both', 'gaps'],
  end: ['linear', 'end'],
  'every layer': ['linear', 'every layer'],
}

try {
  const files = cutTexts(options.data, folder)
  const fitOn = model.planLosses(await textsOf(files.seen, Number(options.texts)))
  const full = await captureRows(fitOn, { after: allLayers(layers) })
  const kinds = []
  for (const [kind, path] of Object.entries(files.heldOut)) {
    const texts = await textsOf([path], Number(options.windows))
    // A row says the token after it; what the prompt's last row says is full depth's.
    const said = texts.flatMap(({ ids, promptLength }) => [...ids.slice(promptLength + 1)])
    kinds.push({ kind, losses: model.planLosses(texts), said })
  }
  const loss = async (layersOfPlan, maps) => {
    const means = []
    for (const { losses, said } of kinds) means.push(await meanLoss(losses, said, layersOfPlan, maps))
    return means
  }
  const base = await loss(allLayers(layers), new Map())
  const plain = await loss(plan, new Map())
  const rows = [['no maps', plain, '']]
  for (const name of options.variants.split(',')) {
    const [input, places] = VARIANTS[name]
    const maps = await fitted(fitOn, full, INPUTS[input], PLACES[places])
    const left = [...maps].map(([layer, { unexplained }]) => `${layer}: ${unexplained.toFixed(2)}`)
    rows.push([name, await loss(plan, maps), left.length > 4 ? `${left.slice(0, 4).join(', ')} ..` : left.join(', ')])
  }
  printTable([
    ['maps', ...kinds.map(({ kind }) => kind), 'mean', 'left unexplained, after layer'],
    ...rows.map(([name, means, left]) => {
      const added = means.map((mean, k) => mean - base[k])
      const mean = added.reduce((sum, value) => sum + value, 0) / added.length
      return [name, ...[...added, mean].map((value) => `+${value.toFixed(3)}`), left]
    }),
  ])
  const how = `${model.name}, layers ${options['leave-out']} left out, fitted on ${options.texts} windows`
  console.log(`\n${how}, ${options.windows} windows each held out`)
} finally {
  await model.dispose()
  await backend.dispose()
  rmSync(folder, { recursive: true, force: true })
}

async function textsOf(paths, samples) {
  return (await searchTexts(model, paths, { window: 256, promptShare: 0.125, samples, heldOut: 0, seed: 0 })).search
}

/** Maps by layer, from below, each fitted on the rows that those below it give. */
async function fitted(losses, full, input, places) {
  const maps = new Map()
  await losses.rise({ layers: plan }, (rows) => {
    const to = places.get(rows.layer)
    if (to === undefined) return
    const own = RowBlock.of(rows)
    const map = fittedOn(own, full.hidden.get(to), input)
    maps.set(rows.layer, map)
    replace(rows, mapped(map, own))
  })
  return maps
}

function fittedOn(rows, target, input) {
  const moments = [new Moments(backend, input.size, width), new Moments(backend, input.size, width)]
  const cut = Math.round(rows.count * 0.8)
  for (let i = 0; i < rows.count; i++) {
    const [from, to] = [rows.row(i), target.row(i)]
    moments[i < cut ? 0 : 1].add(
      input.of(from),
      to.map((value, j) => value - from[j]),
      1 / rms(to),
    )
  }
  const { map, unexplained } = chooseRidge(...moments)
  for (const one of moments) one.dispose()
  const data = new Float32Array(width * input.size)
  map.weights.slice(0, -1).forEach((row, i) => {
    for (let j = 0; j < width; j++) data[j * input.size + i] = row[j]
  })
  const factor = { type: 'f32', columns: input.size, rows: width, data: new Uint8Array(data.buffer) }
  return { input, factor, bias: Float32Array.from(map.weights.at(-1)), unexplained }
}

function mapped({ input, factor, bias }, rows) {
  const values = Float32Array.from(rows.values)
  const map = new RowMap(backend, [factor], bias)
  const of = (i) => input.of(rows.row(i))
  map.each(rows.count, of, (i, added) => {
    for (let j = 0; j < width; j++) values[i * width + j] += added[j]
  })
  map.dispose()
  return new RowBlock(values, width)
}

function replace(rows, block) {
  for (let i = 0; i < rows.count; i++) rows.write(i, block.row(i))
}

async function meanLoss(losses, said, layersOfPlan, maps) {
  let sum = 0
  await losses.rise({ layers: layersOfPlan }, async (rows) => {
    const map = maps.get(rows.layer)
    if (map !== undefined) replace(rows, mapped(map, RowBlock.of(rows)))
    if (rows.layer !== layersOfPlan.at(-1)) return
    const all = allLayers(rows.count)
    await rows.head(all, (i, _, probabilities) => {
      sum -= Math.log(probabilities[said[i]])
    })
  })
  return sum / said.length
}

function rms(row) {
  return Math.max(Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length), 1e-12)
}

function scaled(row, factor) {
  return row.map((value) => value * factor)
}

/** `3-10` or `7`. */
function rangeOf(text) {
  const [from, to = from] = text.split('-').map(Number)
  return Array.from({ length: to - from + 1 }, (_, i) => from + i)
}
