// Greedy continuations by node-llama-cpp. Reads {path, prompts: [[ids]], texts: [string], tokens} from stdin, writes
// {continuations: [[ids]], encoded: [[ids]]} to stdout. A process of its own: it loads another copy of ggml.
import { getLlama } from 'node-llama-cpp'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const { path, prompts, texts, tokens } = JSON.parse(Buffer.concat(chunks).toString())

const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 1 })
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 })
const context = await model.createContext({ contextSize: 512, sequences: 1, threads: 1 })
const sequence = context.getSequence()
const continuations = []
for (const prompt of prompts) {
  await sequence.clearHistory()
  const ids = []
  for await (const id of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })) {
    ids.push(id)
    if (ids.length === tokens) break
  }
  continuations.push(ids)
}
const encoded = texts.map((text) => [...model.tokenize(text, true)])
await llama.dispose()
process.stdout.write(JSON.stringify({ continuations, encoded }))
