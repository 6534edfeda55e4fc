import type { PolicyModel } from './policy-document.js'

/** What to say where a file was made on weights that are not known to be these. */
export function foreignModelNotes(
  path: string,
  model: PolicyModel,
  fingerprint: string | null | undefined,
  what = 'its layers were chosen on that one',
): string[] {
  if (model.fingerprint === null) {
    return [`${path} does not say for which model it was made; whether it suits this one is unknown`]
  }
  if (fingerprint === undefined || fingerprint === null || fingerprint === model.fingerprint) return []
  return [`${path} was made for another model (${model.name ?? 'unnamed'}, ${model.fingerprint.slice(0, 12)}); ${what}`]
}
