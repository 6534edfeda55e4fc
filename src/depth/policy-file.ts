import { dirname, isAbsolute, join } from 'node:path'
import { FileError } from '../errors.js'
import type { Bound } from './bound.js'
import type { Classifier } from './classifier.js'
import { readClassifier } from './classifier-file.js'
import { FEATURE_NAMES, type FeatureName, needsCheckBefore } from './exit-features.js'
import * as json from './json-field.js'
import {
  type PolicyModel,
  parsePolicyDocument,
  readCreated,
  readPolicyModel,
  readPolicyText,
} from './policy-document.js'
import { POLICY_KINDS, type PolicyKind } from './policy-kind.js'
import { type Prompts, readPrompts } from './prompts.js'

/**
 * What a classifier is trained to say of layer l (the paper does not settle it): `agreement`: its argmax is the last
 * layer's; `stable`: so is that of every layer above; `first-match`: this layer or one below it agreed; `correctness`:
 * its argmax is the gold answer.
 */
export const LABELS = ['agreement', 'stable', 'first-match', 'correctness'] as const
export type Label = (typeof LABELS)[number]

/** What an SVM's value is: `margin`, its own; `log-odds`, brought to a scale that is the same for all layers. */
export const SCORES = ['margin', 'log-odds'] as const
export type Scores = (typeof SCORES)[number]

export const TARGETS = ['accuracy-loss', 'agreement', 'mean-layers'] as const
export type TargetKind = (typeof TARGETS)[number]

/** 5%, 50% and 95% quantiles over splits. */
export type Spread = readonly [number, number, number]

/**
 * Held-out questions of random splits, each under a classifier that was fitted on the other questions and a threshold that was
 * chosen on others.
 */
export interface SplitFigures {
  readonly count: number
  readonly mean_layers: Spread
  readonly agreement: Spread
  readonly losses: Spread | null
}

/** How the threshold was chosen, and what it gives on the instances it was chosen on. */
export interface Calibration {
  readonly target: TargetKind
  readonly value: number
  /** False where no threshold met the target; then every token runs all layers. */
  readonly reached: boolean
  readonly instances: number
  readonly tasks: readonly string[]
  /** Mean depth, 1 to L. */
  readonly mean_layers: number
  /** Share of instances whose token is the last layer's. */
  readonly agreement: number
  readonly accuracy: number | null
  readonly full_accuracy: number | null
  /** Share of instances that full depth answers right and the policy does not; wins are not set against them. */
  readonly losses: number | null
  /** What to expect on other questions; null where the threshold was chosen on one part of the instances. */
  readonly splits: SplitFigures | null
  /** What a check costs in layers, as measured; null where the checked layers were not chosen by cost. */
  readonly check_cost: number | null
}

/** The lens that a classifier was fitted with. */
export interface PolicyLens {
  /** Path as from the working directory; in the file itself, as from its folder. */
  readonly file: string
  /** `BridgeSet.source`. */
  readonly sha256: string
}

/** A policy file; docs/json/policy.schema.json is its published form. */
export interface PolicyFile {
  readonly format: 'shoal-policy'
  readonly version: 1
  readonly kind: PolicyKind
  /** ISO 8601. */
  readonly created: string
  readonly model: PolicyModel
  readonly features: readonly FeatureName[]
  /** What checks, and tokens that stop, are read through; null where layers are read as they are. */
  readonly lens: PolicyLens | null
  /** After the features, the classifier has an input for each of these tokens: 1 where it is the layer's best. */
  readonly tokens: readonly number[]
  /** The ids that the check head is cut down to, ascending; null for the whole vocabulary. */
  readonly check_tokens: readonly number[] | null
  readonly label: Label
  /** Layers after which a check runs, ascending, never the last one. */
  readonly checked_layers: readonly number[]
  /** One classifier per checked layer instead of one for all. */
  readonly per_layer: boolean
  /** What the classifier was fitted with: kernel, C, gamma, c2, scores. */
  readonly parameters: Readonly<Record<string, number | string>>
  /** Of label 0 and label 1. */
  readonly class_weights: readonly [number, number]
  readonly classifiers: readonly Classifier[]
  /** A token stops where the online value is greater; null: never. */
  readonly threshold: number | null
  readonly training: {
    readonly instances: number
    readonly samples: number
    /** Share of samples with label 1. */
    readonly positive: number
    readonly tasks: readonly string[]
    readonly unit: 'answer' | 'generated'
  }
  /** How the questions were asked; null where that is not known. */
  readonly prompts: Prompts | null
  readonly calibration: Calibration | null
  readonly bound: Bound | null
}

/** Reads and checks a policy file. Throws FileError with the path and the field. */
export function loadPolicyFile(path: string): PolicyFile {
  return parsePolicyFile(path, readPolicyText(path))
}

/** Checks every field of a policy's text; `path` is for the messages. */
export function parsePolicyFile(path: string, contents: string): PolicyFile {
  const { root, kind } = parsePolicyDocument(path, contents)
  if (kind === 'plan') throw new FileError(path, 'is a plan, which has no classifier: --depth plan:FILE runs it')
  return readPolicy(root)
}

const FIELDS = [
  'format',
  'version',
  'kind',
  'created',
  'model',
  'features',
  'lens',
  'tokens',
  'check_tokens',
  'label',
  'checked_layers',
  'per_layer',
  'parameters',
  'class_weights',
  'classifiers',
  'threshold',
  'training',
  'prompts',
  'calibration',
  'bound',
] as const

function readPolicy(root: json.Field): PolicyFile {
  const at = json.fieldsOf(root, FIELDS)
  const kind = json.choice(at('kind'), POLICY_KINDS)
  const model = readPolicyModel(at('model'))
  const { layers } = model
  const features = json.listOf(at('features'), (f) => json.choice(f, FEATURE_NAMES), 1)
  if (new Set(features).size < features.length) throw json.wrong(at('features'), 'a list without repetitions')
  const tokens = at('tokens').value === undefined ? [] : json.listOf(at('tokens'), (f) => json.whole(f, 0))
  if (new Set(tokens).size < tokens.length) throw json.wrong(at('tokens'), 'a list without repetitions')
  const checkTokens = at('check_tokens').value === undefined ? null : json.orNull(at('check_tokens'), readCheckTokens)
  const checked = readCheckedLayers(at('checked_layers'), layers)
  if (features.some(needsCheckBefore)) requireChecksBefore(at('checked_layers'), checked)
  const perLayer = json.flag(at('per_layer'))
  const count = perLayer ? checked.length : 1
  const [zero, one] = json.listOf(at('class_weights'), json.positive, 2, 2)
  const training = json.fieldsOf(at('training'), ['instances', 'samples', 'positive', 'tasks', 'unit'])
  return {
    format: 'shoal-policy',
    version: 1,
    kind,
    created: readCreated(at('created')),
    model,
    features,
    lens: at('lens').value === undefined ? null : json.orNull(at('lens'), readLensField),
    tokens,
    check_tokens: checkTokens,
    label: json.choice(at('label'), LABELS),
    checked_layers: checked,
    per_layer: perLayer,
    parameters: readParameters(at('parameters')),
    class_weights: [zero!, one!],
    classifiers: json.listOf(
      at('classifiers'),
      (f) => readClassifier(f, kind, features.length + tokens.length),
      count,
      count,
    ),
    threshold: json.orNull(at('threshold'), json.number),
    training: {
      instances: json.whole(training('instances'), 1),
      samples: json.whole(training('samples'), 1),
      positive: json.number(training('positive'), 0, 1),
      tasks: json.listOf(training('tasks'), json.text),
      unit: json.choice(training('unit'), ['answer', 'generated']),
    },
    prompts: at('prompts').value === undefined ? null : json.orNull(at('prompts'), readPrompts),
    calibration: json.orNull(at('calibration'), (f) => readCalibration(f, layers)),
    bound: json.orNull(at('bound'), (f) => readBound(f, layers)),
  }
}

function readLensField(field: json.Field): PolicyLens {
  const at = json.fieldsOf(field, ['file', 'sha256'])
  const file = json.text(at('file'))
  const sha256 = json.text(at('sha256'))
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw json.wrong(at('sha256'), '64 hexadecimal digits')
  return { file: isAbsolute(file) ? file : join(dirname(field.file), file), sha256 }
}

function readCheckedLayers(field: json.Field, layers: number): number[] {
  const checked = json.listOf(field, (f) => json.whole(f, 0, layers - 2), 1)
  if (checked.some((layer, i) => i > 0 && layer <= checked[i - 1]!)) throw json.wrong(field, 'ascending')
  return checked
}

function readCheckTokens(field: json.Field): number[] {
  const ids = json.listOf(field, (f) => json.whole(f, 0), 2)
  if (ids.some((id, i) => i > 0 && id <= ids[i - 1]!)) throw json.wrong(field, 'ascending')
  return ids
}

function requireChecksBefore(field: json.Field, checked: readonly number[]): void {
  const lacks = checked.find((layer) => layer > 0 && !checked.includes(layer - 1))
  if (lacks === undefined) return
  throw new FileError(
    field.file,
    `field ${field.name}: cos_attention and cos_mlp of layer ${lacks} need a check before it`,
  )
}

function readParameters(field: json.Field): Record<string, number | string> {
  const at = json.fieldsOf(field, ['kernel', 'C', 'gamma', 'c2', 'scores'])
  const parameters: Record<string, number | string> = {}
  if (at('kernel').value !== undefined) parameters.kernel = json.choice(at('kernel'), ['linear', 'rbf'])
  for (const key of ['C', 'gamma'] as const) if (at(key).value !== undefined) parameters[key] = json.positive(at(key))
  if (at('c2').value !== undefined) parameters.c2 = json.number(at('c2'), 0)
  if (at('scores').value !== undefined) parameters.scores = json.choice(at('scores'), SCORES)
  return parameters
}

function readCalibration(field: json.Field, layers: number): Calibration {
  const at = json.fieldsOf(field, [
    'target',
    'value',
    'reached',
    'instances',
    'tasks',
    'mean_layers',
    'agreement',
    'accuracy',
    'full_accuracy',
    'losses',
    'splits',
    'check_cost',
  ])
  return {
    target: json.choice(at('target'), TARGETS),
    value: json.number(at('value'), 0),
    reached: json.flag(at('reached')),
    instances: json.whole(at('instances'), 1),
    tasks: json.listOf(at('tasks'), json.text),
    mean_layers: json.number(at('mean_layers'), 1, layers),
    agreement: json.number(at('agreement'), 0, 1),
    accuracy: json.orNull(at('accuracy'), (f) => json.number(f, 0, 1)),
    full_accuracy: json.orNull(at('full_accuracy'), (f) => json.number(f, 0, 1)),
    losses: at('losses').value === undefined ? null : json.orNull(at('losses'), (f) => json.number(f, 0, 1)),
    splits: at('splits').value === undefined ? null : json.orNull(at('splits'), (f) => readSplits(f, layers)),
    check_cost: at('check_cost').value === undefined ? null : json.orNull(at('check_cost'), (f) => json.number(f, 0)),
  }
}

function readSplits(field: json.Field, layers: number): SplitFigures {
  const at = json.fieldsOf(field, ['count', 'mean_layers', 'agreement', 'losses'])
  const spread = (f: json.Field, least: number, most: number): Spread => {
    const [low, middle, high] = json.listOf(f, (value) => json.number(value, least, most), 3, 3)
    return [low!, middle!, high!]
  }
  return {
    count: json.whole(at('count'), 1),
    mean_layers: spread(at('mean_layers'), 1, layers),
    agreement: spread(at('agreement'), 0, 1),
    losses: json.orNull(at('losses'), (f) => spread(f, 0, 1)),
  }
}

function readBound(field: json.Field, layers: number): Bound {
  const at = json.fieldsOf(field, [
    'max_disagreement',
    'confidence',
    'unit',
    'measure',
    'units',
    'tasks',
    'holds',
    'tested',
    'thresholds',
    'disagreement',
    'p_value',
    'mean_layers',
    'units_needed',
  ])
  return {
    max_disagreement: json.number(at('max_disagreement'), 0, 1),
    confidence: json.number(at('confidence'), 0, 1),
    unit: json.choice(at('unit'), ['answer', 'sequence']),
    measure: json.choice(at('measure'), ['any', 'mean']),
    units: json.whole(at('units'), 0),
    tasks: json.listOf(at('tasks'), json.text),
    holds: json.flag(at('holds')),
    tested: json.whole(at('tested'), 0),
    thresholds: json.whole(at('thresholds'), 0),
    disagreement: json.orNull(at('disagreement'), (f) => json.number(f, 0, 1)),
    p_value: json.orNull(at('p_value'), (f) => json.number(f, 0, 1)),
    mean_layers: json.number(at('mean_layers'), 1, layers),
    units_needed: json.whole(at('units_needed'), 1),
  }
}
