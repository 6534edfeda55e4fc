import type { PolicyModel } from './policy-document.js'

/** What to say where a file's layers were chosen on weights that are not known to be these. */
export function foreignModelNotes(path: string, model: PolicyModel, fingerprint: string | null | undefined): string[] {
  if (model.fingerprint === null) {
    return [`${path} does not say for which model it was made; whether its layers suit this one is unknown`]
  }
  if (fingerprint === undefined || fingerprint === null || fingerprint === model.fingerprint) return []
  return [
    `${path} was made for another model (${model.name ?? 'unnamed'}, ${model.fingerprint.slice(0, 12)}); its layers were chosen on that one`,
  ]
}
