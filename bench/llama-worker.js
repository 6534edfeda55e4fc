// node-llama-cpp in a process of its own, taking turns with Shoal's.
import { existsSync } from 'node:fs'

const entry = new URL('../test/llama-cpp/node_modules/node-llama-cpp/dist/index.js', import.meta.url)

async function start({ path, threads, context }) {
  if (!existsSync(entry)) {
    throw new Error('node-llama-cpp is not installed; run: npm ci --ignore-scripts --prefix test/llama-cpp')
  }
  const { getLlama } = await import(entry.href)
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: threads })
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 })
  const llamaContext = await model.createContext({ contextSize: context, sequences: 1, threads })
  const sequence = llamaContext.getSequence()

  /** One prompt, `tokens` new tokens. */
  return async ({ prompt, tokens }) => {
    await sequence.clearHistory()
    const begin = performance.now()
    let first = 0
    let count = 0
    for await (const _ of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
      count++
      if (count === 1) first = performance.now()
      if (count === tokens) break
    }
    return {
      prefillMs: first - begin,
      decodeMs: performance.now() - first,
      tokens: count,
      threads: llamaContext.currentThreads,
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
