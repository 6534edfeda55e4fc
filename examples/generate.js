// Streams a continuation, token by token, each with the layers that it ran.
import { loadModel } from 'shoal'

const model = await loadModel('ripple-8m')
const generation = model.generate('Once upon a time', { depth: 'gap:0.8', maxTokens: 48 })

for await (const token of generation) process.stdout.write(token.text)

const { tokens, meanDepth, layers, finishReason, timing } = await generation.result
console.log(`\n\n${tokens.length} tokens, ended by ${finishReason}`)
console.log(`mean depth ${meanDepth.toFixed(1)} of ${layers}, ${timing.tokensPerSecond.toFixed(0)} tokens per second`)

// An AbortSignal stops a generation between two tokens.
const stopped = model.generate('The sea', { maxTokens: 1000, ignoreEos: true, signal: AbortSignal.timeout(100) })
await stopped.result.catch((error) => console.log(`stopped: ${error.code}`))

await model.dispose()
