// Real models from their GGUF files: node-llama-cpp's greedy tokens, forced through Shoal, lie within NEAR of the best logit
// that Shoal has at their place, and both encode the prompts alike. Run `npm run build` and `npm ci` here first.
import { loadModel } from '../../dist/index.js'
import { GEMMA3, realModel, SMOLLM2 } from '../real-model.mjs'
import { ask } from './ask.js'

const TOKENS = 64
const NEAR = 0.1
const QUESTIONS = [
  'What is the capital of France?',
  'Write a haiku about the sea.',
  'Name three fruits that are red.',
  'Explain what a compiler does, in one sentence.',
  'How many days are there in a leap year?',
  'Translate "good morning" into Spanish.',
  'Who wrote Romeo and Juliet?',
  'Give me a recipe for pancakes.',
  'What is 12 times 12?',
  'Why is the sky blue?',
]
const TEXTS = [
  'Once upon a time',
  'The old man sat by the fire and',
  'def fibonacci(n):\n    ',
  'The three laws of thermodynamics are',
  'import { readFileSync } from "node:fs"\n',
  'Dear Sir or Madam,\n\nI am writing to',
  'The quick brown fox',
  '1, 1, 2, 3, 5, 8,',
  'Water boils at a temperature of',
  'In 1492, Christopher Columbus',
]

const MODELS = [
  { title: 'SmolLM2', file: SMOLLM2, asked: (q) => `<|im_start|>user\n${q}<|im_end|>\n<|im_start|>assistant\n` },
  { title: 'Gemma 3', file: GEMMA3, asked: (q) => `Question: ${q}\nAnswer:` },
]

for (const { title, file, asked } of MODELS) {
  const path = realModel(file)
  if (path === null) continue
  const model = await loadModel(path, { context: 512, threads: 1 })
  try {
    await compare(model, title, path, [...TEXTS, ...QUESTIONS.map(asked)])
  } finally {
    await model.dispose()
  }
}

async function compare(model, title, path, texts) {
  const prompts = texts.map((text) => model.tokenizer.encode(text))
  const { continuations, encoded } = ask('./greedy.js', { path, prompts, texts, tokens: TOKENS })
  const { vocabulary } = model.hyperparameters
  let farthest = 0
  let forced = 0
  let best = 0
  const wrong = []
  for (const [i, prompt] of prompts.entries()) {
    const bare = model.tokenizer.encode(texts[i], { addSpecialTokens: false })
    if (bare.join() !== encoded[i].join()) wrong.push(`prompt ${i} is encoded otherwise`)
    const ids = continuations[i]
    const { logits } = await model.score([...prompt, ...ids], { promptLength: prompt.length - 1 })
    for (const [k, id] of ids.entries()) {
      const row = logits.subarray(k * vocabulary, (k + 1) * vocabulary)
      const distance = row.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY) - row[id]
      forced++
      if (distance === 0) best++
      farthest = Math.max(farthest, distance)
      if (distance > NEAR) wrong.push(`prompt ${i}, token ${k}: ${distance.toFixed(3)} below the best logit`)
    }
  }
  console.log(
    `${title}: ${prompts.length} prompts, ${forced} tokens of node-llama-cpp: ${best} are Shoal's best, the farthest is ${farthest.toFixed(3)} below it`,
  )
  for (const line of wrong) console.log(`  ${line}`)
  if (wrong.length > 0) process.exitCode = 1
}
