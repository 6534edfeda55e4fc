import { FileError, ShoalError } from '../errors.js'
import * as json from './json-field.js'
import { checkPlan } from './plan.js'
import type { Plan } from './policy.js'
import {
  type PolicyModel,
  parsePolicyDocument,
  readCreated,
  readPolicyModel,
  readPolicyText,
} from './policy-document.js'

/** A policy file that names layers; docs/json/policy-plan.schema.json is its published form. */
export interface PlanFile {
  readonly format: 'shoal-policy'
  readonly version: 1
  readonly kind: 'plan'
  /** ISO 8601. */
  readonly created: string
  readonly model: PolicyModel
  /** How the layers were chosen, in a few words: `ShortGPT`, `SLEB`. */
  readonly method: string
  /** The layers that run, ascending. */
  readonly layers: Plan
}

/** Reads and checks a plan. Throws FileError with the path and the field. */
export function loadPlanFile(path: string): PlanFile {
  return parsePlanFile(path, readPolicyText(path))
}

/** Checks every field of a plan's text; `path` is for the messages. */
export function parsePlanFile(path: string, contents: string): PlanFile {
  const { root, kind } = parsePolicyDocument(path, contents)
  if (kind !== 'plan') {
    throw new FileError(
      path,
      `holds a policy of kind ${JSON.stringify(kind ?? null)}, and plan: takes one of kind "plan"`,
    )
  }
  const at = json.fieldsOf(root, ['format', 'version', 'kind', 'created', 'model', 'method', 'layers'])
  const model = readPolicyModel(at('model'))
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'plan',
    created: readCreated(at('created')),
    model,
    method: json.text(at('method')),
    layers: readLayers(at('layers'), model.layers),
  }
}

function readLayers(field: json.Field, layers: number): Plan {
  const plan = json.listOf(field, (f) => json.whole(f, 0), 1)
  try {
    checkPlan(plan, layers, `field ${field.name}`)
  } catch (error) {
    if (!(error instanceof ShoalError)) throw error
    throw new FileError(field.file, error.message, 'file_invalid', { cause: error })
  }
  return plan
}
