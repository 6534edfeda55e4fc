import type { Interval } from './bootstrap.js'

export type { Interval } from './bootstrap.js'

/** What one task, number of shots and depth gave. */
export interface EvalCell {
  readonly task: string
  readonly group: string
  /** Shots asked for, and how many fitted the context on average. */
  readonly shots: number
  readonly shotsUsed: number
  /** True where prompts were longer than the window that the model was trained on. */
  readonly beyondWindow: boolean
  /** The policy's canonical SPEC, or the name of a control: `random`, `oracle`, .. */
  readonly depth: string
  /** Prompts answered, and questions that did not fit the context alone. */
  readonly prompts: number
  readonly skipped: number
  /** Share of prompts whose answer is right; of generated SQuAD answers, exact match. */
  readonly accuracy: Interval
  /** Mean F1 of generated SQuAD answers; else null. */
  readonly f1: Interval | null
  /** Accuracy less that of full depth on the same prompts, paired. */
  readonly accuracyDifference: Interval
  /** Share of prompts whose answer is full depth's. */
  readonly agreement: Interval
  /** Layers run when the answer was given, 1 to L. */
  readonly depthMean: Interval
  /** 1 - mean depth / L. */
  readonly pruningRatio: number
  /** FLOPs against full depth, without and with exit checks. */
  readonly flopsRatio: number
  readonly flopsRatioWithChecks: number
  /** Measured time of the prompt's pass up to the answer, in ms; null for controls that are computed from traces. */
  readonly answerMs: Interval | null
  /** Time against full depth on the same prompts, measured in turn; null likewise. */
  readonly timeRatio: Interval | null
  /** Share of the time spent in exit checks. */
  readonly checkShare: number | null
  /** Prompts by depth: entry d-1 counts those answered at depth d. [L] */
  readonly histogram: readonly number[]
}

/** Mean exit features by layer, for instances whose answer is stable early and for the others. [L] each */
export interface FeatureCurve {
  readonly task: string
  readonly difficulty: 'easy' | 'hard'
  readonly instances: number
  readonly gap: readonly number[]
  readonly topProb: readonly number[]
}

/** A row of the matrix: a classifier, and what it was trained on. */
export interface MatrixRow {
  /** As shown to people: the task, or its group's pool; and the model where there are two. */
  readonly name: string
  readonly model: string
  readonly group: string
  /** One task, or all of the group. */
  readonly tasks: readonly string[]
  /** Prompts that the classifier was fitted on, and those that its threshold was chosen on. */
  readonly fitted: number
  readonly calibrated: number
  /** A token stops where the online value is greater; null: never, or nothing could be fitted. */
  readonly threshold: number | null
}

/** A column of the matrix: the prompts of a task that no classifier was trained on. */
export interface MatrixColumn {
  readonly name: string
  readonly model: string
  readonly group: string
  readonly task: string
  readonly layers: number
  readonly prompts: number
  /** Of full depth. */
  readonly accuracy: number
}

/** What classifiers trained on one task do on another. Arrays are [train][test]; NaN where nothing could be fitted. */
export interface GeneralisationMatrix {
  /** Kind and settings: `adainfer-svm kernel=rbf`. */
  readonly policy: string
  /** What thresholds were chosen for: `accuracy-loss=0.01`. */
  readonly target: string
  readonly shots: number
  readonly train: readonly MatrixRow[]
  readonly test: readonly MatrixColumn[]
  readonly accuracy: readonly (readonly number[])[]
  /** Accuracy less that of full depth on the same prompts, paired. */
  readonly accuracyDifference: readonly (readonly Interval[])[]
  readonly agreement: readonly (readonly number[])[]
  readonly depthMean: readonly (readonly number[])[]
  /** What a reader must know, such as that two models are relatives. */
  readonly notes: readonly string[]
}

/** Everything that an evaluation found; what reports are made of. */
export interface EvalReport {
  readonly model: string
  readonly quantization: string
  readonly layers: number
  readonly parameters: number
  readonly score: string
  readonly seed: number
  /** ISO 8601. */
  readonly date: string
  readonly machine: string
  readonly cells: readonly EvalCell[]
  /** All tasks of one depth and number of shots pooled; `task` is `overall`. */
  readonly overall: readonly EvalCell[]
  readonly curves: readonly FeatureCurve[]
  readonly matrix: GeneralisationMatrix | null
  readonly notes: readonly string[]
}
