// Text of GGUF vocabularies: every pair of text and ids that llama.cpp tests itself by, and random strings against
// node-llama-cpp. The vocabularies lie in the git bundle of node-llama-cpp's package. Run `npm run build` and `npm ci` here
// first.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadTokenizer } from '../../dist/index.js'
import { ask } from './ask.js'
import { randomTexts } from './random-texts.js'

const STRINGS = 100
const SEPARATOR = '\n__ggml_vocab_test__\n'
// Kinds that Shoal does not hand over to libllama, refused by name.
const REFUSED = ['nomic-bert-moe']

const folder = mkdtempSync(join(tmpdir(), 'shoal-vocabularies-'))
let failed = 0
try {
  unpack()
  const models = join(folder, 'tree', 'models')
  const names = readdirSync(models).flatMap((file) => /^ggml-vocab-(.*)\.gguf$/.exec(file)?.[1] ?? [])
  if (names.length < 15) throw new Error(`the bundle holds only ${names.length} vocabularies`)
  for (const name of names) await compare(name, join(models, `ggml-vocab-${name}.gguf`))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(failed === 0 ? 'vocabularies agree' : `${failed} vocabularies differ`)
process.exitCode = failed === 0 ? 0 : 1

function unpack() {
  const bundle = fileURLToPath(new URL('./node_modules/node-llama-cpp/llama/gitRelease.bundle', import.meta.url))
  git('clone', '--quiet', '--no-checkout', bundle, join(folder, 'tree'))
  git('-C', join(folder, 'tree'), 'checkout', '--quiet', 'HEAD', '--', 'models')
}

function git(...args) {
  const { status, stderr } = spawnSync('git', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`git ${args[0]} failed: ${stderr}`)
}

async function compare(name, path) {
  let tokenizer
  try {
    tokenizer = await loadTokenizer(path)
  } catch (error) {
    if (!REFUSED.includes(name) || error.code !== 'unsupported') throw error
    return
  }
  const options = { addSpecialTokens: false, parseSpecial: false }
  const pairs = readPairs(path)
  const wrong = pairs.filter(([text, ids]) => tokenizer.encode(text, options).join(' ') !== ids)
  const texts = randomTexts(name, STRINGS, tokenizer)
  const theirs = ask('./vocabulary-worker.js', { path, texts })
  const different = texts.filter(
    (text, i) => tokenizer.encode(text, { addSpecialTokens: false }).join() !== theirs[i].join(),
  )
  tokenizer.dispose()
  if (wrong.length + different.length > 0) failed++
  console.log(
    `${name}: ${pairs.length - wrong.length} of ${pairs.length} pairs, ${texts.length - different.length} of ${texts.length} random strings`,
  )
  for (const text of [...wrong.map(([t]) => t), ...different].slice(0, 5)) {
    console.log(`  ${JSON.stringify(text).slice(0, 200)}`)
  }
}

/** Texts and their ids as llama.cpp's own tests have them; none for some vocabularies. */
function readPairs(path) {
  let texts
  try {
    texts = readFileSync(`${path}.inp`, 'utf8').split(SEPARATOR)
  } catch {
    return []
  }
  const ids = readFileSync(`${path}.out`, 'utf8').split('\n')
  // Most files end with a separator.
  if (texts.length === ids.length && texts.at(-1) === '') texts.pop()
  if (ids.pop() !== '' || texts.length !== ids.length) {
    throw new Error(`${path}: ${texts.length} texts and ${ids.length} lines of ids`)
  }
  return texts.map((text, i) => [text, ids[i].trim()])
}
