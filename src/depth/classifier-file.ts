import type { Classifier, Scaling } from './classifier.js'
import * as json from './json-field.js'
import type { PolicyKind } from './policy-kind.js'

const FIELDS = {
  linear: ['type', 'scaling', 'weights', 'intercept'],
  rbf: ['type', 'scaling', 'gamma', 'support_vectors', 'coefficients', 'intercept'],
  crf: ['type', 'state', 'transitions'],
} as const

const TYPES = {
  'adainfer-svm': ['linear', 'rbf'],
  'adainfer-logistic': ['linear'],
  'adainfer-crf': ['crf'],
} as const satisfies Record<PolicyKind, readonly Classifier['type'][]>

/** One classifier of a policy file, of a type that its kind has and over `features` features. */
export function readClassifier(field: json.Field, kind: PolicyKind, features: number): Classifier {
  const { file, name, value } = field
  const found = (value as { type?: unknown } | null)?.type
  const type = json.choice<Classifier['type']>({ file, name: `${name}.type`, value: found }, TYPES[kind])
  const at = json.fieldsOf<string>(field, FIELDS[type])
  const vector = (f: json.Field): number[] => json.listOf(f, json.number, features, features)
  switch (type) {
    case 'linear':
      return {
        type,
        scaling: readScaling(at('scaling'), features),
        weights: vector(at('weights')),
        intercept: json.number(at('intercept')),
      }
    case 'rbf': {
      const coefficients = json.listOf(at('coefficients'), json.number)
      const n = coefficients.length
      return {
        type,
        scaling: readScaling(at('scaling'), features),
        gamma: json.positive(at('gamma')),
        support_vectors: json.listOf(at('support_vectors'), vector, n, n),
        coefficients,
        intercept: json.number(at('intercept')),
      }
    }
    case 'crf': {
      const states = json.listOf(at('state'), (f) => json.listOf(f, json.number, features + 1, features + 1), 2, 2)
      const rows = json.listOf(at('transitions'), (f) => json.listOf(f, json.number, 2, 2), 2, 2)
      const [zero, one] = rows.map(([a, b]) => [a!, b!] as const)
      return { type, state: [states[0]!, states[1]!], transitions: [zero!, one!] }
    }
  }
}

function readScaling(field: json.Field, features: number): Scaling {
  const at = json.fieldsOf(field, ['mean', 'deviation'])
  return {
    mean: json.listOf(at('mean'), json.number, features, features),
    deviation: json.listOf(at('deviation'), json.positive, features, features),
  }
}
