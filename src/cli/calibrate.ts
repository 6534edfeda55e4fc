import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import { boundPolicy, thresholdCandidates } from '../calibrate/bound.js'
import { fitChosenLayers } from '../calibrate/check-plan.js'
import { crossFit } from '../calibrate/cross-fit.js'
import { explainBeside, explainPolicy } from '../calibrate/explain.js'
import { type FitOptions, fitPolicy } from '../calibrate/fit.js'
import { writePolicyFile } from '../calibrate/policy-write.js'
import {
  answerSettings,
  type Beside,
  besideOf,
  DEFAULT_TARGET,
  DRAWS,
  PAPER_FITS,
  PAPER_NAMES,
  type PaperName,
  type Settings,
} from '../calibrate/settings.js'
import { createSplit, type Split, splitTraces } from '../calibrate/split.js'
import { calibrateThreshold, type Target } from '../calibrate/threshold.js'
import { readTraces, selectTraces, sliceTraces, type TraceSet } from '../calibrate/traces.js'
import { needsCheckBefore } from '../depth/exit-features.js'
import type { PolicyFile, PolicyLens } from '../depth/policy-file.js'
import { POLICY_KINDS, type PolicyKind } from '../depth/policy-kind.js'
import { printable } from '../errors.js'
import { snakeKeys } from '../evaluate/report/json.js'
import { bridgeJournal } from './bridge-lens.js'
import { type CalibrateLensOptions, lensBeside } from './calibrate-lens.js'
import { CHECK_TOKENS, type GivenSettings, parseSettings, parseTarget } from './calibrate-settings.js'
import { answersBeside, forgetAnswers, traceAnswers } from './calibrate-traces.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { readLens } from './lens-file.js'
import { addModelOptions, MODEL_HELP, type ModelOptions } from './model-options.js'
import { addTaskNames, addTaskOptions, type TaskNames, type TaskOptions } from './task-options.js'
import { decimal, repeatable, wholeNumber } from './values.js'

interface CalibrateOptions extends ModelOptions, TaskOptions, TaskNames, CalibrateLensOptions {
  readonly traces?: string
  readonly shots: number
  readonly draws?: number
  readonly trainFirst?: number
  readonly policy: PolicyKind | PaperName
  readonly set?: readonly string[]
  readonly target?: Target
  readonly maxDisagreement?: number
  readonly confidence: number
  readonly measure?: 'any' | 'mean'
}

const EXAMPLES = `
Examples:
  $ shoal calibrate --task fruit_v_animal_3 --shots 5 --policy adainfer-svm -o fruit.policy.json
  $ shoal calibrate --task fruit_v_animal_3 --shots 5 --policy paper-svm -o paper.policy.json
  $ shoal calibrate --traces answers.jsonl --policy adainfer-svm -o svm.policy.json
  $ shoal calibrate --traces answers.json --train-first 266 --policy adainfer-svm --set kernel=rbf --set C=1 -o rbf.policy.json
  $ shoal calibrate --traces answers.jsonl --policy adainfer-crf --set label=stable --target agreement=0.98 -o crf.policy.json
  $ shoal calibrate --traces answers.jsonl --policy adainfer-logistic --set per-layer=true --max-disagreement 0.02 -o safe.policy.json
  $ shoal calibrate model.gguf --task sst2 --lens --lens-texts news.txt prose.txt --policy adainfer-svm -o sst2.policy.json

Settings (--set key=value):
  kernel=linear|rbf    of an SVM; default linear
  C=1                  of an SVM or logistic regression
  gamma=0.5            of the RBF kernel
  c2=0.1               of a CRF: -log-likelihood + c2 |w|^2
  label=agreement      or stable, first-match, correctness
  per-layer=false      true: one classifier per layer
  class-weight=none    balanced, or weights of labels 0 and 1 such as 1,3
  features=gap,top_prob    also entropy, cos_attention, cos_mlp, cos_hidden
  tokens=0             also which of the n most frequent answers the best token is
  scores=margin        of an SVM; log-odds: values of different layers compare
  layers=8,10,12       layers that are checked; default all but the last
  check-tokens=64      with --task: cuts the check head down to the answers and the likeliest tokens; 0: the whole head
  threshold=0.9        without --target; default the classifier's own boundary

With --task the defaults are per-layer=true, tokens=4, check-tokens=64 and, but for a CRF, features=gap,top_prob,cos_hidden; for an SVM also
class-weight=balanced and scores=log-odds. With --task and --target the cost of a check is measured, and the layers are
checked that it pays to check.

With --lens, layers are read through linear maps to the end of the model (a lens): below the top they then know far better what the
last layer will say. It is fitted on ends of the tasks' prompts beside --lens-texts, or beside texts that the model samples, written beside
the policy and named in it;
--lens FILE takes one of shoal bridge --lens.

paper-svm and paper-crf are AdaInfer as published: one classifier for all layers on gap and top probability, at its own boundary.

The threshold is never chosen on values of questions that the classifier was fitted on. With --train-first it is chosen on
the others; without, --target takes held-out values of 20 random splits, and --max-disagreement half of the questions, of which
nothing that is chosen has seen any. accuracy-loss counts answers that full depth has right and the policy does not, and sets no
wins against them. A target is met with the fewest layers; a bound holds for prompts drawn like those it was tested on.`

export function buildCalibrate(cli: Cli): Command {
  const command = new Command('calibrate')
    .description('Fit the classifier of an AdaInfer policy on traces, choose its threshold, bound its harm.')
    .argument('[model]', `with --task: ${MODEL_HELP}`)
    .usage('[MODEL] (--task NAME | --traces FILE) --policy KIND -o FILE [options]')
  addTaskNames(command, 'trace the questions of this task first')
    .option('--shots <n>', 'with --task: examples before the question', wholeNumber(0, 1000), 0)
    .option(
      '--draws <n>',
      `with --task and --shots: draws of shots that each question is asked with; default ${DRAWS}, with --max-disagreement 1`,
      wholeNumber(1, 100),
    )
    .option('--traces <file>', 'traces of full-depth runs: .jsonl of shoal trace, or JSON; needs no model')
    .option(
      '--lens [file]',
      'read layers through a lens: of this file, or one that is fitted and written beside the policy',
    )
    .option('--lens-texts <file...>', 'with --lens: texts that it is fitted on; default texts that the model samples')
    .option('--train-first <n>', 'fit on the first n instances; default all', wholeNumber(1))
    .addOption(
      new Option('--policy <kind>', 'kind of policy that is fitted')
        .choices([...POLICY_KINDS, ...PAPER_NAMES])
        .makeOptionMandatory(),
    )
    .addOption(repeatable('--set <key=value>', 'a setting, see below'))
    .option(
      '--target <what>',
      'accuracy-loss=0.01 (with --task the default), agreement=0.98 or mean-layers=12',
      parseTarget,
    )
    .option('--max-disagreement <share>', 'bound the disagreement with full depth, e.g. 0.02', decimal(0, 1))
    .option('--confidence <share>', 'with which the bound holds', decimal(0, 1), 0.95)
    .addOption(
      new Option(
        '--measure <what>',
        'of generated tokens: any differs in a sequence, or the mean share that differs',
      ).choices(['any', 'mean']),
    )
    .requiredOption('-o, --out <file>', 'policy file to write')
  addModelOptions(addTaskOptions(command)).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: CalibrateOptions) => calibrate(cli, name, options))
}

async function calibrate(cli: Cli, name: string | undefined, options: CalibrateOptions): Promise<void> {
  const { maxDisagreement, measure, task, seed } = options
  if (options.target !== undefined && maxDisagreement !== undefined) {
    throw new UsageError('give either --target or --max-disagreement: both choose the threshold')
  }
  if (measure !== undefined && maxDisagreement === undefined) {
    throw new UsageError('--measure goes with --max-disagreement')
  }
  const given = parseSettings(options.set ?? [])
  const { checkTokens: wantedTokens, ...fit } = { ...namedSettings(options), ...given }
  const wanted = options.target ?? defaultTarget(options, fit)
  const chooses = wanted !== undefined || maxDisagreement !== undefined
  if (chooses && fit.threshold !== undefined) {
    throw new UsageError('--target and --max-disagreement choose the threshold: leave --set threshold= out')
  }
  if ((options.traces === undefined) === (task === undefined)) {
    throw new UsageError('give either --task NAME or --traces FILE; shoal calibrate --help shows examples')
  }
  if (options.traces !== undefined && name !== undefined) throw new UsageError('with --traces there is no MODEL')
  if (task === undefined && given.checkTokens !== undefined) {
    throw new UsageError('check-tokens goes with --task: a traces file has the features of the whole head')
  }
  if (options.lensTexts !== undefined && options.lens !== true) {
    throw new UsageError('--lens-texts goes with --lens without a file, which fits one')
  }
  if (options.traces !== undefined && options.lens === true) {
    throw new UsageError('with --traces, --lens FILE names the lens that they were read through')
  }
  const bounds = maxDisagreement !== undefined && options.trainFirst === undefined
  const split = bounds ? createSplit(['train', 'test'] as const, seed) : null
  const kept = answersBeside(options.out)
  const { traces, checkCost, lens } =
    task === undefined
      ? { traces: await readTraces(options.traces!), checkCost: null, lens: await policyLens(options.lens) }
      : await tellWhenStopped(
          cli,
          () => {
            const files = [bridgeJournal(lensBeside(options.out)), kept].filter((path) => existsSync(path))
            return files.length === 0
              ? NOTHING_KEPT
              : `${files.map((path) => printable(path)).join(' and ')} ${files.length === 1 ? 'keeps' : 'keep'} what was done so far, and the same command goes on`
          },
          () =>
            traceAnswers(cli, name, {
              ...options,
              task,
              // A bound is for questions that are asked once.
              draws: options.draws ?? (maxDisagreement === undefined ? DRAWS : 1),
              checkTokens: wantedTokens ?? 0,
              features: fit.features ?? ['gap', 'top_prob'],
              split,
              kept,
            }),
        )
  const kind = isPaperName(options.policy) ? PAPER_FITS[options.policy].kind : options.policy
  const fitting = { ...fit, kind, ...(lens === null ? {} : { lens }) }
  const policy = makePolicy(traces, fitting, wanted, checkCost, split, options)
  await writePolicyFile(options.out, policy)
  if (task !== undefined) await forgetAnswers(options.out)
  show(cli, options, policy, wanted === undefined ? [] : besideOf(traces, seed))
}

/** The lens that traces of a file were read through. */
async function policyLens(path: string | true | undefined): Promise<PolicyLens | null> {
  if (typeof path !== 'string') return null
  const { source } = await readLens(path)
  return { file: path, sha256: source }
}

function isPaperName(policy: CalibrateOptions['policy']): policy is PaperName {
  return policy === 'paper-svm' || policy === 'paper-crf'
}

/** What a name stands for before `--set`: the paper's setting, or ours for the answers of tasks. */
function namedSettings({ policy, task }: CalibrateOptions): GivenSettings {
  if (isPaperName(policy)) {
    const { kind: _, ...settings } = PAPER_FITS[policy]
    return settings
  }
  return task === undefined ? {} : { ...answerSettings(policy), checkTokens: CHECK_TOKENS }
}

/** Fits the classifier and chooses its threshold, never on values of instances that the classifier was fitted on. */
function makePolicy(
  traces: TraceSet,
  fitOptions: FitOptions,
  wanted: Target | undefined,
  checkCost: number | null,
  split: Split<'train' | 'test'> | null,
  { trainFirst, maxDisagreement, confidence, measure, seed }: CalibrateOptions,
): PolicyFile {
  if (wanted !== undefined && trainFirst === undefined) {
    const chooses =
      checkCost !== null && fitOptions.layers === undefined && !fitOptions.features?.some(needsCheckBefore)
    if (chooses) return fitChosenLayers(traces, fitOptions, wanted, checkCost, seed)
    return crossFit(traces, fitOptions, wanted, { seed }).policy
  }
  const { train, rest } = trainAndRest(traces, trainFirst, split, wanted !== undefined || maxDisagreement !== undefined)
  const policy = fitPolicy(train, fitOptions)
  if (wanted !== undefined) return calibrateThreshold(policy, rest, wanted)
  if (maxDisagreement === undefined) return policy
  const request = { maxDisagreement, confidence, ...(measure === undefined ? {} : { measure }) }
  return boundPolicy(policy, thresholdCandidates(policy, train), rest, request)
}

/**
 * A classifier at its own boundary leaves far too early, so where the answers are at hand the threshold is chosen on them.
 * From a traces file nothing is chosen unasked, and the paper's setting is a classifier at its own boundary.
 */
function defaultTarget(
  { task, maxDisagreement, policy }: CalibrateOptions,
  { threshold }: Settings,
): Target | undefined {
  if (task === undefined || isPaperName(policy)) return undefined
  return maxDisagreement !== undefined || threshold !== undefined ? undefined : DEFAULT_TARGET
}

/** What the classifier is fitted on, and others that share no question with it. */
function trainAndRest(
  traces: TraceSet,
  trainFirst: number | undefined,
  split: Split<'train' | 'test'> | null,
  chooses: boolean,
): { train: TraceSet; rest: TraceSet } {
  if (split !== null) {
    const part = splitTraces(traces, split)
    return { train: part('train'), rest: part('test') }
  }
  const { sequences } = traces
  if (trainFirst === undefined) return { train: traces, rest: traces }
  if (trainFirst > sequences || (chooses && trainFirst === sequences)) {
    throw new UsageError(`--train-first ${trainFirst}: ${traces.path} has ${sequences} instances`)
  }
  const train = sliceTraces(traces, 0, trainFirst)
  const seen = new Set(train.instances.map(({ question }) => question))
  const fresh = traces.instances.filter(({ question }) => !seen.has(question))
  const own = new Set(fresh.map(({ sequence }) => sequence))
  return { train, rest: selectTraces(traces, (sequence) => own.has(sequence)) }
}

function show(cli: Cli, { out, json }: CalibrateOptions, policy: PolicyFile, beside: readonly Beside[]): void {
  const { bound, calibration } = policy
  if (bound !== null && bound.units < bound.units_needed) {
    note(
      cli,
      `a disagreement of at most ${bound.max_disagreement} with confidence ${bound.confidence} needs at least ${bound.units_needed} ${bound.unit === 'answer' ? 'prompts' : 'sequences'} beside those that the classifier was fitted on, and there are ${bound.units}: this policy runs full depth`,
    )
  } else if (bound !== null && !bound.holds) {
    note(cli, `no threshold passed the test on ${bound.units} units: this policy runs full depth`)
  }
  if (calibration !== null && !calibration.reached) {
    note(
      cli,
      `no threshold reaches ${calibration.target}=${calibration.value} and holds on other questions: this policy runs full depth`,
    )
  }
  if (!json) {
    for (const line of [...explainPolicy(policy), ...explainBeside(beside, policy.model.layers)]) {
      cli.stdout.write(`${line}\n`)
    }
    cli.stdout.write(`written to ${printable(out)}\n`)
    return
  }
  const { format: _format, version: _version, created: _created, classifiers: _classifiers, ...shown } = policy
  printJson(cli, { out, ...shown, beside: snakeKeys(beside) })
}
