import type { CrfClassifier } from '../depth/classifier.js'
import type { PolicyKind } from '../depth/policy-kind.js'
import { InputError } from '../errors.js'
import { type FitOptions, fitPolicy } from './fit.js'
import { type Outcome, outcomes } from './outcomes.js'
import { createSplit, splitTraces } from './split.js'
import type { Target } from './threshold.js'
import { type TraceInstance, type TraceSet, wholeHead } from './traces.js'

export type Settings = Omit<FitOptions, 'kind' | 'model' | 'created' | 'start'>

/** Draws of shots that training questions are asked with. */
export const DRAWS = 3

/** Of policies that are fitted on a task's answers where nothing else is asked. */
export const DEFAULT_TARGET: Target = { kind: 'accuracy-loss', value: 0.01 }

/**
 * What is fitted on a task's answers where nothing is set: of the six sets of docs/adainfer.md, cross-validated on their
 * calibration halves, these take clearly fewer layers than gap and top probability alone on two, and about as many on four.
 */
export function answerSettings(kind: PolicyKind): Settings {
  if (kind === 'adainfer-crf') return { perLayer: true, tokens: 4, c2: 1 }
  const shared: Settings = { perLayer: true, tokens: 4, features: ['gap', 'top_prob', 'cos_hidden'] }
  return kind === 'adainfer-svm' ? { ...shared, classWeight: 'balanced', scores: 'log-odds' } : shared
}

/**
 * AdaInfer as its paper has it (arXiv 2403.02181, section 3), by name: one classifier for all layers on gap and top
 * probability, label agreement, at its own decision boundary. Kernel, C and c2 are not published; linear, 1 and CRFsuite's
 * usual 0.1 stand in.
 */
export const PAPER_FITS = {
  'paper-svm': { kind: 'adainfer-svm', features: ['gap', 'top_prob'], label: 'agreement', kernel: 'linear', C: 1 },
  'paper-crf': { kind: 'adainfer-crf', features: ['gap', 'top_prob'], label: 'agreement', c2: 0.1 },
} as const satisfies Record<string, FitOptions>

export const PAPER_NAMES = ['paper-svm', 'paper-crf'] as const
export type PaperName = (typeof PAPER_NAMES)[number]

const FOLDS = [0, 1] as const

/** What a rule that nobody calibrates does with the same questions. */
export interface Beside extends Outcome {
  readonly name: 'full' | 'gap:0.8' | PaperName
}

/**
 * Full depth, the fixed gap and the paper's classifiers on traces, the classifiers fitted without the question they judge: what a
 * calibrated policy stands beside, read as the traces were. Those of which nothing can be fitted are left out.
 */
export function besideOf(traces: TraceSet, seed: number): Beside[] {
  const whole = { ...wholeHead(traces), lens: null }
  return [
    { name: 'full', ...summary(outcomes(whole, 'full')) },
    { name: 'gap:0.8', ...summary(outcomes(whole, { gap: 0.8 })) },
    ...PAPER_NAMES.flatMap((name) => {
      const outcome = paperOutcome(whole, name, seed)
      return outcome === null ? [] : [{ name, ...outcome }]
    }),
  ]
}

function paperOutcome(traces: TraceSet, name: PaperName, seed: number): Outcome | null {
  const part = splitTraces(traces, createSplit(FOLDS, seed))
  const instances: TraceInstance[] = []
  const exits: number[] = []
  let start: readonly CrfClassifier[] = []
  try {
    for (const fold of FOLDS) {
      const policy = fitPolicy(part(...FOLDS.filter((other) => other !== fold)), { ...PAPER_FITS[name], start })
      if (policy.kind === 'adainfer-crf') start = policy.classifiers as readonly CrfClassifier[]
      const held = part(fold)
      instances.push(...held.instances)
      exits.push(...outcomes(held, policy).exits)
    }
  } catch (error) {
    if (error instanceof InputError) return null
    throw error
  }
  return summary(outcomes({ ...traces, instances }, exits))
}

function summary({ meanLayers, agreement, accuracy, losses }: Outcome): Outcome {
  return { meanLayers, agreement, accuracy, losses }
}
