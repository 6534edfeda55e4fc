import { FileError, ShoalError } from '../errors.js'
import * as json from './json-field.js'
import { checkPlan, type Plan } from './plan.js'
import {
  type PolicyModel,
  parsePolicyDocument,
  readCreated,
  readPolicyModel,
  readPolicyText,
  requireKind,
} from './policy-document.js'

/** Losses in nats per token of the same texts. */
export interface PlanTexts {
  readonly texts: number
  readonly tokens: number
  readonly full: number
  /** Of the balanced set of as many layers. */
  readonly balanced: number
  readonly found: number
}

/** How a search found the layers. */
export interface PlanSearchRecord {
  /** Target speedup. */
  readonly target: number
  readonly by: 'time' | 'layers'
  /** What the prompts ran. */
  readonly prompt: 'full' | 'plan'
  /** Name and SHA-256 of the file with the texts. */
  readonly data: string
  readonly sha256: string
  /** Sets of layers that were evaluated. */
  readonly evaluated: number
  /** Texts that the search saw. */
  readonly seen: PlanTexts
  /** Texts that it did not see; `difference` is found - balanced with its interval of 95%. */
  readonly held_out: PlanTexts & {
    /** Ends are null where a single text gives no interval. */
    readonly difference: { readonly mean: number; readonly low: number | null; readonly high: number | null }
  }
}

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
  readonly search?: PlanSearchRecord
}

/** Reads and checks a plan. Throws FileError with the path and the field. */
export function loadPlanFile(path: string): PlanFile {
  return parsePlanFile(path, readPolicyText(path))
}

/** Checks every field of a plan's text; `path` is for the messages. */
export function parsePlanFile(path: string, contents: string): PlanFile {
  const { root, kind } = parsePolicyDocument(path, contents)
  requireKind(path, kind, 'plan')
  const at = json.fieldsOf(root, ['format', 'version', 'kind', 'created', 'model', 'method', 'layers', 'search'])
  const model = readPolicyModel(at('model'))
  return {
    format: 'shoal-policy',
    version: 1,
    kind: 'plan',
    created: readCreated(at('created')),
    model,
    method: json.text(at('method')),
    layers: readLayers(at('layers'), model.layers),
    ...(at('search').value === undefined ? {} : { search: readSearch(at('search')) }),
  }
}

function readSearch(field: json.Field): PlanSearchRecord {
  const at = json.fieldsOf(field, ['target', 'by', 'prompt', 'data', 'sha256', 'evaluated', 'seen', 'held_out'])
  const texts = ['texts', 'tokens', 'full', 'balanced', 'found'] as const
  const readTexts = (of: (key: (typeof texts)[number]) => json.Field): PlanTexts => ({
    texts: json.whole(of('texts'), 1),
    tokens: json.whole(of('tokens'), 1),
    full: json.number(of('full'), 0),
    balanced: json.number(of('balanced'), 0),
    found: json.number(of('found'), 0),
  })
  const heldOut = json.fieldsOf(at('held_out'), [...texts, 'difference'])
  const difference = json.fieldsOf(heldOut('difference'), ['mean', 'low', 'high'])
  return {
    target: json.number(at('target'), 1),
    by: json.choice(at('by'), ['time', 'layers']),
    prompt: json.choice(at('prompt'), ['full', 'plan']),
    data: json.text(at('data')),
    sha256: json.text(at('sha256')),
    evaluated: json.whole(at('evaluated'), 0),
    seen: readTexts(json.fieldsOf(at('seen'), texts)),
    held_out: {
      ...readTexts(heldOut),
      difference: {
        mean: json.number(difference('mean')),
        low: json.orNull(difference('low'), json.number),
        high: json.orNull(difference('high'), json.number),
      },
    },
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
