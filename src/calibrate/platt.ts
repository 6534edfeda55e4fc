import { type Classifier, linearValue, rbfValue } from '../depth/classifier.js'
import { fitLogistic } from './logistic.js'
import { fitScaling, type GroupedSamples, onlyLabel, type Samples, standardise } from './samples.js'
import { createSplit } from './split.js'

const FOLDS = [0, 1, 2] as const

/**
 * Brings an SVM's value to log-odds of label 1 (Platt 1999): a logistic regression on values of samples that the SVM was
 * not fitted on, by cross-validation over questions: samples of one question are too alike to judge each other. Margins of different layers do not compare, log-odds do, and one threshold serves
 * all. The map is linear and goes into the classifier's own weights.
 *
 * @param samples features standardised, both labels present
 */
export function toLogOdds(
  classifier: Exclude<Classifier, { type: 'crf' }>,
  { x, y, questions }: GroupedSamples,
  marginFrom: (samples: Samples) => (row: Float64Array) => number,
): Classifier {
  const margins = x.map(() => new Float64Array(1))
  const folds = createSplit(FOLDS, 0)(questions)
  for (const fold of FOLDS) {
    const isHeld = (_: unknown, i: number): boolean => folds[i] === fold
    const isFitted = (_: unknown, i: number): boolean => !isHeld(_, i)
    const train = { x: x.filter(isFitted), y: y.filter(isFitted) }
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
