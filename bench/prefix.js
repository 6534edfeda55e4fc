// Two prompts that share their first 1,000 tokens: how long the second one waits for its first token where the first one's text is still in
// the cache, and whether it says what it says without that.
import { loadModel } from '../dist/index.js'
import { median, printTable } from './worker.js'

const SHARED = 1000
const OWN = 16
const TOKENS = 32
/** Two tokens whose logits are so near to each other may change places: sums of other groups of rows round otherwise. */
const TIE = { f32: 1e-4, quantised: 0.1 }

/** @param models name and path */
export async function prefix(models, { rounds, threads }) {
  const documents = []
  for (const { name, path } of models) documents.push(await measure(name, path, { rounds, threads }))
  console.log(
    `\nThe second prompt of two that share ${SHARED} tokens, medians of ${rounds} rounds, ${threads} threads\n`,
  )
  printTable([
    [
      '',
      'first token, nothing in the cache',
      'with the first prompt there',
      '',
      'goal',
      'same texts',
      'other than by a tie',
    ],
    ...documents.map((d) => [
      d.name,
      `${d.coldMs.toFixed(0)} ms`,
      `${d.warmMs.toFixed(0)} ms`,
      `${d.ratio.toFixed(1)}x sooner`,
      '5x',
      `${d.same} of ${d.rounds}`,
      String(d.wrong),
    ]),
  ])
  for (const { name, ties } of documents)
    for (const tie of ties)
      console.log(`${name}: token ${tie.at}, ${tie.ids.join(' and ')}, ${tie.difference.toFixed(4)} nats apart`)
  console.log(JSON.stringify(documents))
  return documents
}

async function measure(name, path, { rounds, threads }) {
  const model = await loadModel(path, { threads, slots: 2, prefixCache: 1 })
  const plain = await loadModel(path, { threads, slots: 2 })
  const samples = { cold: [], warm: [], ratio: [] }
  const ties = []
  let same = 0
  let wrong = 0
  try {
    const { vocabulary } = model.hyperparameters
    for (let round = 0; round <= rounds; round++) {
      const ids = (count, seed) =>
        Array.from({ length: count }, (_, i) => (((i + 1) * 7919 * (seed + 3)) ^ (i * 31)) % vocabulary)
      const shared = ids(SHARED, round)
      await model.generate([...shared, ...ids(OWN, 100 + round)], { maxTokens: 1, ignoreEos: true }).result
      const prompt = [...shared, ...ids(OWN, 200 + round)]
      const warm = await model.generate(prompt, { maxTokens: TOKENS, ignoreEos: true, temperature: 0 }).result
      const cold = await plain.generate(prompt, { maxTokens: TOKENS, ignoreEos: true, temperature: 0 }).result
      if (warm.reusedTokens < SHARED) throw new Error(`only ${warm.reusedTokens} tokens were there`)
      // Round 0 warms up.
      if (round === 0) continue
      samples.warm.push(warm.timing.prefillMs)
      samples.cold.push(cold.timing.prefillMs)
      samples.ratio.push(cold.timing.prefillMs / warm.timing.prefillMs)
      const at = warm.tokens.findIndex((id, i) => id !== cold.tokens[i])
      if (at < 0) {
        same++
        continue
      }
      // Both are the most probable ones of nearly the same distribution.
      const difference = Math.abs(warm.logprobs[at] - cold.logprobs[at])
      ties.push({ at, ids: [warm.tokens[at], cold.tokens[at]], difference })
      if (difference > TIE[model.quantization === 'f32' ? 'f32' : 'quantised']) wrong++
    }
  } finally {
    await model.dispose()
    await plain.dispose()
  }
  return {
    ...{ name, rounds, threads, same, wrong, ties },
    coldMs: median(samples.cold),
    warmMs: median(samples.warm),
    ratio: median(samples.ratio),
  }
}
