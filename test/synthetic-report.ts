import type { EvalCell, EvalReport, GenerationCell, Interval, TextCell } from '../src/evaluate/result.js'

const LAYERS = 16

/** Depth settings with their mean depth and loss of accuracy; controls have no time. */
const SETTINGS = [
  { depth: 'full', mean: 16, loss: 0, timed: true },
  { depth: 'gap:0.6', mean: 12.6, loss: 0.02, timed: true },
  { depth: 'gap:0.8', mean: 13.4, loss: 0.006, timed: true },
  { depth: 'gap:0.95', mean: 14.6, loss: 0.001, timed: true },
  { depth: 'adainfer:policies/sst2-and-ag_news.svm.policy.json', mean: 11.8, loss: 0.004, timed: true },
  { depth: 'adainfer:policies/sst2-and-ag_news.crf.policy.json', mean: 11.5, loss: 0.009, timed: true },
  { depth: 'adainfer:policies/sst2-and-ag_news.logistic.policy.json', mean: 12.2, loss: 0.008, timed: true },
  { depth: 'fixed', mean: 11.8, loss: 0.09, timed: false },
  { depth: 'random', mean: 11.8, loss: 0.12, timed: false },
  { depth: 'oracle', mean: 8.9, loss: 0, timed: false },
  { depth: 'shortgpt:12', mean: 12, loss: 0.2, timed: true },
]

/** A report with numbers that look like a small model's; the same on every call. */
export function syntheticReport(options: { tasks?: readonly string[]; shots?: readonly number[] } = {}): EvalReport {
  const { tasks = ['sst2', 'ag_news', 'rules: pooled', 'fruit_v_animal_3', 'capitalize'], shots = [0, 5] } = options
  const cells = tasks.flatMap((task, t) => shots.flatMap((count) => SETTINGS.map((one) => cell(task, t, count, one))))
  const overall = shots.flatMap((count) => SETTINGS.map((one) => ({ ...cell('overall', 2, count, one), group: 'all' })))
  const curve = (task: string, difficulty: 'easy' | 'hard', rise: number) => ({
    task,
    difficulty,
    instances: 1234,
    gap: Array.from({ length: LAYERS }, (_, l) => 0.95 / (1 + Math.exp(rise - l))),
    topProb: Array.from({ length: LAYERS }, (_, l) => 0.05 + 0.93 / (1 + Math.exp(rise - 0.5 - l))),
  })
  const matrixTasks = tasks.slice(0, 8)
  const matrix = <T>(value: (r: number, c: number) => T) =>
    matrixTasks.map((_, r) => matrixTasks.map((_, c) => value(r, c)))
  const matrixLoss = (r: number, c: number) => (r === c ? -0.004 : 0.01 - 0.013 * Math.abs(r - c))
  const matrixPlace = (task: string, i: number) => ({
    name: task,
    model: 'ripple-8m',
    group: i < 2 ? 'classification' : 'rules',
  })
  return {
    model: 'ripple-8m',
    quantization: 'f32',
    layers: LAYERS,
    parameters: 8_100_000,
    score: 'token',
    seed: 0,
    date: '2026-01-02T03:04:05Z',
    machine: 'a machine of 2 cores',
    cells,
    overall,
    curves: tasks.flatMap((task, t) => [curve(task, 'easy', 6 + t * 0.4), curve(task, 'hard', 11 + t * 0.3)]),
    matrix: {
      policy: 'adainfer-svm',
      target: 'accuracy-loss=0.01',
      shots: 5,
      train: matrixTasks.map((task, i) => ({
        ...matrixPlace(task, i),
        tasks: [task],
        trained: 500,
        threshold: 0.3,
        splits: { count: 20, mean_layers: [11.2, 11.6, 12.1], agreement: [0.97, 0.985, 1], losses: [0, 0.004, 0.02] },
      })),
      test: matrixTasks.map((task, i) => ({
        ...matrixPlace(task, i),
        task,
        layers: LAYERS,
        prompts: 500,
        accuracy: 0.9 - i * 0.06,
      })),
      accuracy: matrix((r, c) => 0.9 - c * 0.06 + matrixLoss(r, c)),
      accuracyDifference: matrix((r, c) => around(matrixLoss(r, c), 0.005)),
      agreement: matrix((r, c) => 0.99 - 0.03 * Math.abs(r - c)),
      depthMean: matrix((r, c) => 11.5 + 0.6 * Math.abs(r - c)),
      notes: ['ripple-8m and ripple-8m-flex are relatives.'],
    },
    generation: null,
    notes: ['FLOPs are those of the layers and one head.'],
  }
}

function cell(task: string, t: number, shots: number, setting: (typeof SETTINGS)[number]): EvalCell {
  const { depth, loss, timed } = setting
  const mean = depth === 'full' || depth.startsWith('shortgpt') ? setting.mean : setting.mean - t * 0.3
  const accuracy = 0.9 - (t % 10) * 0.06 + shots * 0.006 - loss
  const ms = 2 + mean * 0.7 + shots * 1.3
  const single = Number.isInteger(mean)
  return {
    task,
    group: t < 2 ? 'classification' : 'rules',
    shots,
    shotsUsed: shots === 5 && t === 1 ? 4.3 : shots,
    beyondWindow: shots === 5 && t === 1,
    depth,
    prompts: 1000,
    skipped: t === 1 ? 7 : 0,
    accuracy: around(accuracy, 0.018),
    f1: null,
    accuracyDifference: around(-loss, depth === 'full' ? 0 : 0.007),
    agreement: around(1 - loss * 1.4, depth === 'full' ? 0 : 0.006),
    depthMean: around(mean, single ? 0 : 0.15),
    pruningRatio: 1 - mean / LAYERS,
    flopsRatio: mean / LAYERS,
    flopsRatioWithChecks: mean / LAYERS + (timed ? 0.05 : 0),
    answerMs: timed ? around(ms, 0.2) : null,
    timeRatio: timed ? around(ms / (2 + 16 * 0.7 + shots * 1.3), 0.02) : null,
    checkShare: timed ? 0.043 : null,
    histogram: Array.from({ length: LAYERS }, (_, i) =>
      single ? (i + 1 === mean ? 1000 : 0) : Math.round(400 * Math.exp(-((i + 1 - mean) ** 2) / 6)),
    ),
  }
}

function around(mean: number, half: number): Interval {
  return { mean, low: mean - half, high: mean + half, n: 400 }
}

/** A report of generation, with long names and two batch sizes; the same on every call. */
export function syntheticGeneration(): EvalReport {
  const depths = ['full', 'unified:1.5x', 'unified:2x', 'gap:0.9', 'adainfer:policies/prose-and-news.svm.policy.json']
  const written = (task: string, batch: number, depth: string, i: number): GenerationCell => ({
    task,
    group: 'translation',
    shots: 1,
    shotsUsed: 1,
    batch,
    depth,
    sequences: 200,
    skipped: 0,
    tokenize: '13a',
    quality: (['bleu', 'chrf', 'rouge1', 'rouge2', 'rougeL'] as const).map((metric, m) => {
      const unit = m < 2 ? 30 : 0.3
      return {
        metric,
        score: around(unit * (1 - i * 0.1), unit * 0.04),
        difference: around(-unit * i * 0.1, unit * 0.02),
      }
    }),
    identical: around(1 - i * 0.2, i === 0 ? 0 : 0.05),
    agreement: around(1 - i * 0.15, i === 0 ? 0 : 0.04),
    outputTokens: around(31.4 + i, 2),
    depthMean: around(16 - i * 2, 0.2),
    rowLayersPerToken: around(16 - i * 1.8, 0.2),
    outputTokensPerSecond: around(310 + i * 40, 9),
    allTokensPerSecond: around(900 + i * 50, 30),
    speedup: around(1 + i * 0.13, 0.03),
    allSpeedup: around(1 + i * 0.05, 0.03),
  })
  const foreseen = (task: string, depth: string, i: number): TextCell => ({
    task,
    depth,
    windows: 93,
    tokens: 44_640,
    perplexity: around(21.4 + i * 6, 0.9),
    perplexityRatio: around(1 + i * 0.28, 0.02),
    agreement: around(1 - i * 0.1, i === 0 ? 0 : 0.01),
    depthMean: around(16 - i * 2, 0.2),
  })
  const tasks = ['wmt22:de-en', 'summaries_of_long_newspaper_articles']
  return {
    ...syntheticReport(),
    score: 'generation',
    cells: [],
    overall: [],
    curves: [],
    matrix: null,
    generation: {
      maxTokens: 128,
      beams: null,
      noRepeatNgram: 0,
      window: 512,
      promptLength: 32,
      cells: tasks.flatMap((task) =>
        [1, 8].flatMap((batch) => depths.map((depth, i) => written(task, batch, depth, i))),
      ),
      texts: ['prose', 'news.txt'].flatMap((task) => depths.map((depth, i) => foreseen(task, depth, i))),
    },
  }
}
