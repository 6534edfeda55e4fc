import type { SplitFigures } from '../depth/policy-file.js'
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
  /** Prompts that the classifier was fitted on and its threshold chosen on. */
  readonly trained: number
  /** A token stops where the online value is greater; null: never, or nothing could be fitted. */
  readonly threshold: number | null
  /** What thresholds gave on the questions that each random split held out; null where nothing could be fitted. */
  readonly splits: SplitFigures | null
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

/** Metrics of generated text beside its reference. */
export type GenerationMetric = 'bleu' | 'chrf' | 'rouge1' | 'rouge2' | 'rougeL'

export interface GenerationQuality {
  readonly metric: GenerationMetric
  /** BLEU and chrF of the corpus, 0 to 100; mean F1 of ROUGE, 0 to 1. */
  readonly score: Interval
  /** Score less full depth's of the same batch size, paired. */
  readonly difference: Interval
}

/** What one task, number of shots, batch size and depth gave in generation. */
export interface GenerationCell {
  readonly task: string
  readonly group: string
  readonly shots: number
  /** How many shots fitted the context on average. */
  readonly shotsUsed: number
  /** Sequences that were decoded at once; the last ones of a task may be fewer. */
  readonly batch: number
  /** The policy's canonical SPEC. */
  readonly depth: string
  /** Sequences generated, and items that did not fit the context. */
  readonly sequences: number
  readonly skipped: number
  /** BLEU's tokenizer: `13a` or `zh`. */
  readonly tokenize: string
  readonly quality: readonly GenerationQuality[]
  /** Share of sequences that are full depth's, token by token. */
  readonly identical: Interval
  /** Tokens up to the first that is not full depth's, as a share of the longer of both sequences: the mean over sequences. */
  readonly agreement: Interval
  /** New tokens of a sequence. */
  readonly outputTokens: Interval
  /** Layers run when a token was emitted: the mean over tokens. */
  readonly depthMean: Interval
  /** Layers computed per new token, catch-up included. */
  readonly rowLayersPerToken: Interval
  /** New tokens after each sequence's first, per second of decoding. NaN where no sequence had a second token. */
  readonly outputTokensPerSecond: Interval
  /** Prompt and new tokens per second of all time, as Unified Layer Skipping counts. */
  readonly allTokensPerSecond: Interval
  /** `outputTokensPerSecond` over full depth's in the same turns. */
  readonly speedup: Interval
  /** `allTokensPerSecond` over full depth's. */
  readonly allSpeedup: Interval
}

/** How well one depth foresees a text; tokens are fed, whatever the model says. */
export interface TextCell {
  readonly task: string
  readonly depth: string
  readonly windows: number
  /** Tokens that were scored. */
  readonly tokens: number
  /** exp of the mean negative log-likelihood per token. */
  readonly perplexity: Interval
  /** Perplexity over full depth's on the same windows, paired. */
  readonly perplexityRatio: Interval
  /** Share of fed tokens after which the most probable next one is full depth's. */
  readonly agreement: Interval
  readonly depthMean: Interval
}

/** Evaluation of generation. */
export interface GenerationEvaluation {
  /** New tokens of a sequence at most. */
  readonly maxTokens: number
  /** Beams of each sequence; null: decoding is greedy. */
  readonly beams: number | null
  /** No n-gram of so many tokens comes twice; 0 is off. */
  readonly noRepeatNgram: number
  /** Of texts: tokens of a window, and how many of them run at full depth and are not scored. */
  readonly window: number
  readonly promptLength: number
  readonly cells: readonly GenerationCell[]
  readonly texts: readonly TextCell[]
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
  readonly generation: GenerationEvaluation | null
  readonly notes: readonly string[]
}
