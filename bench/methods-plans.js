/**
 * Plans of every method on real models, plain, with bridges on the hidden state, and with bridges that fold into the last MLP: what each adds to the
 * loss of news and of prose that no method saw, and what it delivers in decode time. Texts are cut into a part for methods and fits and a part
 * for the report.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { planQuestions } from '../dist/calibrate/ask.js'
import { bridged, fitBridges } from '../dist/calibrate/bridges/fit.js'
import { captureRows } from '../dist/calibrate/bridges/full-rows.js'
import { median } from '../dist/calibrate/quantile.js'
import { searchTexts } from '../dist/calibrate/search-texts.js'
import { readBridgeFile, writeBridgeFile } from '../dist/convert/bridge-file.js'
import { bridgeType, planGaps } from '../dist/depth/bridge.js'
import { allLayers } from '../dist/depth/plan.js'
import { keptLayers } from '../dist/depth/unified.js'
import { bootstrapMean, ratioBootstrap, SHARE } from '../dist/evaluate/bootstrap.js'
import { Backend } from '../dist/ggml/backend.js'
import { loadModel } from '../dist/index.js'
import { cutTexts, METHOD_MODELS, someOf } from './method-inputs.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const WINDOW = 256
const PROMPT_SHARE = 0.125
const PROMPT = 'The harbour lay quiet in the morning, and the boats that had come in during the night'

/** The search that chooses a plan for its bridges. */
const BRIDGED = 'search --bridge'
/** Methods whose texts stand beside full depth's. */
const SHOWN = ['unified', BRIDGED]
const SIZES = {
  full: {
    targets: [1.25, 1.5, 2],
    methods: ['unified', 'shortgpt', 'sleb', 'search', BRIDGED],
    fit: 48,
    windows: 16,
    questions: 60,
    rounds: 7,
    tokens: 48,
  },
  quick: {
    targets: [1.25],
    methods: ['unified', 'shortgpt', BRIDGED],
    fit: 24,
    windows: 8,
    questions: 30,
    rounds: 3,
    tokens: 32,
  },
}
const TASKS = ['sst2', 'ag_news']
const SHOTS = 5

/**
 * @param options models, data, threads, quick
 * @param part of measuredParts
 * @param keep called with a model's name and its report after every target and method
 */
export async function plans(options, part, keep) {
  const { targets, methods, ...rest } = SIZES[options.quick ? 'quick' : 'full']
  const size = {
    ...rest,
    targets: options.targets?.split(',').map(Number) ?? targets,
    methods: options.methods?.split(',') ?? methods,
  }
  const files = cutTexts(options.data, options.cache)
  for (const name of options.models.split(',')) {
    const { label, path, folds } = METHOD_MODELS[name]
    const file = path()
    if (file === null) {
      console.log(`${label} is left out: no file in $SHOAL_MODELS or ../shared/models`)
      continue
    }
    const model = await loadModel(file, { thread: false, threads: Number(options.threads) })
    const texts = await textsOf(model, files, size, options.data, folds)
    try {
      await report({ name, label, model, files, size, options, folds, part, texts }, keep)
    } finally {
      for (const one of Object.values(texts)) await one.dispose()
      await model.dispose()
    }
  }
}

/**
 * Texts that maps are fitted on, held-out texts of each kind, and questions: with the full model's rows after every layer, taken when they are
 * first asked for, because below its first gap every plan is the full model.
 */
async function textsOf(model, files, { fit, windows, questions }, data, folds) {
  const draw = async (paths, samples) => {
    const drawn = { window: WINDOW, promptShare: PROMPT_SHARE, samples, heldOut: 0, seed: 0 }
    return searchTexts(model, paths, drawn)
  }
  const { search: fitOn, sha256 } = await draw(files.seen, fit)
  const all = { fit: { sha256, ...fullRowsOf(model, fitOn, folds) } }
  for (const [kind, path] of Object.entries(files.heldOut)) {
    all[kind] = fullRowsOf(model, (await draw([path], windows)).search, false)
  }
  for (const task of TASKS) all[task] = fullRowsOf(model, await askedOf(model, task, questions, data), false)
  return all
}

function fullRowsOf(model, texts, mlp) {
  const { layers } = model.hyperparameters
  const losses = model.planLosses(texts)
  let rows = null
  return {
    texts,
    losses,
    rows() {
      const after = [-1, ...allLayers(layers)]
      rows ??= captureRows(losses, { after, mlpAfter: mlp ? allLayers(layers) : [] })
      return rows
    },
    dispose: () => losses.dispose(),
  }
}

/** Questions whose last token, and no token before it, is a row of the plan: what generation does with the answer. */
async function askedOf(model, name, limit, data) {
  const task = await someOf(name, limit, data)
  const { questions } = planQuestions(model, [task], {
    ...{ shots: SHOTS, draws: 1, seed: 0, positions: 'answer', maxTokens: 1 },
  })
  return questions.map(({ prompt: { ids, golds } }) => ({
    ids: [...ids, golds[0][0]],
    promptLength: ids.length - 1,
    golds: golds.map(([first]) => first),
  }))
}

async function report(context, keep) {
  const { name, label, model, size, part } = context
  const { layers } = model.hyperparameters
  const full = await part(`${name}-full`, judgedOn(size), () => qualityOf(context, allLayers(layers), []))
  const about = {
    label,
    layers,
    windows: WINDOW,
    full: {
      texts: full.losses.map(({ kind, losses, tokens }) => ({
        kind,
        loss: sum(losses) / sum(tokens),
        windows: tokens.length,
      })),
      answers: full.answers.map(({ task, right }) => ({ task, accuracy: mean(right), questions: right.length })),
    },
    fit: size.fit,
    rounds: size.rounds,
    text: { prompt: PROMPT, full: await part(`${name}-text`, { prompt: PROMPT }, () => continued(context, 'full')) },
  }
  for (const target of size.targets) {
    for (const method of size.methods) {
      const rows = await (method === BRIDGED ? searched(context, target) : variants(context, method, target))
      keep(name, about, `${target}x ${method}`, { target, method, rows: rows.map((one) => reported(one, full.losses)) })
    }
  }
}

/** What a row of the table shows. */
function reported({ quality, ...row }, full) {
  return {
    ...row,
    added: addedTo(full, quality.losses),
    accuracy: bootstrapMean(
      quality.answers.flatMap(({ right }) => right),
      { range: SHARE },
    ),
    answers: quality.answers.map(({ task, right }) => ({ task, accuracy: mean(right) })),
  }
}

/** The plan that the search chose for its bridges, without them, with them, and with maps that fold. */
async function searched(context, target) {
  const { name, model, size, part } = context
  const count = keptLayers(model.hyperparameters.layers, target)
  const path = await part(`${name}-bridged-search-${count}`, { fit: size.fit }, () => searchBridged(context, target))
  const { plan, bridges } = await readBridgeFile(path)
  const found = { method: BRIDGED, target, plan }
  const rows = [await row(context, found, 'plain', []), await row(context, found, 'bridged', bridges, path)]
  return context.folds ? [...rows, await fitted(context, found, 'mlp')] : rows
}

async function variants(context, method, target) {
  const { name, model, part } = context
  const count = keptLayers(model.hyperparameters.layers, target)
  const plan = await part(`${name}-${method}-${count}`, {}, () => planOf(context, method, count, target))
  const found = { method, target, plan }
  const rows = [await row(context, found, 'plain', []), await fitted(context, found, 'hidden')]
  return context.folds ? [...rows, await fitted(context, found, 'mlp')] : rows
}

/** A method's plan of so many layers. */
async function planOf(context, method, count, target) {
  const { name, model, options } = context
  if (method === 'unified') return (await model.policy(`unified:${target}x,by=layers`)).everyToken
  if (method !== 'search') return (await model.policy(`${method}:${count}`)).everyToken
  const out = join(options.cache, `${name}-${count}.policy.json`)
  search(context, target, out, [])
  return JSON.parse(readFileSync(out, 'utf8')).layers
}

function searchBridged(context, target) {
  const { name, options, size } = context
  const out = join(options.cache, `${name}-${target}x.bridge.gguf`)
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
  const { name, model, size, options, part, texts } = context
  const { layers, hidden, facts } = model.hyperparameters
  const path = join(options.cache, `${name}-${found.plan.join('.')}-${on}.bridge.gguf`)
  await part(`${name}-fit-${on}-${found.plan.join('.')}`, { fit: size.fit }, async () => {
    const made = await fitBridges(texts.fit.losses, layers, found.plan, await texts.fit.rows(), {
      ...{ on, rank: null, type: bridgeType(hidden), bias: on === 'hidden' },
      ...(facts.residualScale === undefined ? {} : { mlpScale: facts.residualScale }),
    })
    await writeBridgeFile(path, {
      ...{ plan: found.plan, layers, hidden, figures: {} },
      bridges: made.map(({ bridge }) => bridge),
      model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
      texts: texts.fit.sha256,
    })
    return null
  })
  const { bridges } = await readBridgeFile(path)
  return row(context, found, on === 'mlp' ? 'folded' : 'bridged', bridges, path)
}

async function row(context, { method, target, plan }, variant, bridges, path) {
  const { name, part, size, options } = context
  const depth = variant === 'plain' ? `layers:${plan.join()}` : `plan:${path}`
  const made = method === BRIDGED && variant === 'bridged' ? 'searched' : variant
  const judged = { ...judgedOn(size), ...(bridges.length > 0 && { fit: size.fit }) }
  const quality = await part(`${name}-quality-${made}-${plan.join('.')}`, judged, () =>
    qualityOf(context, plan, bridges),
  )
  // What is folded costs nothing: it runs as fast as the plain plan.
  const timed = variant === 'folded' ? `layers:${plan.join()}` : depth
  const costs = variant === 'bridged' ? 'bridged' : 'plain'
  const how = { rounds: size.rounds, tokens: size.tokens }
  const ratios = await options.timed(`${name}-time-${costs}-${plan.join('.')}`, how, () => timesOf(context, timed))
  const shown = SHOWN.includes(method) && variant !== 'folded'
  const text = shown ? await part(`${name}-text-${made}-${plan.join('.')}`, {}, () => continued(context, depth)) : null
  return { method, target, variant, plan, quality, delivered: ratios && median(ratios), text }
}

/** What losses and answers depend on. */
function judgedOn({ windows, questions }) {
  return { windows, questions }
}

/** Summed loss of each held-out window by kind of text, and which answers are right by task. */
async function qualityOf(context, plan, bridges) {
  const { model, files, texts } = context
  const losses = []
  for (const kind of Object.keys(files.heldOut)) {
    const of = texts[kind]
    const start = await startOf(model, of, plan, bridges)
    const tokens = of.texts.map(({ ids, promptLength }) => ids.length - promptLength)
    losses.push({ kind, tokens, losses: Array.from(await of.losses.of(plan, { bridges, ...(start && { start }) })) })
  }
  const answers = []
  for (const task of TASKS) answers.push({ task, right: await rightAnswers(texts[task], plan, bridges) })
  return { losses, answers }
}

/** The rows that enter the layer above the first gap: the full model's below it, through the bridge where there is one. */
async function startOf(model, texts, plan, bridges) {
  const [gap] = planGaps(plan, model.hyperparameters.layers)
  if (gap === undefined) return null
  const { hidden, mlp } = await texts.rows()
  const below = { hidden: hidden.get(gap.from), mlp: mlp.get(gap.from) ?? null }
  const [bridge] = bridges
  if (bridge === undefined) return { layer: gap.to, row: (i) => below.hidden.row(i) }
  if (bridge.on === 'mlp') return null
  const backend = new Backend()
  try {
    const rows = bridged(backend, bridge, below)
    return { layer: gap.to, row: (i) => rows.row(i) }
  } finally {
    await backend.dispose()
  }
}

async function rightAnswers({ texts, losses }, plan, bridges) {
  const right = []
  await losses.rise({ layers: plan, bridges }, async (rows) => {
    if (rows.layer !== plan.at(-1)) return
    if (rows.count !== texts.length) throw new Error(`${texts.length} questions have ${rows.count} rows`)
    await rows.head(
      texts.map((_, i) => i),
      (i, logits) => {
        let best = 0
        for (let id = 1; id < logits.length; id++) if (logits[id] > logits[best]) best = id
        right[i] = Number(texts[i].golds.includes(best))
      },
    )
  })
  return right
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

/** What the prompt becomes under a depth. */
async function continued({ model }, depth) {
  return (await model.generate(PROMPT, { depth, maxTokens: 40, temperature: 0 }).result).text
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

function mean(values) {
  return sum(values) / values.length
}

function sum(values) {
  return values.reduce((total, value) => total + value, 0)
}
