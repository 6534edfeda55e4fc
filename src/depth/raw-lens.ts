import { kinship } from './foreign-model.js'

/** Fingerprints of the bundled models: thresholds in the documentation were tried on these. */
const TRIED_ON: readonly string[] = [
  '5726cdf6f74d3f635410db5eae9ffe0b440b4867082442a6f5d8384bbe006d89', // ripple-8m
  '8b53795e845f1fd75e95e3e803a7c69b8367258334bfc4e7e1b7de44ea560dfe', // ripple-8m-flex
  '57620289e3ee1708751736f2d93bec98429b07f147f6f8f4a80f6d8bd61f8f04', // ripple-8m-unified2x
]

const NOTE =
  'this exit policy looks at what layers say as they are, and it was not calibrated for this model: tokens may leave far too early, and repeat themselves; shoal calibrate MODEL --task NAME --policy adainfer-svm -o FILE fits one for it'

/** True for the bundled models, whatever they are quantised to. */
export function triedOn(fingerprint: string): boolean {
  return TRIED_ON.some((tried) => kinship(tried, fingerprint) === 'same')
}

/** What to say of a threshold that nobody has fitted, on a model that it was not tried on. */
export function rawLensNotes(fingerprint: string | null | undefined): string[] {
  return fingerprint === undefined || fingerprint === null || triedOn(fingerprint) ? [] : [NOTE]
}
