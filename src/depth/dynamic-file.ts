import { FileError, ShoalError } from '../errors.js'
import * as json from './json-field.js'
import { checkPlan, type Plan } from './plan.js'
import type { PromptPass } from './policy.js'
import {
  type PolicyModel,
  parsePolicyDocument,
  readCreated,
  readPolicyModel,
  readPolicyText,
  requireKind,
} from './policy-document.js'

/** What can be known of a prompt when its pass is over. */
export const PROMPT_FEATURES = ['gap', 'top_prob', 'entropy'] as const
export type PromptFeature = (typeof PROMPT_FEATURES)[number]

/** A policy file of plans of several sizes; docs/json/policy-dynamic.schema.json is its published form. */
export interface DynamicFile {
  readonly format: 'shoal-policy'
  readonly version: 1
  readonly kind: 'dynamic'
  /** ISO 8601. */
  readonly created: string
  readonly model: PolicyModel
  readonly feature: PromptFeature
  /** From the fewest layers to the most. */
  readonly plans: readonly Plan[]
  /** One fewer than plans: the first plan whose threshold the prompt passes is taken, else the last. */
  readonly thresholds: readonly number[]
  /** Mean number of layers on the texts that the thresholds were fitted on. */
  readonly mean_depth: number
}

/** How sure the model is after a prompt, higher is surer: what thresholds are compared with. */
export function confidenceOf(feature: PromptFeature, pass: PromptPass): number {
  if (feature === 'entropy') return -pass.entropy
  return feature === 'gap' ? pass.gap : pass.topProb
}

/** Which plan a prompt gets. An entropy must be at most the threshold, the others at least. */
export function planFor({ feature, plans, thresholds }: DynamicFile, pass: PromptPass): Plan {
  const confidence = confidenceOf(feature, pass)
  const first = thresholds.findIndex((t) => confidence >= (feature === 'entropy' ? -t : t))
  return plans[first < 0 ? plans.length - 1 : first] as Plan
}

/** Reads and checks a file. Throws FileError with the path and the field. */
export function loadDynamicFile(path: string): DynamicFile {
  return parseDynamicFile(path, readPolicyText(path))
}

export function parseDynamicFile(path: string, contents: string): DynamicFile {
  const { root, kind } = parsePolicyDocument(path, contents)
  requireKind(path, kind, 'dynamic')
  const at = json.fieldsOf(root, [
    'format',
    'version',
    'kind',
    'created',
    'model',
    'feature',
    'plans',
    'thresholds',
    'mean_depth',
  ])
  const model = readPolicyModel(at('model'))
  const feature = json.choice(at('feature'), PROMPT_FEATURES)
  const plans = json.listOf(at('plans'), (field) => readPlan(field, model.layers), 1)
  plans.forEach((plan, i) => {
    if (i > 0 && plan.length <= (plans[i - 1] as Plan).length) {
      throw new FileError(path, `field plans[${i}] must have more layers than the plan before it`)
    }
  })
  const thresholds = json.listOf(at('thresholds'), (field) => json.number(field), plans.length - 1, plans.length - 1)
  const rising = feature === 'entropy'
  thresholds.forEach((t, i) => {
    const before = thresholds[i - 1] ?? t
    if (rising ? t >= before : t <= before) return
    throw new FileError(
      path,
      `field thresholds[${i}] must ${rising ? 'not be less' : 'not be more'} than the one before`,
    )
  })
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'dynamic',
    created: readCreated(at('created')),
    model,
    feature,
    plans,
    thresholds,
    mean_depth: json.number(at('mean_depth'), 1, model.layers),
  }
}

function readPlan(field: json.Field, layers: number): Plan {
  const plan = json.listOf(field, (f) => json.whole(f, 0), 1)
  try {
    checkPlan(plan, layers, `field ${field.name}`)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    throw new FileError(field.file, error.message, 'file_invalid', { cause: error })
  }
  return plan
}
