import { type Classifier, linearValue, rbfValue } from '../depth/classifier.js'
import { fitLogistic } from './logistic.js'
import { fitScaling, onlyLabel, type Samples, standardise } from './samples.js'

const FOLDS = 3

/**
 * Brings an SVM's value to log-odds of label 1 (Platt 1999): a logistic regression on values of samples that the SVM was
 * not fitted on, by cross-validation. Margins of different layers do not compare, log-odds do, and one threshold serves
 * all. The map is linear and goes into the classifier's own weights.
 *
 * @param samples features standardised, both labels present
 * @param run samples that stand together and belong to one instance
 */
export function toLogOdds(
  classifier: Exclude<Classifier, { type: 'crf' }>,
  { x, y }: Samples,
  run: number,
  marginFrom: (samples: Samples) => (row: Float64Array) => number,
): Classifier {
  const margins = x.map(() => new Float64Array(1))
  for (let fold = 0; fold < FOLDS; fold++) {
    const isHeld = (_: unknown, i: number): boolean => Math.floor(i / run) % FOLDS === fold
    const train = { x: x.filter((row, i) => !isHeld(row, i)), y: y.filter((label, i) => !isHeld(label, i)) }
    const only = train.y.length === 0 ? 1 : onlyLabel(train.y)
    const margin = only === null ? marginFrom(train) : () => (only === 1 ? 1 : -1)
    for (const [i, row] of x.entries()) if (isHeld(row, i)) margins[i]![0] = margin(row)
  }
  const scaling = fitScaling(margins)
  const { weights, intercept } = fitLogistic({ x: standardise(margins, scaling), y }, { C: 1, weights: [1, 1] })
  const slope = weights[0]! / scaling.deviation[0]!
  const shifted = slope * (classifier.intercept - scaling.mean[0]!) + intercept
  return classifier.type === 'linear'
    ? { ...classifier, weights: classifier.weights.map((w) => slope * w), intercept: shifted }
    : { ...classifier, coefficients: classifier.coefficients.map((c) => slope * c), intercept: shifted }
}

/** A classifier's value of standardised features. */
export function marginOf(classifier: Exclude<Classifier, { type: 'crf' }>): (row: Float64Array) => number {
  const { mean } = classifier.scaling
  const scaling = { mean: mean.map(() => 0), deviation: mean.map(() => 1) }
  return classifier.type === 'linear'
    ? (row) => linearValue({ ...classifier, scaling }, row)
    : (row) => rbfValue({ ...classifier, scaling }, row)
}
