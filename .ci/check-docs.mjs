// Runs every code block of README.md and docs/*.md as it stands, as a reader would paste it: from the packed archive, in an
// empty folder. What a reader brings (a checkpoint, a text) stands in there. Usage: node .ci/check-docs.mjs FOLDER
//
// js blocks are run by node, sh blocks and the "$ " lines of console blocks by bash; text, json and help are not run. Above
// a block may stand <!-- not run: WHY --> or <!-- in a checkout: WHY -->, for what an archive does not have.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { realModel, SMOLLM2 } from '../test/real-model.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const [folder = '', only = ''] = process.argv.slice(2)
if (folder === '') throw new Error('usage: node .ci/check-docs.mjs FOLDER [PAGE]')
const work = resolve(folder)
const env = {
  ...process.env,
  SHOAL_CACHE: join(work, 'cache'),
  NO_COLOR: '1',
  HF_HUB_OFFLINE: '1',
  npm_config_prefer_offline: 'true',
}
/** Longest time for a block on a machine that has other things to do. */
const BLOCK_MS = 600_000

const LANGUAGES = { js: 'node', sh: 'bash', console: 'bash' }
const COMMAND = /^(\$ )?(npx |shoal [a-z]|npm |node )/m

/** The blocks of a page, each with the line that it begins on. */
function blocksOf(page) {
  const lines = readFileSync(join(root, page), 'utf8').split('\n')
  const blocks = []
  for (let i = 0; i < lines.length; i++) {
    const [, language] = /^```(\w*)$/.exec(lines[i]) ?? []
    if (language === undefined) continue
    const [, marker, why] = /^<!-- (not run|in a checkout): (.+) -->$/.exec(lines[i - 1] ?? '') ?? []
    const end = lines.indexOf('```', i + 1)
    if (end < 0) throw new Error(`${page}:${i + 1}: the block does not end`)
    blocks.push({ page, line: i + 1, language, marker, why, text: lines.slice(i + 1, end).join('\n') })
    i = end
  }
  return blocks
}

function run(command, args, cwd, input) {
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env,
    input,
    encoding: 'utf8',
    timeout: BLOCK_MS,
    maxBuffer: 2 ** 28,
  })
  return { ok: status === 0, output: `${stdout}${stderr}${signal === null ? '' : `\nended by ${signal}`}` }
}

function must(command, args, cwd) {
  const { ok, output } = run(command, args, cwd, '')
  if (!ok) throw new Error(`${command} ${args.join(' ')} failed\n${output}`)
}

/** What a reader has at hand. */
function prepare(cwd, shoal) {
  const pretrained = join(shoal, 'pretrained')
  const write = (path, text) => {
    mkdirSync(dirname(join(cwd, path)), { recursive: true })
    writeFileSync(join(cwd, path), text)
  }
  for (const name of ['checkpoint', 'model', 'bloomz']) {
    if (!existsSync(join(cwd, name))) symlinkSync(join(pretrained, 'ripple-8m'), join(cwd, name))
  }
  // Where the real model is not here the bundled one stands in for it.
  if (!existsSync(join(cwd, SMOLLM2))) symlinkSync(smollm2 ?? join(pretrained, 'ripple-8m'), join(cwd, SMOLLM2))
  for (const name of ['chapter.txt', 'book.txt']) cpSync(join(pretrained, 'tasks', 'prose.txt'), join(cwd, name))
  write('prompts.jsonl', '{"prompt": "The sea"}\n{"prompt": "A king", "id": "king"}\n')
  write('summaries.jsonl', '{"input": "It rained all day.", "output": "Rain."}\n'.repeat(2))
  for (const name of ['answers.en', 'answers.de', 'answers.zh', 'summaries.txt']) write(name, 'a cat sat\non the mat\n')
  for (const name of ['newstest.en', 'newstest.de', 'newstest.zh', 'references.txt'])
    write(name, 'a cat sat\non a mat\n')
  for (const pair of ['de-en', 'en-zh']) {
    for (const side of pair.split('-')) write(`data/wmt22/newstest22.${pair}.${side}`, 'One.\nTwo.\nThree.\n')
  }
  const half = { attention: [7, 8, 9], mlp: [7, 8, 9] }
  write('skip_layers.json', JSON.stringify({ 'llama-2-13b_cnndm': half }))
  write('dropped/config.json', JSON.stringify({ drop_attn_list: [7, 8], drop_mlp_list: [7, 8] }))
}

const smollm2 = realModel(SMOLLM2)
let failures = 0

function runBlock(block, cwd) {
  const { page, line, language, text } = block
  const name = `${page}:${line}`
  const script =
    language === 'console'
      ? text
          .split('\n')
          .flatMap((l) => (l.startsWith('$ ') ? [l.slice(2)] : []))
          .join('\n')
      : text
  const started = Date.now()
  let result
  if (language === 'js') {
    writeFileSync(join(cwd, 'block.js'), script)
    result = run(process.execPath, ['block.js'], cwd, '')
  } else {
    writeFileSync(join(cwd, 'block.sh'), `${script}\n`)
    // A line that fails ends the block; what follows on stdin is nobody's.
    result = run('bash', ['-eu', 'block.sh'], cwd, '')
  }
  console.log(`${result.ok ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`)
  if (result.ok) return
  failures++
  console.log(`${script}\n${result.output.split('\n').slice(-30).join('\n')}`)
}

function runPages(app, blocks, shoal) {
  for (const page of new Set(blocks.map((block) => block.page))) {
    // README's own blocks make the folder a project.
    const cwd = page === 'README.md' ? app : join(app, page.replace(/\W/g, '-'))
    mkdirSync(cwd, { recursive: true })
    if (page !== 'README.md') prepare(cwd, shoal)
    for (const block of blocks.filter((b) => b.page === page)) {
      runBlock(block, cwd)
      if (page === 'README.md' && existsSync(shoal)) prepare(cwd, shoal)
    }
  }
}

const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const all = pages.flatMap(blocksOf)
for (const { page, line, language, text, marker } of all) {
  const isHelp = page === 'docs/cli.md' && text.startsWith('Usage: ')
  if (!(language in LANGUAGES) && COMMAND.test(text) && !isHelp && marker === undefined) {
    failures++
    console.log(`FAILED ${page}:${line}: has commands and must be sh or console`)
  }
}
const wanted = all.filter((b) => b.language in LANGUAGES && b.marker !== 'not run')
for (const { page, line, why } of all.filter((b) => b.marker === 'not run'))
  console.log(`-      ${page}:${line}: ${why}`)

mkdirSync(join(work, 'shoal'), { recursive: true })
must('npm', ['pack', '--silent', '--pack-destination', join(work, 'shoal')], root)
const app = join(work, 'app')
mkdirSync(app, { recursive: true })
const installed = join(app, 'node_modules', 'shoal')
const ofPage = (b) => only === '' || b.page === only || b.page === 'README.md'
runPages(
  app,
  wanted.filter((b) => b.marker === undefined && ofPage(b)),
  installed,
)

const checkout = join(work, 'checkout')
mkdirSync(join(checkout, 'node_modules', '.bin'), { recursive: true })
writeFileSync(join(checkout, 'package.json'), '{ "type": "module" }\n')
for (const [to, at] of [
  [root, 'shoal'],
  [join(root, 'bin/shoal.js'), '.bin/shoal'],
]) {
  if (!existsSync(join(checkout, 'node_modules', at))) symlinkSync(to, join(checkout, 'node_modules', at))
}
runPages(
  checkout,
  wanted.filter((b) => b.marker === 'in a checkout' && ofPage(b)),
  root,
)

console.log(`${wanted.length} blocks, ${failures} failed`)
process.exitCode = failures === 0 ? 0 : 1
