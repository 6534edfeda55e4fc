/**
 * Exits on the answers of tasks, on real models: the paper's SVM and CRF, the fixed gap, and ours, read as layers are and through a lens. Half of
 * the questions calibrate, asked with three draws of shots; the others give the results. Depth, agreement and accuracy are read off
 * full-depth traces, times come from the engine.
 */
import { join } from 'node:path'
import { drawnForTraining, planQuestions, questionFacts, traceQuestions } from '../dist/calibrate/ask.js'
import { makeLens } from '../dist/calibrate/bridges/make-lens.js'
import { promptEnds } from '../dist/calibrate/bridges/prompt-ends.js'
import { measureCheckCost } from '../dist/calibrate/check-cost.js'
import { fitChosenLayers } from '../dist/calibrate/check-plan.js'
import { chooseCheckTokens } from '../dist/calibrate/check-tokens.js'
import { crossFit } from '../dist/calibrate/cross-fit.js'
import { fitPolicy } from '../dist/calibrate/fit.js'
import { outcomes } from '../dist/calibrate/outcomes.js'
import { writePolicyFile } from '../dist/calibrate/policy-write.js'
import { searchTexts } from '../dist/calibrate/search-texts.js'
import { answerSettings, DEFAULT_TARGET, DRAWS, PAPER_FITS } from '../dist/calibrate/settings.js'
import { createSplit, splitTraces } from '../dist/calibrate/split.js'
import { wholeHead } from '../dist/calibrate/traces.js'
import { transferPolicy } from '../dist/calibrate/transfer.js'
import { digest } from '../dist/checkpoint/journal.js'
import { readLens } from '../dist/cli/lens-file.js'
import { writeBridgeFile } from '../dist/convert/bridge-file.js'
import { bridgeType } from '../dist/depth/bridge.js'
import { bootstrapMean, pairedBootstrap, SHARE, SHARE_DIFFERENCE } from '../dist/evaluate/bootstrap.js'
import { loadModel } from '../dist/index.js'
import { spread } from '../dist/tasks/spread.js'
import { attempt, gapThreshold, throughEngine } from './exit-measures.js'
import { cutTexts, METHOD_MODELS, someOf } from './method-inputs.js'

const SETS = [
  { name: 'SST-2', task: 'sst2' },
  { name: 'AG News', task: 'ag_news' },
  { name: 'CommonsenseQA', task: 'commonsense_qa' },
  { name: 'MMLU', task: 'mmlu' },
  { name: 'fruit_v_animal_3', task: 'fruit_v_animal_3' },
  { name: 'singular-plural', task: 'singular-plural' },
]
const SIZES = {
  full: { sets: SETS, questions: 120, shots: [5, 0], timed: 12, lensTexts: 24, lensPrompts: 24 },
  quick: { sets: SETS.slice(0, 1), questions: 60, shots: [5], timed: 6, lensTexts: 12, lensPrompts: 30 },
}
const CHECK_TOKENS = 20
const LOOKED_AT = 20
/** What a check takes where that was not measured, in layers. */
const CHECK_COST = 0.1
/** Of these the calibration questions choose. */
const KINDS = ['adainfer-svm', 'adainfer-crf', 'adainfer-logistic']

/**
 * @param options models, data, cache, threads, quick
 * @param part of measuredParts
 * @param keep called with a model's name, what it is, and the results of a set
 */
export async function exits(options, part, keep) {
  const size = SIZES[options.quick ? 'quick' : 'full']
  const sets = size.sets.flatMap((set) =>
    size.shots.map((shots) => ({ ...set, shots, key: `${set.name}, ${shots} shots` })),
  )
  const names = size.sets.map(({ name }) => name)
  const wanted = options.sets?.split(',') ?? names
  const unknown = wanted.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--sets has ${unknown}; there are ${names.join(', ')}`)
  const traced = new Map()
  for (const name of options.models.split(',')) {
    const { label, path } = METHOD_MODELS[name]
    const file = path()
    if (file === null) {
      console.log(`${label} is left out: no file in $SHOAL_MODELS or ../shared/models`)
      continue
    }
    const model = await loadModel(file, { thread: false, threads: Number(options.threads) })
    const context = { name, model, size, options, part }
    try {
      const planned = []
      for (const set of sets) planned.push(await planSet(context, set))
      const lens = await lensOf(context, planned)
      for (const set of planned) {
        if (!wanted.includes(set.name)) continue
        const asked = await askSet(context, set, lens)
        const about = { label, layers: model.hyperparameters.layers }
        keep(name, about, set.key, { set: set.name, shots: set.shots, ...(await resultsOf(context, asked)) })
        traced.set(set.key, [...(traced.get(set.key) ?? []), { name, label, ...asked.raw }])
      }
    } finally {
      await model.dispose()
    }
  }
  for (const [key, models] of traced) {
    for (const to of models) {
      for (const from of models)
        if (from !== to) keep(to.name, null, `${key}, from ${from.name}`, transferred(from, to))
    }
  }
}

/** The questions of a set, in two halves that share none; those of the first with every draw of shots. */
async function planSet({ model, size, options }, set) {
  const tasks = [await someOf(set.task, size.questions, options.data)]
  const base = { shots: set.shots, draws: DRAWS, seed: 0, positions: 'answer', maxTokens: 1 }
  const split = createSplit(['train', 'test'], 0)
  const questions = drawnForTraining(planQuestions(model, tasks, base).questions, split)
  const parts = split(questions.map(({ input }) => input))
  const of = (part) => questions.filter((_, i) => parts[i] === part)
  return { ...set, tasks, base, split, questions, train: of('train'), test: of('test') }
}

/**
 * One lens for all sets, fitted on news, prose and the ends of prompts of calibration questions with their shots. The position that an
 * answer is read at is none of its rows.
 */
async function lensOf({ name, model, size, options, part }, planned) {
  const path = join(options.cache, `${name}.lens.gguf`)
  const { layers, hidden } = model.hyperparameters
  const facts = { sets: planned.map(({ key }) => key), texts: size.lensTexts, prompts: size.lensPrompts }
  await part(`${name}-lens`, facts, async () => {
    const seen = cutTexts(options.data, options.cache).seen
    const drawn = { window: 256, promptShare: 0.125, samples: size.lensTexts, heldOut: 0, seed: 0 }
    const texts = await searchTexts(model, seen, drawn)
    const prompts = planned.flatMap(({ shots, train }) => (shots === 0 ? [] : promptEnds(train, size.lensPrompts)))
    const how = { rank: null, type: bridgeType(hidden), journal: null, run: {} }
    const made = await makeLens(model, [...texts.search, ...prompts], how)
    await writeBridgeFile(path, {
      ...{ plan: null, layers, hidden, figures: { fit_rows: made.rows } },
      bridges: made.fitted.map(({ bridge }) => bridge),
      model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
      texts: texts.sha256,
    })
    made.close(true)
    return made.rows
  })
  const { source, bridges } = await readLens(path)
  return { file: path, source, bridges }
}

/** All questions of a set, traced as layers are and through the lens; beside the whole head one of the likely answers. */
async function askSet({ name, model, size, options }, { key, tasks, base, split, questions, train, test }, lens) {
  const asked = { key, lens, test }
  for (const reading of ['raw', 'through']) {
    const how = { ...base, ...(reading === 'through' && { lens }) }
    const checkTokens = await chooseCheckTokens(model, spread(train, LOOKED_AT), how, CHECK_TOKENS)
    const asking = { ...how, checkTokens }
    const facts = digest([questionFacts(model, tasks, asking), size.questions])
    const path = join(options.cache, `${name}-${key.replaceAll(/[ ,]+/g, '-')}-${reading}-${facts}.jsonl`)
    const started = performance.now()
    const traces = await traceQuestions(model, tasks, questions, asking, { path })
    const seconds = ((performance.now() - started) / 1000).toFixed(0)
    console.log(`${name}, ${key}, ${reading}: ${questions.length} questions, ${seconds} s`)
    const of = splitTraces(traces, split)
    asked[reading] = {
      cutTrain: of('train'),
      cutTest: of('test'),
      train: wholeHead(of('train')),
      test: wholeHead(of('test')),
    }
  }
  return asked
}

/** What every rule does with the held-out questions, on traces and through the engine. */
async function resultsOf(context, { key, lens, test, raw, through }) {
  const { name, model, size, options } = context
  const { layers } = model.hyperparameters
  const full = outcomes(raw.test, 'full')
  const cost = async (traces, more) =>
    (await options.timed(`${name}-${key}-check-${more.lens === undefined ? 'raw' : 'lens'}`, {}, () =>
      measureCheckCost(model, test[0].prompt.ids, { checkTokens: traces.checkTokens, ...more }),
    )) ?? CHECK_COST
  const ours = async (traces, more, lensOf) => {
    const price = await cost(traces, more)
    const fitted = KINDS.map((kind) =>
      attempt(() => fitChosenLayers(traces, { ...answerSettings(kind), kind, ...lensOf }, DEFAULT_TARGET, price)),
    ).filter((policy) => policy !== null)
    const layersOf = ({ calibration }) => calibration.mean_layers
    return fitted.reduce((best, one) => (best === null || layersOf(one) < layersOf(best) ? one : best), null)
  }
  const gap = gapThreshold(raw.train)
  const { spec: shoalGap } = await model.policy('gap:0.8')
  const policies = {
    "the paper's SVM": attempt(() => fitPolicy(raw.train, PAPER_FITS['paper-svm'])),
    "the paper's CRF": attempt(() => fitPolicy(raw.train, PAPER_FITS['paper-crf'])),
    'SVM, chosen threshold': attempt(() => crossFit(raw.train, { ...PAPER_FITS['paper-svm'] }, DEFAULT_TARGET).policy),
    'ours, raw': await ours(raw.cutTrain, {}, {}),
    'ours, lens': await ours(
      through.cutTrain,
      { lens: lens.bridges },
      { lens: { file: lens.file, sha256: lens.source } },
    ),
  }
  const rules = [
    { rule: 'oracle', outcome: outcomes(raw.test, 'oracle') },
    { rule: 'gap 0.8', spec: 'gap:0.8,from=0', outcome: outcomes(raw.test, { gap: 0.8 }) },
    { rule: shoalGap, spec: shoalGap, outcome: outcomes(raw.test, gapExits(raw.test, shoalGap)) },
    { rule: `gap ${gap.toFixed(3)}, chosen`, outcome: outcomes(raw.test, { gap }) },
  ]
  for (const [rule, policy] of Object.entries(policies)) {
    if (policy === null) continue
    const file = join(options.cache, `${`${name}-${key}-${rule}`.replaceAll(/[^\w.-]+/g, '-')}.policy.json`)
    await writePolicyFile(file, policy)
    const traces = policy.lens === null ? (policy.check_tokens === null ? raw.test : raw.cutTest) : through.cutTest
    const { calibration, check_tokens: tokens, checked_layers: checked } = policy
    rules.push({
      ...{ rule, spec: `adainfer:${file}`, outcome: outcomes(traces, policy) },
      checks: { tokens: tokens?.length ?? null, layers: checked.length, cost: calibration?.check_cost ?? null },
      splits: calibration?.splits ?? null,
    })
  }
  const engines = rules
    .filter(({ spec }) => spec !== undefined)
    .map(({ rule, spec, outcome }) => ({ name: rule, spec, exits: outcome.exits }))
  // Policies are fitted anew in every run: times are of these.
  const facts = { exits: digest(engines.map(({ spec, exits: own }) => [spec, own])), questions: size.timed }
  const times =
    (await options.timed(`${name}-${key}-times`, facts, () => throughEngine(model, test, engines, size.timed))) ?? []
  return {
    questions: { calibration: new Set(raw.train.instances.map(({ question }) => question)).size, test: test.length },
    chance: chanceOf(test),
    full: bootstrapMean(full.right, { range: SHARE }),
    layers,
    rules: rules.map(({ rule, outcome, checks, splits }) => ({
      ...{ rule, checks, splits, ...figuresOf(outcome) },
      time: times.find((one) => one.name === rule) ?? null,
    })),
    fullMs: times.find((one) => one.name === 'full')?.ms ?? null,
  }
}

/** Exits of gap:0.8 with checks from a layer that its SPEC names. */
function gapExits({ instances, layers }, spec) {
  const from = Number(/,from=(\d+)$/.exec(spec)?.[1] ?? 0)
  return instances.map(({ features }) =>
    features.gap.findIndex((gap, layer) => layer === layers - 1 || (layer >= from && gap > 0.8)),
  )
}

function figuresOf({ exits: own, agrees, right, fullRight, losses }) {
  return {
    depth: bootstrapMean(own.map((exit) => exit + 1)),
    agreement: bootstrapMean(agrees, { range: SHARE }),
    accuracy: bootstrapMean(right, { range: SHARE }),
    difference: pairedBootstrap(right, fullRight, { range: SHARE_DIFFERENCE }),
    losses,
  }
}

/** What always giving the most frequent answer would get. */
function chanceOf(questions) {
  const times = new Map()
  for (const { prompt } of questions) {
    for (const id of new Set(prompt.golds.map(([first]) => first))) times.set(id, (times.get(id) ?? 0) + 1)
  }
  return Math.max(...times.values()) / questions.length
}

/** A model's SVM of the paper on the other model's questions: one classifier for all layers needs no layer of its own. */
function transferred(from, to) {
  const policy = attempt(() => fitPolicy(from.train, PAPER_FITS['paper-svm']))
  const chosen = attempt(() => crossFit(from.train, PAPER_FITS['paper-svm'], DEFAULT_TARGET).policy)
  const of = (one) => one && figuresOf(outcomes(to.test, transferPolicy(one, to.test.layers)))
  return { from: from.label, paper: of(policy), chosen: of(chosen) }
}
