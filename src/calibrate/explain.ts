import type { Bound } from '../depth/bound.js'
import { scopeText } from '../depth/bound-scope.js'
import type { Calibration, PolicyFile, SplitFigures, Spread } from '../depth/policy-file.js'
import type { Prompts } from '../depth/prompts.js'
import type { Beside } from './settings.js'

const KINDS = {
  'adainfer-svm': 'a support vector machine',
  'adainfer-crf': 'a conditional random field over the checked layers',
  'adainfer-logistic': 'a logistic regression',
} as const

const NAMES = {
  full: 'full depth',
  'gap:0.8': 'gap:0.8',
  'paper-svm': "the paper's SVM at its own boundary",
  'paper-crf': "the paper's CRF at its own boundary",
} as const

const FEATURES = {
  gap: 'the gap P(top1) - P(top2)',
  top_prob: 'the top probability P(top1)',
  entropy: 'the entropy of the distribution',
  cos_attention: 'the cosine of the attention output with that of the layer before',
  cos_mlp: 'the cosine of the MLP output with that of the layer before',
  cos_hidden: 'the cosine of the hidden state with that of the layer before',
} as const

const LABELS = {
  agreement: "the layer's best token is the last layer's",
  stable: "the best token is the last layer's from this layer on",
  'first-match': "this layer or one below had the last layer's best token",
  correctness: "the layer's best token is the gold answer",
} as const

/** A policy in words, one fact per line. */
export function explainPolicy(policy: PolicyFile): string[] {
  const { kind, model, checked_layers: checked, per_layer: perLayer, training } = policy
  const parameters = Object.entries(policy.parameters).map(([key, value]) => `${key} ${value}`)
  const one = perLayer ? 'one for each checked layer' : 'one for all layers'
  const lines = [
    `${kind}: ${KINDS[kind]}, ${one} (${parameters.join(', ')}), made ${policy.created.slice(0, 10)}`,
    `model: ${modelText(model)}`,
    `looks at ${policy.features.map((feature) => FEATURES[feature]).join(', ')}${tokensText(policy.tokens)}`,
    ...(policy.check_tokens === null
      ? []
      : [`its check head has ${policy.check_tokens.length} tokens of the vocabulary`]),
    ...(policy.lens === null ? [] : [`reads layers through the lens ${policy.lens.file}`]),
    `checks after ${checked.length === model.layers - 1 ? 'every layer but the last' : `layers ${checked.join(', ')}`}`,
    `learned that ${LABELS[policy.label]} (label ${policy.label}), from ${training.instances} ${training.unit === 'answer' ? 'answers' : 'generated tokens'} of ${tasksText(training.tasks)}: ${training.samples} checks, ${percent(training.positive)} of them with label 1`,
  ]
  const [zero, one1] = policy.class_weights
  if (zero !== 1 || one1 !== 1) lines.push(`weights of labels 0 and 1: ${short(zero)} and ${short(one1)}`)
  if (policy.prompts !== null) lines.push(promptsText(policy.prompts))
  lines.push(thresholdText(policy))
  if (policy.calibration !== null) lines.push(calibrationText(policy.calibration, model.layers))
  if (policy.calibration?.splits) lines.push(splitsText(policy.calibration.splits, model.layers))
  lines.push(policy.bound === null ? 'no bound on the harm was calibrated' : boundText(policy, policy.bound))
  return lines
}

function promptsText({ template, shots, draws, seed, sampling, max_tokens: most }: Prompts): string {
  const drawn = shots === 0 ? 'no shots' : `${shots} shots in ${draws} draws from seed ${seed}`
  const tokens = most === 1 ? 'the answer is one token' : `${sampling} tokens, ${most} at most`
  return `questions are written as ${JSON.stringify(template)}, ${drawn}; ${tokens}`
}

function tokensText(tokens: readonly number[]): string {
  return tokens.length === 0 ? '' : ` and whether the best token is ${tokens.join(', ')}`
}

function modelText({ name, fingerprint, layers }: PolicyFile['model']): string {
  const which = fingerprint === null ? 'not recorded' : `${name ?? 'unnamed'} (${fingerprint.slice(0, 12)})`
  return `${which}, ${layers} layers`
}

function thresholdText({ kind, threshold }: PolicyFile): string {
  if (threshold === null) return 'never stops a token: no threshold met what was asked, so every token runs all layers'
  const value = kind === 'adainfer-svm' ? "the classifier's value" : 'the probability of label 1'
  return `stops a token at the first check where ${value} is greater than ${short(threshold)}`
}

function calibrationText(calibration: Calibration, layers: number): string {
  const { target, value, instances, tasks, accuracy, full_accuracy: full, losses } = calibration
  const judged =
    accuracy === null || full === null
      ? ''
      : `, accuracy ${percent(accuracy)} (full depth ${percent(full)}${losses === null ? '' : `, of which ${percent(losses)} are lost`})`
  return `threshold chosen for ${target}=${value} on ${instances} instances of ${tasksText(tasks)}: mean depth ${calibration.mean_layers.toFixed(2)} of ${layers}, agreement ${percent(calibration.agreement)}${judged}${costText(calibration.check_cost)}`
}

/** What stands beside a calibrated policy, a line each. */
export function explainBeside(beside: readonly Beside[], layers: number): string[] {
  return beside.map(({ name, meanLayers, agreement, accuracy, losses }) => {
    const judged =
      accuracy === null ? '' : `, accuracy ${percent(accuracy)}, of full depth's ${percent(losses ?? 0)} lost`
    return `beside it, ${NAMES[name]}: mean depth ${meanLayers.toFixed(2)} of ${layers}, agreement ${percent(agreement)}${judged}`
  })
}

/** What to expect on other questions. */
export function splitsText({ count, mean_layers: depth, agreement, losses }: SplitFigures, layers: number): string {
  const range = ([low, middle, high]: Spread, text: (value: number) => string): string =>
    `${text(middle)} (${text(low)} to ${text(high)})`
  const lost = losses === null ? '' : `, answers lost ${range(losses, percent)}`
  return `on other questions, median and 90% of ${count} random splits: mean depth ${range(depth, (d) => d.toFixed(2))} of ${layers}, agreement ${range(agreement, percent)}${lost}`
}

function costText(cost: number | null): string {
  return cost === null ? '' : `; the checked layers are those that pay where a check costs ${short(cost)} layers`
}

function boundText({ model: { layers }, prompts }: PolicyFile, bound: Bound): string {
  const { units, tasks, units_needed: needed, measure } = bound
  const unit = bound.unit === 'answer' ? 'answers' : 'generated sequences'
  const what = measure === 'mean' ? 'mean share of tokens that differ' : `share of ${unit} that differ from full depth`
  const promise = `${what} at most ${percent(bound.max_disagreement)} with ${percent(bound.confidence)} confidence`
  if (units < needed)
    return `bound: ${promise} needs at least ${needed} ${unit}, and there were ${units}: runs full depth`
  if (!bound.holds) return `bound: no threshold passed the test for ${promise} on ${units} ${unit}: runs full depth`
  const like = bound.unit === 'answer' ? tasksText(tasks) : scopeText({ prompts, tasks, measure })
  return `bound: ${promise}, for ${unit} drawn like the ${units} of ${like} it was tested on (seen there: ${percent(bound.disagreement ?? 0)}, mean depth ${bound.mean_layers.toFixed(2)} of ${layers})`
}

function tasksText(tasks: readonly string[]): string {
  if (tasks.length === 0) return 'no named task'
  return tasks.length <= 3 ? tasks.join(', ') : `${tasks.length} tasks (${tasks.slice(0, 3).join(', ')}, ..)`
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(2))}%`
}

function short(value: number): string {
  return String(Number(value.toPrecision(4)))
}
