// Every fixture of a family in libllama: Shoal converts it, and both run the file; the table shows the largest difference of
// logits, and its share of the largest logit. `families-known.js` has the reasons of what differs. Arguments are names of
// fixtures, default all. Run `npm run build` and `npm ci` here first.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSafetensors } from '../../dist/checkpoint/safetensors.js'
import { main } from '../../dist/cli/main.js'
import { familyByArchitecture } from '../../dist/families/index.js'
import { loadModel } from '../../dist/index.js'
import { ask } from './ask.js'
import { GELU, OTHERWISE, REFUSED, VARIATIONS } from './families-known.js'
import { writeVariation } from './variation.js'

const FIXTURES = fileURLToPath(new URL('../fixtures/checkpoints', import.meta.url))
const CONTEXT = 128
const EQUAL = 1e-3
const EQUAL_WITH_GELU = 2e-2

const given = process.argv.slice(2)
const all = readdirSync(FIXTURES).filter((name) => existsSync(join(FIXTURES, name, 'config.json')))
const scratch = mkdtempSync(join(tmpdir(), 'shoal-families-'))
const rows = []
try {
  for (const name of given.length > 0 ? given : all) {
    rows.push(await compare(name, {}))
    for (const [which, change] of Object.entries(VARIATIONS[name] ?? {})) {
      rows.push(await compare(`${name}~${which}`, change))
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
const widths = [0, 1, 2, 3].map((i) => Math.max(...rows.map(({ cells }) => cells[i].length)))
for (const { cells } of rows)
  console.log(
    cells
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
const wrong = rows.filter(({ expected }) => !expected).length
console.log(wrong === 0 ? 'all is as expected' : `${wrong} rows are not as expected`)
process.exitCode = wrong === 0 ? 0 : 1

/** @returns {{cells: string[], expected: boolean}} a row of the table */
async function compare(name, change) {
  const [fixture] = name.split('~')
  // llama.cpp looks for tokens of Phi 3 where the name of a file says phi3, and these have none: all are called model.
  const folder = join(scratch, name, 'model')
  mkdirSync(dirname(folder))
  writeVariation(join(FIXTURES, fixture), folder, change)
  const path = join(scratch, `${name}.gguf`)
  const refusal = await convert(folder, path)
  const row = (architecture, difference, relative, verdict, expected) => ({
    cells: [name, architecture, difference, relative, verdict],
    expected,
  })
  if (refusal !== null) return row('-', '', '', refusal, REFUSED.includes(fixture))
  const model = await loadModel(path, { context: CONTEXT, threads: 1 })
  try {
    const { architecture } = model.hyperparameters
    const inputs = await inputsOf(folder)
    const theirs = tryAsk(path, inputs)
    const reason = OTHERWISE[name]
    if (theirs.error !== undefined) {
      if (!familyByArchitecture(architecture, path).inLlamaCpp) {
        return row(architecture, '', '', 'no such architecture in llama.cpp', true)
      }
      const verdict = `does not load: ${reason ?? theirs.error}`
      return row(architecture, '', '', verdict, reason !== undefined)
    }
    const { farthest, largest } = await differences(model, inputs, theirs.logits)
    const equal = farthest <= (GELU.includes(architecture) ? EQUAL_WITH_GELU : EQUAL)
    const verdict = equal ? 'equal' : `differs: ${reason ?? 'no reason known'}`
    const expected = equal !== (reason !== undefined)
    return row(architecture, farthest.toExponential(1), (farthest / largest).toExponential(1), verdict, expected)
  } finally {
    await model.dispose()
  }
}

/** The largest difference of logits, and the largest logit of Shoal. */
async function differences(model, inputs, theirs) {
  let farthest = 0
  let largest = 0
  for (const [i, ids] of inputs.entries()) {
    const { logits } = await model.trace(ids)
    if (logits.length !== theirs[i].length) throw new Error('libllama gave another number of logits')
    for (const [k, logit] of logits.entries()) {
      const distance = Math.abs(logit - theirs[i][k])
      if (!(distance <= farthest)) farthest = distance
      largest = Math.max(largest, Math.abs(logit))
    }
  }
  return { farthest, largest }
}

/** @returns why Shoal does not convert the folder, or null where it did */
async function convert(folder, path) {
  let said = ''
  const write = (text) => {
    said += text
  }
  const streams = { stdout: { write }, stderr: { write } }
  const code = await main(['convert', folder, '-o', path, '--quantization', 'f32'], streams)
  return code === 0 ? null : said.trim().replaceAll(`${folder}/`, '').replaceAll(`${folder}: `, '')
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
