import { kinship } from '../depth/foreign-model.js'

/** A model, and what it says of itself. */
export interface Kin {
  readonly name: string
  readonly fingerprint: string
  /** What its card names as the models that it was made from. */
  readonly baseModels: readonly string[]
}

/**
 * A sentence where two models are relatives, so that nobody takes what passes from one to the other for what passes
 * between strangers; null where nothing says so. Cards name models as `owner/name` or `name`.
 */
export function relativesNote(a: Kin, b: Kin): string | null {
  const related = kinship(a.fingerprint, b.fingerprint)
  if (related === 'same') return `${a.name} and ${b.name} have the same weights.`
  if (related === 'relatives')
    return `${a.name} and ${b.name} are the same model, quantised otherwise or with an adapter merged into one of them.`
  const relatives = `${a.name} and ${b.name} are relatives`
  for (const [child, parent] of [
    [b, a],
    [a, b],
  ] as const) {
    if (child.baseModels.some((base) => same(base, parent.name))) {
      return `${relatives}: by its model card, ${child.name} was made from ${parent.name}.`
    }
  }
  const common = a.baseModels.find((base) => b.baseModels.some((other) => same(base, other)))
  return common === undefined ? null : `${relatives}: by their model cards, both were made from ${common}.`
}

function same(a: string, b: string): boolean {
  const own = (name: string) => name.slice(name.lastIndexOf('/') + 1).toLowerCase()
  return own(a) === own(b)
}
