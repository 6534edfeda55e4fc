// Token ids by node-llama-cpp. Reads {path, texts: [string]} from stdin, writes [[ids]]. A process of its own, because
// libllama ends it where a text is more than it can split.
import { getLlama } from 'node-llama-cpp'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const { path, texts } = JSON.parse(Buffer.concat(chunks).toString())

const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'disabled', maxThreads: 1 })
const model = await llama.loadModel({ modelPath: path, gpuLayers: 0, vocabOnly: true })
const ids = texts.map((text) => [...model.tokenize(text, true)])
await llama.dispose()
process.stdout.write(JSON.stringify(ids))
