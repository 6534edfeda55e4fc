/**
 * Plans of every method on real models, plain, with bridges on the hidden state, and with bridges that fold into the last MLP: what each adds to the
 * loss of news and of prose that no method saw, and what it delivers in decode time. Texts are cut into a part for methods and fits and a part
 * for the report.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeBridges } from '../dist/calibrate/bridges/make.js'
import { median } from '../dist/calibrate/quantile.js'
import { searchTexts } from '../dist/calibrate/search-texts.js'
import { readBridgeFile, writeBridgeFile } from '../dist/convert/bridge-file.js'
import { bridgeType } from '../dist/depth/bridge.js'
import { allLayers } from '../dist/depth/plan.js'
import { keptLayers } from '../dist/depth/unified.js'
import { ratioBootstrap } from '../dist/evaluate/bootstrap.js'
import { loadModel } from '../dist/index.js'
import { GEMMA3, realModel, SMOLLM2 } from '../test/real-model.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MODELS = {
  'ripple-8m': { label: 'ripple-8m, f32', path: () => 'ripple-8m', folds: true },
  smollm2: { label: 'SmolLM2-135M-Instruct, q4_1', path: () => realModel(SMOLLM2), folds: true },
  // The MLP's output is normed before it joins the residual stream: nothing can be folded into its last matrix.
  gemma3: { label: 'Gemma 3 270M, Q4_K_M', path: () => realModel(GEMMA3), folds: false },
}
const WINDOW = 256
const PROMPT_SHARE = 0.125
/** Of each text, the share that methods and fits see. */
const SEEN = 0.6
const PROMPT = 'The harbour lay quiet in the morning, and the boats that had come in during the night'

const SIZES = {
  full: {
    targets: [1.25, 1.5, 2],
    methods: ['unified', 'shortgpt', 'sleb', 'search'],
    fit: 60,
    windows: 30,
    rounds: 7,
    tokens: 48,
  },
  quick: { targets: [1.25], methods: ['unified', 'shortgpt'], fit: 24, windows: 8, rounds: 3, tokens: 32 },
}

/** @param options models, data, threads, quick @param part of measuredParts @returns one report for each model */
export async function plans(options, part) {
  const { targets, methods, ...rest } = SIZES[options.quick ? 'quick' : 'full']
  const size = {
    ...rest,
    targets: options.targets?.split(',').map(Number) ?? targets,
    methods: options.methods?.split(',') ?? methods,
  }
  const files = cutTexts(options.data, options.cache)
  const reports = []
  for (const name of options.models.split(',')) {
    const { label, path, folds } = MODELS[name]
    const file = path()
    if (file === null) {
      console.log(`${label} is left out: no file in $SHOAL_MODELS or ../shared/models`)
      continue
    }
    const model = await loadModel(file, { threads: Number(options.threads) })
    try {
      const context = { name, label, model, file, files, size, options, folds, part }
      reports.push(await report(context))
    } finally {
      await model.dispose()
    }
  }
  return reports
}

/** News: WMT22's English side; prose: the opening of Austen's Persuasion. */
function cutTexts(data, cache) {
  mkdirSync(cache, { recursive: true })
  const sources = {
    news: join(data, 'wmt22', 'newstest22.en-de.en'),
    prose: join(data, 'ripple-8m', 'prose.txt'),
  }
  const files = { seen: [], heldOut: {} }
  for (const [kind, path] of Object.entries(sources)) {
    const text = readFileSync(path, 'utf8')
    const cut = text.indexOf('\n', text.length * SEEN) + 1
    const [seen, heldOut] = [join(cache, `${kind}-seen.txt`), join(cache, `${kind}-held-out.txt`)]
    writeFileSync(seen, text.slice(0, cut))
    writeFileSync(heldOut, text.slice(cut))
    files.seen.push(seen)
    files.heldOut[kind] = heldOut
  }
  return files
}

async function report(context) {
  const { name, label, model, size, part } = context
  const { layers } = model.hyperparameters
  const rows = []
  for (const target of size.targets) {
    const count = keptLayers(layers, target)
    for (const method of size.methods) {
      const plan = await part(`${name}-${method}-${count}`, {}, () => planOf(context, method, count, target))
      rows.push(...(await variants(context, { method, target, plan })))
    }
    const path = await part(`${name}-bridged-search-${count}`, {}, () => searchBridged(context, target))
    const set = await readBridgeFile(path)
    const found = { method: 'search --bridge', target, plan: set.plan }
    rows.push(await row(context, found, 'plain', []))
    rows.push(await row(context, found, 'bridged', set.bridges, path))
    if (context.folds) rows.push(await fitted(context, found, 'mlp'))
  }
  const full = await part(`${name}-full`, {}, () => lossesOf(context, allLayers(layers), []))
  return {
    label,
    layers,
    full: full.map(({ kind, losses, tokens }) => ({ kind, loss: sum(losses) / sum(tokens), windows: tokens.length })),
    rows: rows.map((one) => ({ ...one, added: addedTo(full, one.losses) })),
    texts: await part(`${name}-texts`, { plans: rows.map(({ depth }) => depth) }, () => sideBySide(context, rows)),
  }
}

async function variants(context, found) {
  const rows = [await row(context, found, 'plain', []), await fitted(context, found, 'hidden')]
  return context.folds ? [...rows, await fitted(context, found, 'mlp')] : rows
}

/** A method's plan of so many layers. */
async function planOf(context, method, count, target) {
  const { model, options } = context
  if (method === 'unified') return (await model.policy(`unified:${target}x,by=layers`)).everyToken
  if (method !== 'search') return (await model.policy(`${method}:${count}`)).everyToken
  const out = join(options.cache, `${model.name}-${count}.policy.json`)
  search(context, target, out, [])
  return JSON.parse(readFileSync(out, 'utf8')).layers
}

function searchBridged(context, target) {
  const { model, options, size } = context
  const out = join(options.cache, `${model.name}-${target}x${options.quick ? '-quick' : ''}.bridge.gguf`)
  search(context, target, out, ['--bridge', '--samples', String(size.fit), '--held-out', '4'])
  return out
}

/** By the command line, on the part of the texts that methods may see. */
function search({ model, files, options }, target, out, more) {
  const settings = ['--threads', String(options.threads), '--speedup', String(target), '--by', 'layers']
  shoal(['search', model.path, ...settings, ...more, '--texts', ...files.seen, '-o', out])
}

function shoal(args) {
  const ended = spawnSync(process.execPath, [join(ROOT, 'bin', 'shoal.js'), ...args], { encoding: 'utf8' })
  if (ended.status !== 0) throw new Error(`shoal ${args.join(' ')}: ${ended.stderr.trim().split('\n').at(-1)}`)
}

/** A plan with bridges that are fitted for it. */
async function fitted(context, found, on) {
  const { name, model, files, size, options, part } = context
  const { layers, hidden } = model.hyperparameters
  const path = join(options.cache, `${name}-${found.plan.join('.')}-${on}.bridge.gguf`)
  await part(`${name}-fit-${on}-${found.plan.join('.')}`, {}, async () => {
    const drawn = { window: WINDOW, promptShare: PROMPT_SHARE, samples: size.fit, heldOut: 1, seed: 0 }
    const texts = await searchTexts(model, files.seen, drawn)
    const made = await makeBridges(model, found.plan, texts.search, {
      on,
      rank: null,
      type: bridgeType(hidden),
      prompt: 'full',
      journal: null,
      run: {},
    })
    await writeBridgeFile(path, {
      plan: found.plan,
      layers,
      hidden,
      bridges: made.fitted.map(({ bridge }) => bridge),
      model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
      texts: texts.sha256,
      figures: {},
    })
    return null
  })
  const { bridges } = await readBridgeFile(path)
  return row(context, found, on === 'mlp' ? 'folded' : 'bridged', bridges, path)
}

async function row(context, { method, target, plan }, variant, bridges, path) {
  const { name, part } = context
  const depth = variant === 'plain' ? `layers:${plan.join()}` : `plan:${path}`
  const key = `${name}-loss-${variant}-${plan.join('.')}`
  const losses = await part(key, {}, () => lossesOf(context, plan, bridges))
  // What is folded costs nothing: it runs as fast as the plain plan.
  const timed = variant === 'folded' ? `layers:${plan.join()}` : depth
  const times = await part(`${name}-time-${variant === 'bridged' ? 'bridged' : 'plain'}-${plan.join('.')}`, {}, () =>
    timesOf(context, timed),
  )
  return { method, target, variant, plan, depth, losses, delivered: median(times) }
}

/** Summed loss of each held-out window, by kind of text. */
async function lossesOf({ model, files, size }, plan, bridges) {
  const all = []
  for (const [kind, path] of Object.entries(files.heldOut)) {
    const drawn = { window: WINDOW, promptShare: PROMPT_SHARE, samples: 1, heldOut: size.windows, seed: 0 }
    const { heldOut } = await searchTexts(model, [path], drawn)
    const losses = model.planLosses(heldOut)
    try {
      all.push({
        kind,
        losses: Array.from(await losses.of(plan, { bridges })),
        tokens: heldOut.map(({ ids, promptLength }) => ids.length - promptLength),
      })
    } finally {
      await losses.dispose()
    }
  }
  return all
}

/** Full depth's decode time over a depth's, round by round. */
async function timesOf({ model, size }, depth) {
  const run = async (spec) => {
    const result = await model.generate(PROMPT, {
      depth: spec,
      maxTokens: size.tokens,
      temperature: 0,
      ignoreEos: true,
    }).result
    return result.timing.decodeMs
  }
  await run('full')
  await run(depth)
  const ratios = []
  for (let round = 0; round < size.rounds; round++) {
    const order = round % 2 === 0 ? ['full', depth] : [depth, 'full']
    const ms = {}
    for (const spec of order) ms[spec] = await run(spec)
    ratios.push(ms.full / ms[depth])
  }
  return ratios
}

/** What a prompt becomes under full depth and under some plans of the first target. */
async function sideBySide({ model, size }, rows) {
  const [target] = size.targets
  const chosen = rows.filter(
    (one) => one.target === target && (one.method === 'unified' || one.method === 'search --bridge'),
  )
  const depths = [
    { name: 'full depth', depth: 'full' },
    ...chosen
      .filter(({ variant }) => variant !== 'folded')
      .map(({ method, variant, depth }) => ({ name: `${method}, ${variant}`, depth })),
  ]
  const texts = []
  for (const { name, depth } of depths) {
    const { text } = await model.generate(PROMPT, { depth, maxTokens: 40, temperature: 0 }).result
    texts.push({ name, text })
  }
  return { prompt: PROMPT, target, texts }
}

function addedTo(full, losses) {
  return losses.map(({ kind, losses: own, tokens }, k) => ({
    kind,
    ...ratioBootstrap(
      own.map((loss, i) => loss - full[k].losses[i]),
      tokens,
    ),
  }))
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}
