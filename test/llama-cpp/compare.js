// The converted files in node-llama-cpp give Shoal's greedy tokens. A difference is excused only where Shoal's own two
// best logits are closer than NEAR_TIE: there rounding decides. Run `npm run build` and `npm ci` here first.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { loadModel } from '../../dist/index.js'
import { PROMPTS } from './prompts.js'

const MODELS = ['ripple-8m', 'ripple-8m-flex', 'ripple-8m-unified2x']
const QUANTIZATIONS = ['f16', 'q8_0']
// Random weights and no tokenizer: families that no bundled model has. llama.cpp has no opt.
const FIXTURES = ['llama', 'llama31-rope', 'bloom']
const TOKENS = 64
const CONTEXT = 512
const NEAR_TIE = 1e-2

// One thread each: these models are so small that threads mostly wait, and on a busy machine they wait for long.
const THREADS = 1

let failed = 0
for (const name of MODELS) {
  for (const quantization of QUANTIZATIONS) report(name, quantization, await compareTexts(name, quantization))
}
for (const name of FIXTURES) report(name, 'f32', await compareIds(name))
console.log(failed === 0 ? 'node-llama-cpp agrees' : `${failed} prompts differ`)
process.exitCode = failed === 0 ? 0 : 1

function report(name, quantization, { equal, excused, wrong }) {
  failed += wrong.length
  const text = `${equal} equal, ${excused} near ties, ${wrong.length} different`
  console.log(`${name} ${quantization}: ${PROMPTS.length} prompts, ${TOKENS} tokens each: ${text}`)
  for (const line of wrong) console.log(`  ${line}`)
}

async function compareTexts(name, quantization) {
  const model = await loadModel(name, { quantization, context: CONTEXT, threads: THREADS })
  try {
    const prompts = PROMPTS.map((text) => model.tokenizer.encode(text))
    const theirs = llama({ path: model.path, prompts, texts: PROMPTS, tokens: TOKENS })
    const outcome = { equal: 0, excused: 0, wrong: [] }
    for (const [i, prompt] of prompts.entries()) {
      const encoded = model.tokenizer.encode(PROMPTS[i], { addSpecialTokens: false })
      if (encoded.join() === theirs.encoded[i].join()) await judge(outcome, model, i, prompt, theirs.continuations[i])
      else outcome.wrong.push(`prompt ${i}: encoded as ${encoded.join()} here, as ${theirs.encoded[i].join()} there`)
    }
    return outcome
  } finally {
    await model.dispose()
  }
}

async function compareIds(name) {
  const folder = fileURLToPath(new URL(`../fixtures/checkpoints/${name}`, import.meta.url))
  const model = await loadModel(folder, { quantization: 'f32', context: CONTEXT, threads: THREADS })
  try {
    const { vocabulary } = model.hyperparameters
    const prompts = PROMPTS.map((_, i) =>
      Array.from({ length: 12 + i }, (_, k) => (k * k * 7 + 3 * k * i + i) % vocabulary),
    )
    const { continuations } = llama({ path: model.path, prompts, texts: [], tokens: TOKENS })
    const outcome = { equal: 0, excused: 0, wrong: [] }
    for (const [i, prompt] of prompts.entries()) await judge(outcome, model, i, prompt, continuations[i])
    return outcome
  } finally {
    await model.dispose()
  }
}

async function judge(outcome, model, i, prompt, theirs) {
  const { tokens } = await model.generate(prompt, { depth: 'full', maxTokens: TOKENS, ignoreEos: true }).result
  const at = tokens.findIndex((id, k) => id !== theirs[k])
  if (at < 0 && tokens.length === theirs.length) {
    outcome.equal++
    return
  }
  const distance = await lead(model, prompt, tokens, at, theirs[at])
  if (distance < NEAR_TIE) outcome.excused++
  else outcome.wrong.push(`prompt ${i}, token ${at}: logits differ by ${distance.toFixed(4)}`)
}

/** How far Shoal's choice leads over another id, in logits, where it chose token `at`. */
async function lead(model, prompt, tokens, at, other) {
  const ids = [...prompt, ...tokens.slice(0, Math.max(at, 0))]
  const { vocabulary } = model.hyperparameters
  const { logits } =
    at > 0 ? await model.score(ids, { promptLength: prompt.length, depth: 'full' }) : await model.trace(ids)
  const row = logits.subarray(logits.length - vocabulary)
  return row[tokens[at]] - (row[other] ?? Number.NEGATIVE_INFINITY)
}

function llama(job) {
  const script = fileURLToPath(new URL('./greedy.js', import.meta.url))
  const run = spawnSync(process.execPath, [script], {
    input: JSON.stringify(job),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (run.status !== 0) throw new Error(`node-llama-cpp ended with ${run.status ?? run.signal}`)
  return JSON.parse(run.stdout)
}
