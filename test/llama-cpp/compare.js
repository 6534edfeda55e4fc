// The converted files in node-llama-cpp give Shoal's greedy tokens, and files exported for a plan give Shoal's tokens under
// that plan. A difference is excused only where Shoal's own two best logits are closer than NEAR_TIE: there rounding
// decides. Run `npm run build` and `npm ci` here first.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { main } from '../../dist/cli/main.js'
import { loadModel } from '../../dist/index.js'
import { ask } from './ask.js'
import { PROMPTS } from './prompts.js'

const MODELS = ['ripple-8m', 'ripple-8m-flex', 'ripple-8m-unified2x']
const QUANTIZATIONS = ['f16', 'q8_0']
// Random weights and no tokenizer: families that no bundled model has. llama.cpp has no opt.
const FIXTURES = ['llama', 'llama31-rope', 'bloom']
// Exported in f32 without the other layers: bundled models, and families that none of them has.
const EXPORTS = [
  { name: 'ripple-8m', layers: '0,2,4,6,9,11,13,15' },
  { name: 'ripple-8m', layers: '0,1,2,3,4,5,6,8,10,12,14,15' },
  { name: 'ripple-8m-unified2x', layers: '0,2,4,6,8,10,12,15' },
  { name: 'llama', layers: '0,2,4', fixture: true },
  { name: 'llama31-rope', layers: '1,3', fixture: true },
  { name: 'bloom', layers: '0,2,3', fixture: true },
]
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
const exportsFolder = mkdtempSync(join(tmpdir(), 'shoal-export-'))
try {
  for (const { name, layers, fixture = false } of EXPORTS) {
    const path = join(exportsFolder, `${name}.gguf`)
    const depth = `layers:${layers},prompt=plan`
    await writeExport(fixture ? fixtureFolder(name) : name, depth, path)
    const outcome = fixture ? await compareIds(name, depth, path) : await compareTexts(name, 'f32', depth, path)
    report(`${name} exported with layers ${layers},`, 'f32', outcome)
  }
} finally {
  rmSync(exportsFolder, { recursive: true })
}
console.log(failed === 0 ? 'node-llama-cpp agrees' : `${failed} prompts differ`)
process.exitCode = failed === 0 ? 0 : 1

function report(name, quantization, { equal, excused, wrong }) {
  failed += wrong.length
  const text = `${equal} equal, ${excused} near ties, ${wrong.length} different`
  console.log(`${name} ${quantization}: ${PROMPTS.length} prompts, ${TOKENS} tokens each: ${text}`)
  for (const line of wrong) console.log(`  ${line}`)
}

async function writeExport(model, depth, path) {
  const args = ['export', model, '--depth', depth, '--format', 'gguf', '--quantization', 'f32', '-o', path, '--force']
  let said = ''
  const write = (text) => {
    said += text
  }
  const streams = { stdout: { write }, stderr: { write } }
  const code = await main([...args, '--no-perplexity', '--threads', String(THREADS)], streams)
  if (code !== 0) throw new Error(`shoal export ended with ${code}: ${said}`)
}

function fixtureFolder(name) {
  return fileURLToPath(new URL(`../fixtures/checkpoints/${name}`, import.meta.url))
}

/** @param path the file for node-llama-cpp, where it is not the one that Shoal runs */
async function compareTexts(name, quantization, depth = 'full', path = null) {
  const model = await loadModel(name, { quantization, context: CONTEXT, threads: THREADS })
  try {
    const prompts = PROMPTS.map((text) => model.tokenizer.encode(text))
    const theirs = ask('./greedy.js', { path: path ?? model.path, prompts, texts: PROMPTS, tokens: TOKENS })
    const outcome = { equal: 0, excused: 0, wrong: [] }
    for (const [i, prompt] of prompts.entries()) {
      const encoded = model.tokenizer.encode(PROMPTS[i], { addSpecialTokens: false })
      if (encoded.join() === theirs.encoded[i].join())
        await judge(outcome, model, depth, i, prompt, theirs.continuations[i])
      else outcome.wrong.push(`prompt ${i}: encoded as ${encoded.join()} here, as ${theirs.encoded[i].join()} there`)
    }
    return outcome
  } finally {
    await model.dispose()
  }
}

async function compareIds(name, depth = 'full', path = null) {
  const model = await loadModel(fixtureFolder(name), { quantization: 'f32', context: CONTEXT, threads: THREADS })
  try {
    const { vocabulary } = model.hyperparameters
    const prompts = PROMPTS.map((_, i) =>
      Array.from({ length: 12 + i }, (_, k) => (k * k * 7 + 3 * k * i + i) % vocabulary),
    )
    const { continuations } = ask('./greedy.js', { path: path ?? model.path, prompts, texts: [], tokens: TOKENS })
    const outcome = { equal: 0, excused: 0, wrong: [] }
    for (const [i, prompt] of prompts.entries()) await judge(outcome, model, depth, i, prompt, continuations[i])
    return outcome
  } finally {
    await model.dispose()
  }
}

async function judge(outcome, model, depth, i, prompt, theirs) {
  const { tokens } = await model.generate(prompt, { depth, maxTokens: TOKENS, ignoreEos: true }).result
  const at = tokens.findIndex((id, k) => id !== theirs[k])
  if (at < 0 && tokens.length === theirs.length) {
    outcome.equal++
    return
  }
  const distance = await lead(model, depth, prompt, tokens, at, theirs[at])
  if (distance < NEAR_TIE) outcome.excused++
  else outcome.wrong.push(`prompt ${i}, token ${at}: logits differ by ${distance.toFixed(4)}`)
}

/** How far Shoal's choice leads over another id, in logits, where it chose token `at`. */
async function lead(model, depth, prompt, tokens, at, other) {
  const ids = [...prompt, ...tokens.slice(0, Math.max(at, 0))]
  const { vocabulary } = model.hyperparameters
  const { logits } = await model.score(ids, { promptLength: at > 0 ? prompt.length : prompt.length - 1, depth })
  const row = logits.subarray(logits.length - vocabulary)
  return row[tokens[at]] - (row[other] ?? Number.NEGATIVE_INFINITY)
}
