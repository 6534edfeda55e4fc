// Calls that run at the same time share passes over the weights: eight prompts take far less than eight times one.
import { loadModel } from 'shoal'

const prompts = [
  'Once upon a time',
  'The old man',
  'In the night',
  'A king',
  'The wolf',
  'She said',
  'At last',
  'The sea',
]

const model = await loadModel('ripple-8m', { slots: prompts.length })

let start = performance.now()
const alone = []
for (const prompt of prompts) alone.push((await model.generate(prompt, { maxTokens: 64, ignoreEos: true }).result).text)
console.log(`one after the other: ${(performance.now() - start).toFixed(0)} ms`)

start = performance.now()
const together = await Promise.all(
  prompts.map((prompt) => model.generate(prompt, { maxTokens: 64, ignoreEos: true }).result),
)
console.log(`together: ${(performance.now() - start).toFixed(0)} ms`)

const same = together.filter(({ text }, i) => text === alone[i]).length
console.log(`${same} of ${prompts.length} texts are the same`)
await model.dispose()
