/** A figure that is published of AdaInfer on a task; what is not known is null. */
export interface PublishedFigure {
  readonly model: string
  /** L. */
  readonly layers: number
  /** A name of `PAPER_SETS`. */
  readonly task: string
  /** Which classifier AdaInfer used is not said. */
  readonly rule: 'full' | 'adainfer'
  /** Share of right answers. */
  readonly accuracy: number | null
  /** Accuracy less full depth's. */
  readonly accuracyDifference: number | null
  readonly depthMean: number | null
  readonly flopsRatio: number | null
  readonly source: string | null
}

/** What is published in words, over several tasks or models. */
export interface PublishedClaim {
  readonly what: string
  readonly figure: string
  readonly source: string
}

export const PAPER = 'Not All Layers of LLMs Are Necessary During Inference (arXiv 2403.02181)'

const BOTH = 'reported by SpecEE and FlexEE'
const FLEXEE = 'reported by FlexEE'
const FIRST = 'arXiv 2403.02181, first version'
const LATER = 'arXiv 2403.02181, later version'
const ANY = 'arXiv 2403.02181'

/** The figures of one model on one task: full depth and AdaInfer. */
function pair(
  model: string,
  layers: number,
  task: string,
  known: Partial<Pick<PublishedFigure, 'accuracy' | 'accuracyDifference' | 'depthMean' | 'flopsRatio' | 'source'>> & {
    readonly dense?: number
  } = {},
): PublishedFigure[] {
  const { dense = null, source = null, ...adainfer } = known
  const none = { accuracy: null, accuracyDifference: null, depthMean: null, flopsRatio: null }
  return [
    { ...none, model, layers, task, rule: 'full', accuracy: dense, source: dense === null ? null : source },
    { ...none, ...adainfer, model, layers, task, rule: 'adainfer', source },
  ]
}

/** Every cell of the models that something is known of. How many shots the figures are for is not said by those who report them. */
export const PUBLISHED: readonly PublishedFigure[] = [
  ...pair('Llama-2-7B', 32, 'mmlu', {
    dense: 0.453,
    accuracy: 0.4373,
    depthMean: 28.91,
    flopsRatio: 0.9,
    source: BOTH,
  }),
  ...pair('Llama-2-7B', 32, 'commonsense_qa', {
    dense: 0.6143,
    accuracy: 0.53,
    depthMean: 27.9,
    flopsRatio: 0.87,
    source: BOTH,
  }),
  ...pair('Llama-2-7B', 32, 'squad'),
  ...pair('Llama-2-7B', 32, 'sst2', { accuracyDifference: 0.001, flopsRatio: 0.64, source: FLEXEE }),
  ...pair('Llama-2-7B', 32, 'ag_news'),
  ...pair('Llama-2-7B', 32, 'rules'),
  ...pair('Llama-2-13B', 40, 'mmlu', {
    dense: 0.5358,
    accuracy: 0.5244,
    depthMean: 36.35,
    flopsRatio: 0.91,
    source: BOTH,
  }),
  ...pair('Llama-2-13B', 40, 'commonsense_qa', {
    dense: 0.6757,
    accuracy: 0.6248,
    depthMean: 34.6,
    flopsRatio: 0.87,
    source: BOTH,
  }),
  ...pair('Llama-2-13B', 40, 'squad'),
  ...pair('Llama-2-13B', 40, 'sst2', { accuracyDifference: -0.0325, flopsRatio: 0.57, source: FLEXEE }),
  ...pair('Llama-2-13B', 40, 'ag_news'),
  ...pair('Llama-2-13B', 40, 'rules'),
]

export const CLAIMS: readonly PublishedClaim[] = [
  { what: 'compute saved, average', figure: '14.8%', source: FIRST },
  { what: 'compute saved, average', figure: '17.8%', source: LATER },
  { what: 'compute saved on sentiment, at most', figure: '50%', source: FIRST },
  { what: 'compute saved on sentiment, at most', figure: '43%', source: LATER },
  { what: 'accuracy lost, average over all tasks', figure: '< 5%', source: ANY },
  { what: 'accuracy lost, average over QA and classification', figure: '< 1%', source: ANY },
  { what: 'compute saved on sentiment, Llama-2-13B', figure: '41%', source: ANY },
  { what: 'compute saved on MMLU and CommonsenseQA', figure: '2% to 20%', source: ANY },
  { what: 'compute saved over tasks, Llama-2-7B', figure: '4% to 32%', source: ANY },
  {
    what: 'compute saved, Llama-2-70B, zero-shot',
    figure: '10% to 50%, accuracy equal or a little better',
    source: ANY,
  },
  { what: 'accuracy lost, Llama-2-70B, few-shot', figure: '1% to 25%, by task', source: ANY },
  {
    what: 'time of the checks over the whole vocabulary',
    figure: 'about 20% of latency',
    source: 'reported by SpecEE',
  },
]
