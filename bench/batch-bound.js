// What eight sequences at once can gain at most on this machine, from the costs of each matrix's products with one row and with eight, and what
// they do gain.
import { readGguf } from '../dist/checkpoint/gguf.js'
import { cacheFolder } from '../dist/convert/cache-folder.js'
import { chooseBuffers } from '../dist/engine/run/buffer-choice.js'
import { MachineMemory } from '../dist/engine/run/machine-memory.js'
import { weightUses } from '../dist/engine/run/weight-uses.js'
import { familyByArchitecture } from '../dist/families/index.js'
import { Backend } from '../dist/ggml/backend.js'
import { BYTES_IN_TURN, productCosts } from '../dist/ggml/product-cost.js'
import { loadModel } from '../dist/index.js'
import { median, printTable, promptOf } from './worker.js'

const BATCH = 8
const PROMPT = 16

/** @param models name and path */
export async function batchBound(models, { rounds, threads, tokens }) {
  const documents = []
  for (const { name, path } of models) documents.push(await measure(name, path, { rounds, threads, tokens }))
  console.log(`\nEight sequences at once, medians of ${rounds} rounds, ${threads} threads\n`)
  printTable([
    [
      '',
      'products of one row',
      'of eight',
      'a step with one',
      'with eight',
      'bound',
      'measured',
      'of the bound',
      'goal',
    ],
    ...documents.map((d) => [
      d.name,
      `${d.productsMs[0].toFixed(2)} ms`,
      `${d.productsMs[1].toFixed(2)} ms`,
      `${d.stepMs[0].toFixed(2)} ms`,
      `${d.stepMs[1].toFixed(2)} ms`,
      `${d.bound.toFixed(2)}x`,
      `${d.measured.toFixed(2)}x`,
      d.ofBound.toFixed(2),
      '0.90',
    ]),
  ])
  console.log(JSON.stringify(documents))
  return documents
}

async function measure(name, path, { rounds, threads, tokens }) {
  const products = []
  const steps = { one: [], eight: [], gain: [] }
  const model = await loadModel(path, { threads, slots: BATCH, thread: false })
  const gguf = await readGguf(path)
  const family = familyByArchitecture(gguf.metadata.string('general.architecture'), path)
  const uses = weightUses(gguf, family, model.hyperparameters).filter(({ product }) => product)
  const backend = new Backend({ threads })
  try {
    const choose = await chooseBuffers(backend, uses, await MachineMemory.open(cacheFolder()))
    for (let round = 0; round <= rounds; round++) {
      const one = await stepMs(model, 1, tokens)
      const eight = await stepMs(model, BATCH, tokens)
      // Products are weighed in every third round: they take longer than the steps.
      if (round % 3 === 0) products.push(await productsMs(backend, uses, choose))
      // Round 0 warms up.
      if (round === 0) continue
      steps.one.push(one)
      steps.eight.push(eight)
      steps.gain.push((BATCH * one) / eight)
    }
  } finally {
    await backend.dispose()
    await model.dispose()
  }
  const productMs = [0, 1].map((i) => median(products.map((of) => of[i])))
  const bound = (BATCH * productMs[0]) / productMs[1]
  const measured = median(steps.gain)
  return {
    ...{ name, rounds, threads, bound, measured, ofBound: measured / bound },
    productsMs: productMs,
    stepMs: [median(steps.one), median(steps.eight)],
  }
}

/** All products of a step, read from memory, with one row and with eight. */
async function productsMs(backend, uses, choose) {
  const kinds = new Map()
  for (const { tensor } of uses) {
    const key = `${tensor.type} ${tensor.shape.join('x')}`
    const known = kinds.get(key) ?? { tensor, count: 0 }
    kinds.set(key, { ...known, count: known.count + 1 })
  }
  const all = [0, 0]
  const bytes = uses.reduce((sum, { tensor }) => sum + tensor.bytes, 0)
  for (const { tensor, count } of kinds.values()) {
    const bytesInTurn = Math.min(bytes, BYTES_IN_TURN)
    const costs = await productCosts(backend, choose(tensor), tensor.type, tensor.shape, [1, BATCH], { bytesInTurn })
    all[0] += count * costs[0]
    all[1] += count * costs[1]
  }
  return all
}

async function stepMs(model, count, tokens) {
  const options = { maxTokens: tokens, ignoreEos: true, temperature: 0 }
  const results = await Promise.all(
    Array.from({ length: count }, (_, i) => model.generate(promptOf(PROMPT + (i % 3)), options).result),
  )
  return Math.max(...results.map(({ timing }) => timing.decodeMs)) / (tokens - 1)
}
