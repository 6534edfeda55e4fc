// Every fixture of a family in libllama: Shoal converts it, and both run the file. What llama.cpp computes otherwise than
// transformers is in OTHERWISE with its reason; a fixture of PLAIN is tried once more without the setting that llama.cpp has
// no key for, and must be equal then. Arguments are names of fixtures, default all. Run `npm run build` and `npm ci` here first.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSafetensors } from '../../dist/checkpoint/safetensors.js'
import { main } from '../../dist/cli/main.js'
import { familyByArchitecture } from '../../dist/families/index.js'
import { loadModel } from '../../dist/index.js'
import { ask } from './ask.js'

const FIXTURES = fileURLToPath(new URL('../fixtures/checkpoints', import.meta.url))
const EQUAL = 2e-2

const OTHERWISE = {}
const PLAIN = {}

const given = process.argv.slice(2)
const all = readdirSync(FIXTURES).filter((name) => existsSync(join(FIXTURES, name, 'config.json')))
const scratch = mkdtempSync(join(tmpdir(), 'shoal-families-'))
const rows = []
try {
  for (const name of given.length > 0 ? given : all) {
    rows.push(await compare(name, join(FIXTURES, name)))
    if (name in PLAIN) rows.push(await compare(`${name}~plain`, plainFolder(name)))
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
const widths = [0, 1, 2, 3].map((i) => Math.max(...rows.map(({ cells }) => cells[i].length)))
for (const { cells } of rows) console.log(cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ').trimEnd())
const unexplained = rows.filter(({ explained }) => !explained).length
console.log(unexplained === 0 ? 'every difference is known' : `${unexplained} rows are not as they should be`)
process.exitCode = unexplained === 0 ? 0 : 1

/** A copy of a fixture with what PLAIN changes in its config.json. */
function plainFolder(name) {
  const folder = join(scratch, `${name}~plain`)
  mkdirSync(folder)
  for (const file of readdirSync(join(FIXTURES, name))) copyFileSync(join(FIXTURES, name, file), join(folder, file))
  const path = join(folder, 'config.json')
  const config = JSON.parse(readFileSync(path, 'utf8'))
  PLAIN[name](config)
  writeFileSync(path, JSON.stringify(config))
  return folder
}

async function compare(name, folder) {
  const path = join(scratch, `${name}.gguf`)
  const refusal = await convert(folder, path)
  if (refusal !== null) return { cells: [name, '-', '', '', `Shoal: ${refusal}`], explained: name in OTHERWISE }
  const model = await loadModel(path, { context: 128, threads: 1 })
  try {
    const { architecture } = model.hyperparameters
    const inputs = await inputsOf(folder)
    const theirs = tryAsk(path, inputs)
    if (theirs.error !== undefined) {
      const known = !familyByArchitecture(architecture, path).inLlamaCpp
      const verdict = known ? 'no such architecture in llama.cpp' : `does not load: ${theirs.error}`
      return { cells: [name, architecture, '', '', verdict], explained: known }
    }
    let farthest = 0
    let largest = 0
    for (const [i, ids] of inputs.entries()) {
      const { logits } = await model.trace(ids)
      if (logits.length !== theirs.logits[i].length) throw new Error(`${name}: other numbers of logits`)
      for (const [k, logit] of logits.entries()) {
        const distance = Math.abs(logit - theirs.logits[i][k])
        if (!(distance <= farthest)) farthest = distance
        largest = Math.max(largest, Math.abs(logit))
      }
    }
    const equal = farthest <= EQUAL
    const verdict = equal ? 'equal' : `differs: ${OTHERWISE[name] ?? 'no reason known'}`
    return {
      cells: [name, architecture, farthest.toExponential(1), (farthest / largest).toExponential(1), verdict],
      explained: equal !== name in OTHERWISE,
    }
  } finally {
    await model.dispose()
  }
}

/** @returns why Shoal does not convert the folder, or null where it did */
async function convert(folder, path) {
  let said = ''
  const write = (text) => {
    said += text
  }
  const streams = { stdout: { write }, stderr: { write } }
  const code = await main(['convert', folder, '-o', path, '--quantization', 'f32'], streams)
  return code === 0 ? null : said.trim().replace(folder, '…')
}

async function inputsOf(folder) {
  const expected = await openSafetensors(join(folder, 'expected.safetensors'))
  try {
    const ids = [...(await expected.readIntegers('input_ids'))]
    const [count, length] = expected.tensors.get('input_ids').shape
    return Array.from({ length: count }, (_, i) => ids.slice(i * length, (i + 1) * length))
  } finally {
    await expected.close()
  }
}

function tryAsk(path, inputs) {
  try {
    return ask('./logits.js', { path, inputs })
  } catch (error) {
    return { error: error.message }
  }
}
