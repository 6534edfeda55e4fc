// Shoal in a process of its own, taking turns with node-llama-cpp's.
import { loadModel } from '../dist/index.js'

async function start({ path, threads, context }) {
  const model = await loadModel(path, { threads, context, slots: 8 })

  /** The same prompt in `batch` sequences, `tokens` new tokens each. */
  return async ({ prompt, tokens, depth = 'full', batch = 1 }) => {
    const begin = performance.now()
    const sequences = Array.from({ length: batch }, async () => {
      let first = 0
      let count = 0
      for await (const _ of model.generate(prompt, { depth, maxTokens: tokens, ignoreEos: true })) {
        count++
        if (count === 1) first = performance.now()
      }
      return { first, count }
    })
    const done = await Promise.all(sequences)
    // Sequences of a batch start to decode together, when the last prompt is done.
    const first = Math.max(...done.map((sequence) => sequence.first))
    return {
      prefillMs: first - begin,
      decodeMs: performance.now() - first,
      tokens: done.reduce((sum, { count }) => sum + count, 0) / batch,
    }
  }
}

let run = null
process.on('message', async ({ id, start: options, run: job }) => {
  try {
    if (options !== undefined) {
      run = await start(options)
      process.send({ id, result: {} })
    } else process.send({ id, result: await run(job) })
  } catch (error) {
    process.send({ id, error: error.message })
  }
})
