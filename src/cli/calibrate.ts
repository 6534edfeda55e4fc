import { Command, InvalidArgumentError, Option } from 'commander'
import { boundPolicy, thresholdCandidates } from '../calibrate/bound.js'
import { explainPolicy } from '../calibrate/explain.js'
import { type FitOptions, fitPolicy } from '../calibrate/fit.js'
import { writePolicyFile } from '../calibrate/policy-write.js'
import { calibrateThreshold, type Target } from '../calibrate/threshold.js'
import { readTraces, selectTraces, sliceTraces, type TraceSet } from '../calibrate/traces.js'
import { POLICY_KINDS, type PolicyFile, type PolicyKind, TARGETS } from '../depth/policy-file.js'
import { parseSettings } from './calibrate-settings.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { collect, decimal, wholeNumber } from './values.js'

interface CalibrateOptions {
  readonly traces: string
  readonly trainFirst?: number
  readonly policy: PolicyKind
  readonly set?: readonly string[]
  readonly target?: Target
  readonly maxDisagreement?: number
  readonly confidence: number
  readonly measure?: 'any' | 'mean'
  readonly output: string
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal calibrate --traces answers.parquet --policy adainfer-svm -o svm.policy.json
  $ shoal calibrate --traces answers.json --train-first 266 --policy adainfer-svm --set kernel=rbf --set C=1 -o rbf.policy.json
  $ shoal calibrate --traces answers.parquet --policy adainfer-crf --set label=stable --target agreement=0.98 -o crf.policy.json
  $ shoal calibrate --traces answers.parquet --policy adainfer-logistic --set per-layer=true --max-disagreement 0.02 -o safe.policy.json

Settings (--set key=value):
  kernel=linear|rbf    of an SVM; default linear
  C=1                  of an SVM or logistic regression
  gamma=0.5            of the RBF kernel
  c2=0.1               of a CRF: -log-likelihood + c2 |w|^2
  label=agreement      or stable, first-match, correctness
  per-layer=false      true: one classifier per layer
  class-weight=none    balanced, or weights of labels 0 and 1 such as 1,3
  features=gap,top_prob    also entropy, cos_attention, cos_mlp, cos_hidden
  layers=8,10,12       layers that are checked; default all but the last
  threshold=0.9        without --target; default the classifier's own boundary

With --target or --max-disagreement the threshold is chosen on instances that the classifier was not fitted on: those
after --train-first, else every second one. A target is met with the fewest layers; a bound holds for prompts drawn like
those instances.`

export function buildCalibrate(cli: Cli): Command {
  return new Command('calibrate')
    .description('Fit the classifier of an AdaInfer policy on traces, choose its threshold, bound its harm.')
    .usage('--traces FILE --policy KIND -o FILE [options]')
    .requiredOption('--traces <file>', 'traces of full-depth runs: .parquet of shoal trace, or JSON')
    .option('--train-first <n>', 'fit on the first n instances; default all', wholeNumber(1))
    .addOption(new Option('--policy <kind>', 'what is fitted').choices(POLICY_KINDS).makeOptionMandatory())
    .option('--set <key=value>', 'a setting, see below (may be given several times)', collect)
    .option('--target <what>', 'accuracy-loss=0.01, agreement=0.98 or mean-layers=12', target)
    .option('--max-disagreement <share>', 'bound the disagreement with full depth, e.g. 0.02', decimal(0, 1))
    .option('--confidence <share>', 'with which the bound holds', decimal(0, 1), 0.95)
    .addOption(
      new Option(
        '--measure <what>',
        'of generated tokens: any differs in a sequence, or the mean share that differs',
      ).choices(['any', 'mean']),
    )
    .requiredOption('-o, --output <file>', 'where the policy is written')
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
    .addHelpText('after', EXAMPLES)
    .action((options: CalibrateOptions) => calibrate(cli, options))
}

async function calibrate(cli: Cli, options: CalibrateOptions): Promise<void> {
  const { target: wanted, maxDisagreement, confidence, measure } = options
  if (wanted !== undefined && maxDisagreement !== undefined) {
    throw new UsageError('give either --target or --max-disagreement: both choose the threshold')
  }
  if (measure !== undefined && maxDisagreement === undefined) {
    throw new UsageError('--measure goes with --max-disagreement')
  }
  const settings = parseSettings(options.set ?? [])
  const chooses = wanted !== undefined || maxDisagreement !== undefined
  if (chooses && settings.threshold !== undefined) {
    throw new UsageError('--target and --max-disagreement choose the threshold: leave --set threshold= out')
  }
  const fitOptions: FitOptions = { ...settings, kind: options.policy }
  const { train, rest } = splitTraces(await readTraces(options.traces), options.trainFirst, chooses)
  let policy = fitPolicy(train, fitOptions)
  if (wanted !== undefined) policy = calibrateThreshold(policy, rest, wanted)
  if (maxDisagreement !== undefined) {
    const request = { maxDisagreement, confidence, ...(measure === undefined ? {} : { measure }) }
    policy = boundPolicy(policy, thresholdCandidates(policy, train), rest, request)
  }
  await writePolicyFile(options.output, policy)
  show(cli, options, policy)
}

/** What the classifier is fitted on, and the others. */
function splitTraces(
  traces: TraceSet,
  trainFirst: number | undefined,
  chooses: boolean,
): { train: TraceSet; rest: TraceSet } {
  if (trainFirst === undefined) {
    // Every second one rather than the second half: a file of several tasks has them one after the other.
    const train = chooses ? selectTraces(traces, (sequence) => sequence % 2 === 0) : traces
    return { train, rest: selectTraces(traces, (sequence) => sequence % 2 === 1) }
  }
  const { sequences } = traces
  if (trainFirst > sequences || (chooses && trainFirst === sequences)) {
    throw new UsageError(`--train-first ${trainFirst}: ${traces.path} has ${sequences} instances`)
  }
  return { train: sliceTraces(traces, 0, trainFirst), rest: sliceTraces(traces, trainFirst) }
}

function show(cli: Cli, { output, json }: CalibrateOptions, policy: PolicyFile): void {
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
    note(cli, `no threshold reaches ${calibration.target}=${calibration.value}: this policy runs full depth`)
  }
  if (!json) {
    for (const line of explainPolicy(policy)) cli.stdout.write(`${line}\n`)
    cli.stdout.write(`written to ${output}\n`)
    return
  }
  const { kind, model, features, label, checked_layers, per_layer, parameters, class_weights, threshold, training } =
    policy
  printJson(cli, {
    out: output,
    kind,
    model,
    features,
    label,
    checked_layers,
    per_layer,
    parameters,
    class_weights,
    threshold,
    training,
    calibration,
    bound,
  })
}

function target(text: string): Target {
  const [, name, number] = /^([a-z-]+)=(\d*\.?\d+)$/.exec(text) ?? []
  const kind = TARGETS.find((t) => t === name)
  const value = Number(number)
  if (kind === undefined || (kind !== 'mean-layers' && value > 1)) {
    throw new InvalidArgumentError('It must be accuracy-loss=0.01, agreement=0.98 or mean-layers=12, with a number.')
  }
  return { kind, value }
}
