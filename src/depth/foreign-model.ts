import type { PolicyModel } from './policy-document.js'

/** What two fingerprints say of two models' weights. */
export type Kinship =
  | 'same'
  /** The same norms and biases, and other matrices: quantised otherwise, or an adapter is merged into one of them. */
  | 'relatives'
  | 'strangers'

/** Compares `Model.fingerprint`s; one without its second part is the same as any with its first. */
export function kinship(a: string, b: string): Kinship {
  const [vectors, matrices] = a.split('-')
  const [otherVectors, otherMatrices] = b.split('-')
  if (vectors !== otherVectors) return 'strangers'
  return matrices === undefined || otherMatrices === undefined || matrices === otherMatrices ? 'same' : 'relatives'
}

/**
 * What to say where a file was made on weights that are not known to be these.
 * @param what of the file belongs to the weights it was made on
 */
export function foreignModelNotes(
  path: string,
  model: Pick<PolicyModel, 'name' | 'fingerprint'>,
  fingerprint: string | null | undefined,
  what = 'its layers were chosen on that one',
): string[] {
  if (model.fingerprint === null) {
    return [`${path} does not say for which model it was made; whether it suits this one is unknown`]
  }
  if (fingerprint === undefined || fingerprint === null) return []
  const related = kinship(model.fingerprint, fingerprint)
  if (related === 'same') return []
  const named = `${model.name ?? 'unnamed'}, ${model.fingerprint.slice(0, 12)}`
  return related === 'relatives'
    ? [`${path} was made on other weights of this model (quantised otherwise, or with an adapter merged in); ${what}`]
    : [`${path} was made for another model (${named}); ${what}`]
}
