// docs/unified.md: quality against delivered speedup for every policy on the bundled models, and the paper's table on
// TinyLlama's shape. Everything is measured into JSON first; the page and its figures are made of docs/unified.json alone.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { median } from '../dist/calibrate/quantile.js'
import { workOf } from '../dist/depth/same-layers.js'
import { bootstrapMean, bootstrapSums, medianInterval, ratioBootstrap } from '../dist/evaluate/bootstrap.js'
import { evaluate } from '../dist/evaluate/evaluate.js'
import { evaluateGeneration } from '../dist/evaluate/generation/evaluate.js'
import { machineName } from '../dist/evaluate/machine.js'
import { speedTable } from '../dist/evaluate/speed-table/table.js'
import { loadModel, ShoalError } from '../dist/index.js'
import { loadTask, loadText, textWindows } from '../dist/tasks/index.js'
import { ensureTinyLlama } from './tinyllama.js'
import { writePage } from './unified-page.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const USAGE = `npm run bench:unified -- [options]
  --models LIST   ripple-8m,ripple-8m-unified2x,ripple-8m-flex
  --searched LIST models that plans are searched for: ripple-8m
  --data FOLDER   with ripple-8m/prose.txt and ripple-8m/test; ../shared/data
  --threads N     threads that compute, all cores
  --cache FOLDER  parts that are measured already; the same command goes on with them
  --policies DIR  policy files that run too; examples/policies
  --speedup FILE  what npm run bench:speedup -- --json FILE has written, for its section
  --no-table      without the table on TinyLlama's shape (620 MB are written for it, once)
  --quick         a few prompts of everything, to see that it runs: no figure of it means anything
  --page          measure nothing, write the page of docs/unified.json again
  --out FILE      docs/unified.md; JSON and figures go beside it`

const { values: options } = parseArgs({
  options: {
    models: { type: 'string', default: 'ripple-8m,ripple-8m-unified2x,ripple-8m-flex' },
    searched: { type: 'string', default: 'ripple-8m' },
    data: { type: 'string', default: join(ROOT, '..', 'shared', 'data') },
    threads: { type: 'string', default: String(availableParallelism()) },
    cache: { type: 'string', default: join(tmpdir(), 'shoal-unified') },
    policies: { type: 'string', default: join(ROOT, 'examples', 'policies') },
    speedup: { type: 'string' },
    'no-table': { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
    out: { type: 'string', default: join(ROOT, 'docs', 'unified.md') },
    help: { type: 'boolean', short: 'h', default: false },
  },
})
if (options.help) {
  console.log(USAGE)
  process.exit(0)
}
const json = options.out.replace(/\.md$/, '.json')
if (options.page) {
  writePage(JSON.parse(readFileSync(json, 'utf8')), options.out)
  process.exit(0)
}
const prose = join(options.data, 'ripple-8m', 'prose.txt')
if (!existsSync(prose)) {
  console.log(`no ${prose}: give the data folder with --data`)
  process.exit(0)
}

const threads = Number(options.threads)
const TARGETS = [1.25, 1.5, 2, 3, 5]
/** Policies that draft for the lossless rows. */
const DRAFTS = ['exit:7', 'exit:4', 'gap:0.5,from=4,every=4', 'unified:2x,by=layers', 'unified:3x,by=layers']
const RULES = [
  ...['fruit_v_animal_3', 'choose_first_of_3', 'capitalize', 'conll2003_person', 'singular-plural', 'next_item'],
  'present-past',
]
const SIZE = options.quick
  ? { windows: 1, window: 48, promptLength: 16, questions: 1, shots: 1, rounds: 1, prompt: 32, tokens: 8, table: 1 }
  : {
      windows: null,
      window: 256,
      promptLength: 32,
      questions: 8,
      shots: 5,
      rounds: 8,
      prompt: 128,
      tokens: 64,
      table: 3,
    }
/** Of the text; what comes after it is for those who choose layers on text. */
const HELD_OUT = 0.7

mkdirSync(options.cache, { recursive: true })
const text = await loadText(prose)
const cut = text.text.lastIndexOf('\n\n', text.text.length * HELD_OUT)
const heldOut = { ...text, text: text.text.slice(0, cut) }
const calibration = join(options.cache, 'calibration.txt')
writeFileSync(calibration, text.text.slice(cut))
const tasks = []
for (const name of RULES) tasks.push(await loadTask(name, { data: options.data }))

const searches = []
const models = []
for (const name of options.models.split(',')) {
  if (options.searched.split(',').includes(name)) {
    searches.push(...(await search(name)))
  }
  models.push(await measureModel(name))
}
const document = {
  date: new Date().toISOString(),
  machine: machineName(),
  threads,
  quick: options.quick,
  size: SIZE,
  rules: RULES,
  models,
  searches: searches.map(({ file: _, ...rest }) => rest),
  table: options['no-table'] ? null : await table(),
  speedup: options.speedup === undefined ? null : JSON.parse(readFileSync(options.speedup, 'utf8')),
}
writeFileSync(json, `${JSON.stringify(document, null, 1)}\n`)
writePage(document, options.out)
console.log(`written to ${options.out}`)

/** What is measured once for the same settings, unless it does not last; a stop loses one part at most. */
async function part(name, settings, measure, lasts = () => true) {
  const path = join(options.cache, `${name}${options.quick ? '.quick' : ''}.json`)
  const key = JSON.stringify({ ...settings, threads, size: SIZE, machine: machineName() })
  if (existsSync(path)) {
    const known = JSON.parse(readFileSync(path, 'utf8'))
    if (known.key === key) return known.value
  }
  const started = performance.now()
  console.log(`${name} …`)
  const value = await measure()
  if (lasts(value)) {
    writeFileSync(`${path}.partial`, JSON.stringify({ key, value }))
    renameSync(`${path}.partial`, path)
  }
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`)
  return value
}

/**
 * Plans for all targets by the command line, in one go, with a policy that picks among them; where a target cannot be had,
 * one by one. `file` is null, and `reason` says why, where there is none.
 */
async function search(model) {
  const targets = options.quick ? [2] : TARGETS
  const measure = async () => {
    const path = (label) => join(options.cache, `${model}-${label}.policy.json`)
    const more = targets.length > 1 ? ['--dynamic', '2'] : []
    const out = targets.length > 1 ? join(options.cache, `${model}.policy.json`) : path(`${targets[0]}x`)
    if (runSearch(model, targets.join(','), out, more) === null) {
      const found = targets.map((target) => ({ model, target, file: path(`${target}x`), reason: null }))
      return [
        ...found,
        ...(more.length > 0 ? [{ model, target: 'dynamic', file: path('dynamic-2x'), reason: null }] : []),
      ]
    }
    return targets.map((target) => {
      const reason = runSearch(model, String(target), path(`${target}x`), [])
      return { model, target, file: reason === null ? path(`${target}x`) : null, reason }
    })
  }
  // Of a version without the command, the next one should not hear.
  const lasts = (found) => !found.some(({ reason }) => /unknown (command|option)/.test(reason))
  return await part(`search-${model}`, { model, targets }, measure, lasts)
}

/** Why there is no plan; null where there is one. */
function runSearch(model, targets, out, more) {
  const args = ['search', model, '--speedup', targets, '--texts', calibration, '-o', out, '--threads', String(threads)]
  const ended = spawnSync(process.execPath, [join(ROOT, 'bin', 'shoal.js'), ...args, ...more], { encoding: 'utf8' })
  return ended.status === 0 ? null : (ended.stderr.trim().split('\n').at(-1) ?? 'failed')
}

/** Every policy with the group that it is shown in. A name stands for a SPEC with a path in it. */
function policiesOf(model) {
  const list = (group, ...specs) => specs.map((spec) => ({ group, spec, name: spec }))
  const files = readdirSync(options.policies).filter((name) => name.endsWith('.json'))
  const fromFiles = files.flatMap((file) => {
    const { kind } = JSON.parse(readFileSync(join(options.policies, file), 'utf8'))
    const type = kind === 'plan' ? 'plan' : kind === 'dynamic' ? 'dynamic' : 'adainfer'
    const name = `${type}:${basename(file)}`
    return [{ group: 'policy files', spec: `${type}:${join(options.policies, file)}`, name }]
  })
  const searched = searches
    .filter((one) => one.model === model && one.file !== null)
    .map(({ target, file }) =>
      target === 'dynamic'
        ? { group: 'picked by the prompt', spec: `dynamic:${file}`, name: 'searched plans, picked for 2x on average' }
        : { group: 'searched', spec: `plan:${file}`, name: `searched for ${target}x`, target },
    )
  return [
    ...list('full depth', 'full'),
    ...TARGETS.map((target) => ({
      group: 'unified by time',
      spec: `unified:${target}x`,
      name: `unified:${target}x`,
      target,
    })),
    ...TARGETS.map((target) => ({
      ...{ group: 'unified by layers', spec: `unified:${target}x,by=layers`, name: `unified:${target}x,by=layers` },
      target,
    })),
    ...list('the plan of ripple-8m-unified2x', planOfTuned()),
    ...searched,
    ...list('fixed early exit', 'exit:12', 'exit:9', 'exit:7', 'exit:4'),
    ...list('gap', 'gap:0.5', 'gap:0.8', 'gap:0.8,from=7,every=4'),
    ...list('SkipDecode', 'skipdecode:1.5x', 'skipdecode:2x', 'skipdecode:3x'),
    ...list('patience', 'patience:2', 'patience:4'),
    ...list('CALM', 'calm:0.8', 'calm:0.8,measure=max', 'calm:0.98,measure=state'),
    ...list('entropy', 'entropy:0.5'),
    ...list('ShortGPT', 'shortgpt:12', 'shortgpt:10', 'shortgpt:8'),
    ...list('SLEB', 'sleb:12', 'sleb:10', 'sleb:8'),
    ...list('bottom', 'bottom:12', 'bottom:8'),
    ...list('random', 'random:12', 'random:8'),
    ...fromFiles,
  ]
}

function planOfTuned() {
  const settings = join(ROOT, 'pretrained', 'ripple-8m-unified2x', 'shoal.json')
  return JSON.parse(readFileSync(settings, 'utf8')).depth
}

async function measureModel(name) {
  const model = await loadModel(name, { thread: false, threads, quantization: 'f32' })
  try {
    const rows = []
    for (const row of policiesOf(model.name)) {
      try {
        const policy = await model.policy(row.spec)
        const plan = policy.kind === 'skip' ? (policy.everyToken ?? null) : null
        const predicted = policy.kind === 'skip' ? (policy.speedup?.predicted ?? null) : null
        rows.push({ ...row, policy, plan, predicted, reason: null })
      } catch (error) {
        if (!(error instanceof ShoalError)) throw error
        rows.push({ ...row, policy: null, plan: null, predicted: null, reason: error.message })
      }
    }
    const possible = rows.filter(({ policy }) => policy !== null)
    const settings = { model: model.fingerprint, rows: possible.map(({ name, plan }) => [name, plan]) }
    const quality = await part(`quality-${name}`, settings, () => measureQuality(model, possible))
    const speed = await part(`speed-${name}`, settings, () => measureSpeed(model, possible))
    const lossless = await part(`lossless-${name}`, { model: model.fingerprint, DRAFTS }, () => measureLossless(model))
    return {
      name: model.name,
      quantization: model.quantization,
      layers: model.hyperparameters.layers,
      parameters: model.parameters,
      rows: rows.map(({ policy: _, spec: __, ...row }) => ({ ...row, ...quality[row.name], ...speed[row.name] })),
      lossless,
    }
  } finally {
    await model.dispose()
  }
}

/** Perplexity and rule-task accuracy; plans of the same layers are measured once. */
async function measureQuality(model, rows) {
  const keyOf = ({ policy }) => workOf(policy)
  const specs = new Map()
  for (const row of rows) if (!specs.has(keyOf(row))) specs.set(keyOf(row), row.policy.spec)
  const depths = [...specs.values()]
  const losses = new Map([['full', []], ...depths.map((spec) => [spec, []])])
  const none = () => undefined
  const keep = {
    ...{ kept: 0, turns: none, windows: none, appendTurns: none, close: none },
    appendWindows(_, scores) {
      for (const [spec, { loss, tops }] of scores) losses.get(spec).push([loss, tops.length])
    },
  }
  const { windows, window, promptLength, questions, shots } = SIZE
  const common = { depths, seed: 0 }
  await evaluateGeneration(model, {
    ...{ ...common, tasks: [], texts: [heldOut], shots: [0], batches: [1], metrics: [] },
    ...{
      ...(windows === null ? {} : { limit: windows }),
      maxTokens: 1,
      beams: null,
      noRepeatNgram: 0,
      window,
      promptLength,
      kept: keep,
    },
  })
  const answers = await evaluate(model, {
    ...{ ...common, tasks, shots: [shots], score: 'generate', limit: questions, maxTokens: 8, controls: false },
  })
  return Object.fromEntries(
    rows.map((row) => {
      const spec = specs.get(keyOf(row))
      const own = losses.get(spec)
      const full = losses.get('full')
      const mean = ([loss, tokens]) => loss / tokens
      const cell = answers.overall.find(({ depth }) => depth === spec)
      return [
        row.name,
        {
          losses: own,
          perplexity: bootstrapSums(own, (sums) => Math.exp(mean(sums))),
          addedLoss: bootstrapSums(
            own.map(([loss, tokens], i) => [loss - full[i][0], tokens]),
            mean,
          ),
          accuracy: cell.accuracy,
          accuracyDifference: cell.accuracyDifference,
        },
      ]
    }),
  )
}

/** Prompts of the held-out text, one for each round. */
function promptsOf(model, rounds) {
  const windows = textWindows(model.tokenizer, heldOut, { window: SIZE.prompt, promptLength: SIZE.prompt - 1 })
  return Array.from({ length: rounds }, (_, i) => windows[(i + 10) % windows.length])
}

/** Decode time beside full depth's, which runs before and after every four policies. Policies of the same layers are measured once. */
async function measureSpeed(model, every) {
  const samples = new Map(every.map(({ policy }) => [workOf(policy), []]))
  const rows = [...samples.keys()].map((work) => every.find(({ policy }) => workOf(policy) === work))
  const run = async (ids, depth) => {
    const result = await model.generate(ids, { depth, maxTokens: SIZE.tokens, ignoreEos: true }).result
    const { tokens, rowLayers, meanDepth, checkMs, timing } = result
    return {
      ms: timing.decodeMs / (tokens.length - 1),
      meanDepth,
      computed: rowLayers / tokens.length,
      checkMs,
      timing,
    }
  }
  const prompts = promptsOf(model, SIZE.rounds + 1)
  for (const [round, ids] of prompts.entries()) {
    const order = rows.map((_, i) => rows[(i + round * 7) % rows.length])
    let before = await run(ids, 'full')
    for (let i = 0; i < order.length; i += 4) {
      const some = []
      for (const row of order.slice(i, i + 4)) some.push([workOf(row.policy), await run(ids, row.policy)])
      const after = await run(ids, 'full')
      // The first round builds graphs.
      if (round > 0)
        for (const [work, own] of some) samples.get(work).push({ ...own, full: (before.ms + after.ms) / 2 })
      before = after
    }
  }
  return Object.fromEntries(
    every.map(({ name, policy }) => {
      const all = samples.get(workOf(policy))
      const of = (value) => all.map(value)
      return [
        name,
        {
          msPerToken: median(of(({ ms }) => ms)),
          delivered: medianInterval(of(({ full, ms }) => full / ms)),
          depthMean: bootstrapMean(of(({ meanDepth }) => meanDepth)).mean,
          computed: bootstrapMean(of(({ computed }) => computed)).mean,
          checkShare: ratioBootstrap(
            of(({ checkMs }) => checkMs),
            of(({ timing }) => timing.totalMs),
          ).mean,
        },
      ]
    }),
  )
}

/** Drafts that the full model verifies; null where this version cannot. */
async function measureLossless(model) {
  const rows = []
  const prompts = promptsOf(model, SIZE.rounds + 1)
  const how = { maxTokens: SIZE.tokens, ignoreEos: true }
  for (const spec of DRAFTS) {
    const samples = []
    for (const [round, ids] of prompts.entries()) {
      const full = await model.generate(ids, { ...how, depth: 'full' }).result
      const own = await model.generate(ids, { ...how, depth: spec, lossless: true }).result
      if (own.lossless === undefined) return null
      if (round > 0) samples.push({ own, full })
    }
    const { length } = samples
    const sum = (value) => samples.reduce((total, sample) => total + value(sample), 0)
    rows.push({
      name: spec,
      prompts: length,
      identical: sum(({ own, full }) => Number(own.tokens.join() === full.tokens.join())),
      acceptance: sum(({ own }) => own.lossless.accepted) / sum(({ own }) => own.lossless.drafted),
      tokensPerPass: sum(({ own }) => own.tokens.length - 1) / sum(({ own }) => own.lossless.passes),
      delivered: medianInterval(samples.map(({ full, own }) => full.timing.decodeMs / own.timing.decodeMs)),
    })
  }
  return rows
}

/** Targets x methods x batch sizes on TinyLlama's shape: random weights, so speed alone. */
async function table() {
  return await part('table', {}, async () => {
    const path = await ensureTinyLlama()
    const batches = options.quick ? [1] : [1, 2, 8]
    const [promptLength, maxTokens] = [SIZE.prompt, SIZE.tokens]
    const model = await loadModel(path, {
      thread: false,
      threads,
      slots: Math.max(...batches),
      context: promptLength + maxTokens + 8,
    })
    try {
      const how = { batches, promptLength, maxTokens, rounds: SIZE.table, quality: null }
      return await speedTable(model, { ...how, targets: [2, 5] })
    } finally {
      await model.dispose()
    }
  })
}
