// docs/adainfer.md: SVM, CRF and logistic regression beside gap and the controls, on held-out prompts of the bundled models.
//
//     node bench/adainfer.js [--data ../shared/data] [--cache FOLDER] [--engine 200] [--sets 'SST-2,AG News'] [--models ripple-8m,ripple-8m-flex]
//
// Traces of the test splits are made once with the command line and kept in --cache. Even prompts calibrate, odd prompts give
// the results. Accuracy and layers are read off traces; --engine prompts of each task run through the engine, in f32 and in
// q4_0, for the same token and depth, and for every time.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { applyPolicy } from '../dist/calibrate/apply.js'
import { measureCheckCost } from '../dist/calibrate/check-cost.js'
import { fitChosenLayers } from '../dist/calibrate/check-plan.js'
import { likelyTokens } from '../dist/calibrate/check-tokens.js'
import { crossFit } from '../dist/calibrate/cross-fit.js'
import { writePolicyFile } from '../dist/calibrate/policy-write.js'
import { recordPositions } from '../dist/calibrate/record.js'
import { traceSetOf } from '../dist/calibrate/trace-task.js'
import { readTraces, selectTraces } from '../dist/calibrate/traces.js'
import { answerSettings } from '../dist/cli/calibrate-settings.js'
import { answerFlops } from '../dist/evaluate/answer-cost.js'
import { bootstrapMean, pairedBootstrap } from '../dist/evaluate/bootstrap.js'
import { modelSize } from '../dist/evaluate/cost.js'
import { familyByArchitecture } from '../dist/families/index.js'
import { loadModel } from '../dist/index.js'
import { isGoldToken, loadTask, questionsOf } from '../dist/tasks/index.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: join(ROOT, '..', 'shared', 'data') },
    cache: { type: 'string', default: join(tmpdir(), 'shoal-adainfer') },
    models: { type: 'string', default: 'ripple-8m,ripple-8m-flex' },
    engine: { type: 'string', default: '200' },
    q4: { type: 'string', default: '50' },
    sets: { type: 'string', default: 'SST-2,AG News,rule tasks' },
    threads: { type: 'string' },
    out: { type: 'string', default: join(ROOT, 'docs', 'adainfer.md') },
  },
})
if (!existsSync(options.data)) {
  console.log(`no data folder ${options.data}: give one with --data`)
  process.exit(0)
}

const RULES = [
  ...['fruit_v_animal_3', 'choose_first_of_3', 'capitalize', 'conll2003_person', 'singular-plural', 'next_item'],
  'present-past',
]
const SETS = [
  { name: 'SST-2', tasks: ['sst2'], shots: 5 },
  { name: 'AG News', tasks: ['ag_news'], shots: 1 },
  { name: 'rule tasks', tasks: RULES, shots: 5, limit: 200 },
]
const LOSS = { kind: 'accuracy-loss', value: 0.01 }
const LABELS = ['agreement', 'stable', 'first-match', 'correctness']
const KINDS = { SVM: 'adainfer-svm', CRF: 'adainfer-crf', logistic: 'adainfer-logistic' }

mkdirSync(options.cache, { recursive: true })
const work = mkdtempSync(join(tmpdir(), 'shoal-adainfer-policies-'))
const sections = []
for (const name of options.models.split(',')) {
  const model = await loadModel(name, threads())
  const small = await loadModel(name, { ...threads(), quantization: 'q4_0' })
  for (const set of SETS.filter((s) => options.sets.split(',').includes(s.name)))
    sections.push(await evaluateSet(model, small, set))
  await small.dispose()
  await model.dispose()
}
writeFileSync(options.out, page(sections))
console.log(`written to ${options.out}`)

function threads() {
  return options.threads === undefined ? {} : { threads: Number(options.threads) }
}

function traceFile(model, { name, tasks, shots, limit }) {
  const path = join(options.cache, `${model}-${name.toLowerCase().replaceAll(' ', '-')}.parquet`)
  if (existsSync(path)) return path
  const more = limit === undefined ? [] : ['--limit', String(limit)]
  const args = [
    'trace',
    model,
    ...tasks.flatMap((task) => ['--task', task]),
    '--shots',
    String(shots),
    '--data',
    options.data,
    '--out',
    path,
  ]
  const { status } = spawnSync(process.execPath, [join(ROOT, 'bin', 'shoal.js'), ...args, ...more], {
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error(`shoal trace ended with ${status}`)
  return path
}

async function evaluateSet(model, small, set) {
  const traces = await readTraces(traceFile(model.name, set))
  const calibration = selectTraces(traces, (i) => i % 2 === 0)
  const results = selectTraces(traces, (i) => i % 2 === 1)
  const { layers } = traces
  const prompts = await resultPrompts(model, set)
  const { hyperparameters: h } = model
  const size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
  const checks = { kind: 'exit', checkLayers: () => Array.from({ length: layers - 1 }, (_, l) => l) }
  const full = results.instances.map(() => layers - 1)
  const rows = []
  const add = (name, exits, policy = null) => rows.push(row(name, results, exits, full, { prompts, size, policy }))

  add('full', full)
  add('gap > 0.8', gapExits(results, 0.8), checks)
  const gap = bestGap(calibration)
  add(`gap > ${gap.toFixed(3)} (chosen)`, gapExits(results, gap), checks)
  const engines = [
    { name: 'gap > 0.8', spec: 'gap:0.8' },
    { name: 'gap chosen', spec: `gap:${gap}`, exits: gapExits(results, gap) },
  ]
  const made = { name: model.name, fingerprint: model.fingerprint }
  const chosen = []
  const labels = []
  let svmDepth = layers
  for (const [name, kind] of Object.entries(KINDS)) {
    const { checkTokens: _, ...settings } = answerSettings(kind)
    const byLabel = LABELS.map((label) => crossFit(calibration, { ...settings, kind, label, model: made }, LOSS).policy)
    for (const policy of byLabel) {
      const { difference, layers: own } = figures(results, exitsOf(policy, results), full)
      labels.push({ name, label: policy.label, calibration: policy.calibration, difference, layers: own })
    }
    const [policy] = byLabel
    const exits = exitsOf(policy, results)
    const { mean_layers: own, accuracy, full_accuracy: whole, agreement } = policy.calibration
    chosen.push({ name, layers: own, difference: accuracy - whole, agreement })
    add(name, exits, checks)
    add(`random, depths of ${name}`, shuffled(exits))
    if (name === 'SVM') svmDepth = meanDepth(exits)
    const path = join(work, `${model.name}-${set.tasks[0]}-${name}.policy.json`)
    await writePolicyFile(path, policy)
    engines.push({ name, spec: `adainfer:${path}`, exits })
  }
  const { prompts: all, gold } = await allPrompts(model, set)
  const cheap = await cheapTraces(model, set, all, gold)
  const few = selectTraces(cheap, (i) => i % 2 === 0)
  const { checkTokens: _, ...settings } = answerSettings('adainfer-svm')
  const cost = await measureCheckCost(model, all[0].ids, cheap.checkTokens, { hidden: true })
  const policy = fitChosenLayers(few, { ...settings, kind: 'adainfer-svm', model: made }, LOSS, cost)
  const cheapExits = exitsOf(
    policy,
    selectTraces(cheap, (i) => i % 2 === 1),
  )
  const cheapPath = join(work, `${model.name}-${set.tasks[0]}-cheap.policy.json`)
  await writePolicyFile(cheapPath, policy)
  add('SVM, cheap checks', cheapExits, {
    kind: 'exit',
    checkTokens: policy.check_tokens,
    checkLayers: () => policy.checked_layers,
  })
  engines.push({ name: 'SVM, cheap checks', spec: `adainfer:${cheapPath}`, exits: cheapExits })
  const fixed = bestFixed(calibration)
  const constant = (exit) => results.instances.map(() => exit)
  add(`fixed exit ${fixed} (chosen)`, constant(fixed))
  add('fixed exit, depth of SVM', constant(Math.round(svmDepth) - 1))
  add(
    'oracle',
    results.instances.map(({ agree }) => agree.lastIndexOf(0) + 1),
  )
  const kept = shortGptPlan(calibration, Math.round(svmDepth))
  engines.push({ name: `ShortGPT, ${kept.length} layers`, spec: `layers:${kept.join(',')},prompt=plan` })
  const measured = await measure(model, prompts, engines)
  const quantized = await measure(small, prompts, engines, Number(options.q4))
  console.log(`${model.name} · ${set.name} · ${results.instances.length} prompts`)
  console.table(
    rows.map(({ name, accuracy, difference, layers: l }) => ({
      name,
      accuracy: accuracy.mean.toFixed(3),
      difference: difference.mean.toFixed(3),
      layers: l.toFixed(2),
    })),
  )
  const { length } = results.instances
  return {
    model: model.name,
    set: set.name,
    prompts: length,
    layers,
    rows,
    chosen,
    labels,
    measured,
    quantized,
    policy,
  }
}

/** Prompts of the results with their gold answers, in the order of the traces. */
async function resultPrompts(model, set) {
  return (await allPrompts(model, set)).prompts.filter((_, i) => i % 2 === 1)
}

/** Features of a check head of the tokens that are likely on the calibration prompts; kept in the cache. */
async function cheapTraces(model, set, prompts, gold) {
  const path = join(options.cache, `${model.name}-${set.name.toLowerCase().replaceAll(' ', '-')}-64.json`)
  const { layers } = model.hyperparameters
  if (!existsSync(path)) {
    const first = []
    for (let i = 0; i < Math.min(200, prompts.length); i += 2) {
      first.push({ gold: gold[i], traces: await recordPositions(model, prompts[i].ids) })
    }
    const tokens = likelyTokens(first, 64)
    const records = []
    for (const [i, { ids }] of prompts.entries()) {
      const [{ top1, top2, checkTop, features: f }] = await recordPositions(model, ids, [], undefined, tokens)
      const features = Object.fromEntries(Object.entries(f).map(([name, values]) => [name, Array.from(values)]))
      const trace = { top1: Array.from(top1), top2: Array.from(top2), checkTop: Array.from(checkTop), features }
      records.push({ instance: i, task: set.name, gold: gold[i], position: ids.length - 1, traces: [trace] })
    }
    writeFileSync(path, JSON.stringify({ tokens, records }))
  }
  const { tokens, records } = JSON.parse(readFileSync(path, 'utf8'))
  return traceSetOf(records, layers, tokens)
}

async function allPrompts(model, set) {
  const prompts = []
  for (const name of set.tasks) {
    const task = await loadTask(name, { data: options.data })
    const more = set.limit === undefined ? {} : { limit: set.limit }
    const asked = questionsOf(model, task, { shots: set.shots, seed: 0, score: 'token', ...more })
    for (const { prompt } of asked.questions) prompts.push(prompt)
  }
  return { prompts, gold: prompts.map(({ golds }) => golds[0]?.[0] ?? null) }
}

/** The layers of largest block influence, 1 - cos(input, output), on the calibration prompts (ShortGPT). */
function shortGptPlan({ instances, layers }, kept) {
  const influence = Array.from({ length: layers }, (_, layer) =>
    layer === 0 ? Infinity : instances.reduce((sum, { features }) => sum + 1 - features.cos_hidden[layer], 0),
  )
  return influence
    .map((value, layer) => ({ value, layer }))
    .sort((a, b) => b.value - a.value)
    .slice(0, kept)
    .map(({ layer }) => layer)
    .sort((a, b) => a - b)
}

/** Evenly spaced prompts of the results through the engine: token and depth as on traces, and every time. */
async function measure(model, prompts, engines, count = Number(options.engine)) {
  const step = Math.max(1, Math.floor(prompts.length / count))
  const chosen = prompts
    .map((prompt, i) => ({ prompt, i }))
    .filter(({ i }) => i % step === 0)
    .slice(0, count)
  const runs = [{ name: 'full', spec: 'full' }, ...engines]
  const total = new Map(runs.map(({ name }) => [name, { ms: 0, checkMs: 0, depth: 0, right: 0, differ: 0 }]))
  for (const { spec } of runs) await model.predict(chosen[0].prompt.ids, { depth: spec })
  for (const [turn, { prompt, i }] of chosen.entries()) {
    for (let k = 0; k < runs.length; k++) {
      const { name, spec, exits } = runs[(k + turn) % runs.length]
      const { ms, checkMs, depth, top } = await model.predict(prompt.ids, { depth: spec })
      const sum = total.get(name)
      sum.ms += ms
      sum.checkMs += checkMs
      sum.depth += depth
      sum.right += Number(isGoldToken(top, prompt.golds))
      if (exits !== undefined && depth !== exits[i] + 1) sum.differ++
    }
  }
  const base = total.get('full').ms
  const n = chosen.length
  return runs.map(({ name }) => {
    const { ms, checkMs, depth, right, differ } = total.get(name)
    const [own, layers] = [depth / n, model.hyperparameters.layers]
    return {
      name,
      n,
      accuracy: right / n,
      depth: own,
      ms: ms / n,
      time: ms / base,
      checks: checkMs / ms,
      // Of the time that the layers saved would have taken.
      price: checkMs / ((1 - own / layers) * base),
      saved: (1 - ms / base) / (1 - own / layers),
      differ,
    }
  })
}

function exitsOf(policy, traces) {
  return applyPolicy(policy, traces).map(({ exit }) => exit)
}

function gapExits({ instances, layers }, threshold) {
  return instances.map(({ features }) => {
    const at = features.gap.findIndex((gap, layer) => layer < layers - 1 && gap > threshold)
    return at < 0 ? layers - 1 : at
  })
}

function accuracyAt({ instances }, exits) {
  return instances.reduce((sum, { correct }, i) => sum + correct[exits[i]], 0) / instances.length
}

function meanDepth(exits) {
  return exits.reduce((sum, exit) => sum + exit + 1, 0) / exits.length
}

/** The smallest gap threshold before the first that loses more than a point on the calibration prompts. */
function bestGap(traces) {
  const whole = accuracyAt(
    traces,
    traces.instances.map(() => traces.layers - 1),
  )
  for (let t = 1000; t > 0; t--) {
    if (whole - accuracyAt(traces, gapExits(traces, (t - 1) / 1000)) > LOSS.value + 1e-9) return t / 1000
  }
  return 0
}

function bestFixed(traces) {
  const whole = accuracyAt(
    traces,
    traces.instances.map(() => traces.layers - 1),
  )
  for (let exit = traces.layers - 1; exit > 0; exit--) {
    if (
      whole -
        accuracyAt(
          traces,
          traces.instances.map(() => exit - 1),
        ) >
      LOSS.value + 1e-9
    )
      return exit
  }
  return 0
}

function figures({ instances }, exits, full) {
  const correct = instances.map(({ correct: c }, i) => c[exits[i]])
  const whole = instances.map(({ correct: c }, i) => c[full[i]])
  return {
    accuracy: bootstrapMean(correct),
    difference: pairedBootstrap(correct, whole),
    agreement: instances.reduce((sum, { agree }, i) => sum + agree[exits[i]], 0) / instances.length,
    layers: meanDepth(exits),
  }
}

/** FLOPs beside full depth, without and with checks; the prompt is part of both. */
function flopsRatio(exits, { prompts, size, policy }) {
  let own = 0
  let withChecks = 0
  let whole = 0
  const run = (depth) => Array.from({ length: depth }, (_, l) => l)
  for (const [i, exit] of exits.entries()) {
    const { length } = prompts[i].ids
    const { flops, flopsWithChecks } = answerFlops(size, length, run(exit + 1), policy)
    own += flops
    withChecks += flopsWithChecks
    whole += answerFlops(size, length, run(size.layers), null).flops
  }
  return { flops: own / whole, flopsWithChecks: withChecks / whole }
}

function row(name, traces, exits, full, cost) {
  return { name, ...figures(traces, exits, full), ...flopsRatio(exits, cost) }
}

/** A fixed permutation. */
function shuffled(values) {
  const result = [...values]
  let state = 1
  for (let i = result.length - 1; i > 0; i--) {
    state = (Math.imul(state, 48271) >>> 0) % 2147483647
    const j = state % (i + 1)
    ;[result[i], result[j]] = [result[j], result[i]]
  }
  return result
}

function percent(share) {
  return Number.isFinite(share) ? `${(100 * share).toFixed(1)}%` : ''
}

function share(value) {
  return Number.isFinite(value) ? value.toFixed(2) : ''
}

function interval({ mean, low, high }, digits = 3) {
  return `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`
}

function page(all) {
  const parts = all.map(({ model, set, prompts, layers, rows, chosen, labels, measured, quantized, policy }) => {
    const table = rows.map(
      (r) =>
        `| ${r.name} | ${interval(r.accuracy)} | ${interval(r.difference)} | ${r.agreement.toFixed(3)} | ${r.layers.toFixed(2)} | ${r.flops.toFixed(3)} / ${r.flopsWithChecks.toFixed(3)} |`,
    )
    const timed = (m) => `${m.accuracy.toFixed(3)} | ${m.depth.toFixed(2)} | ${m.time.toFixed(2)}`
    const times = measured.map(
      (m, i) =>
        `| ${m.name} | ${timed(m)} | ${share(m.saved)} | ${percent(m.checks)} | ${percent(m.price)} | ${m.differ} | ${timed(quantized[i])} |`,
    )
    const fits = chosen.map(
      (c) => `| ${c.name} | ${c.difference.toFixed(3)} | ${c.agreement.toFixed(3)} | ${c.layers.toFixed(2)} |`,
    )
    const byLabel = labels.map(
      ({ name, label, calibration: c, difference, layers: own }) =>
        `| ${name} | ${label} | ${(c.accuracy - c.full_accuracy).toFixed(3)} @ ${c.mean_layers.toFixed(2)} | ${interval(difference)} @ ${own.toFixed(2)} |`,
    )
    return `## ${set}, ${model} (f32)

${prompts} held-out prompts, ${layers} layers.

| exit rule | accuracy | less full depth | agreement | layers | FLOPs without / with checks |
|---|---|---|---|---|---|
${table.join('\n')}

On the calibration prompts, out of fold:

| classifier | less full depth | agreement | layers |
|---|---|---|---|
${fits.join('\n')}

<details><summary>Every label</summary>

| classifier | label | calibration, out of fold | results |
|---|---|---|---|
${byLabel.join('\n')}

</details>

Cheap checks: ${policy.check_tokens.length} tokens, after layers ${policy.checked_layers.join(', ')}, where a check costs ${policy.calibration.check_cost.toFixed(2)} layers.

Through the engine, ${measured[0].n} prompts in f32 and ${quantized[0].n} in q4_0:

| | f32 accuracy | layers | time / full | time saved / layers saved | checks: of the time | of that of layers saved | depth unlike traces | q4_0 accuracy | layers | time / full |
|---|---|---|---|---|---|---|---|---|---|---|
${times.join('\n')}
`
  })
  return `# AdaInfer on the bundled models

Written by \`node bench/adainfer.js\`. Prompts are the test splits of ripple-8m's tasks, which it never saw, with shots from
the train splits. Even prompts calibrate, odd prompts give the results. Every threshold, gap's and the fixed exit's too, is
chosen on the calibration prompts for a loss of at most one point (\`accuracy-loss=0.01\`), from the safe side up to the first
failure. A classifier is fitted on all of them, and its threshold chosen on values of five-fold cross-validation. Brackets are
95% bootstrap intervals, of differences paired.

All sets take the same settings, those of \`shoal calibrate --task\`: one classifier per layer, label agreement; inputs gap,
top probability, cosine of the hidden state with that of the layer before, and which of the four most frequent answers the
layer's best token is; the SVM is linear, its classes balanced and its values brought to log-odds (Platt 1999), so that one
threshold serves all layers. The CRF looks at gap, top probability and the answer. These were found by cross-validation on
the calibration prompts of all six sets. What the answer is matters on ripple-8m's SST-2 and AG News, whose shallow layers give
one answer to nearly everything and must be surer of it than of the others; on the other sets it changes little.

A threshold is chosen without a margin, so that on other prompts the loss is above a point about as often as below. In
resampling of ripple-8m's calibration prompts (12 draws a set: 70% to choose on, the rest to judge by; with the two other
cosines as inputs too) it stayed within a point in 0.42 to 0.67 of the draws, and with a margin of half a standard error in
0.75, at about 0.3 layers more.

Results are given for every label; agreement is the one used, whatever they say: picking by them would be picking with hindsight.

ShortGPT keeps as many layers as the SVM runs on average and is measured through the engine. Policies were calibrated in f32 and
run in q4_0 as they are. FLOPs count the prompt; times are of the engine, one thread unless said otherwise, with a check of the
whole head after every layer. "SVM, cheap checks" is the same SVM on a check head of 64 tokens (gold answers and what layers
say most often on calibration prompts), asked only after the layers where dynamic programming over the calibration traces found that it pays.

The rule that thresholds are chosen from the safe side came after a first version of this page had been seen to lose 3 to 6 points on
ripple-8m's SST-2 results; so those results had a part in the method, and the other five sets are the cleaner test.

${parts.join('\n')}`
}
