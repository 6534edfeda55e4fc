import type { PositionTrace } from '../calibrate/record.js'
import type { FeatureCurve } from './result.js'

/**
 * Mean gap and top probability by layer, for the easy half of a task's instances (their argmax stays the last layer's
 * from early on) and the hard half.
 */
export function curvesOf(traces: readonly { task: string; trace: PositionTrace }[]): FeatureCurve[] {
  const tasks = [...new Set(traces.map(({ task }) => task))]
  return tasks.flatMap((task) => {
    const own = traces.filter((t) => t.task === task).map(({ trace }) => trace)
    const sorted = own.sort((a, b) => stableFrom(a) - stableFrom(b))
    const half = Math.ceil(sorted.length / 2)
    return [
      curve(task, 'easy', sorted.slice(0, half)),
      ...(sorted.length > half ? [curve(task, 'hard', sorted.slice(half))] : []),
    ]
  })
}

/** The first layer from which the argmax stays the last layer's. */
export function stableFrom({ top1 }: PositionTrace): number {
  const final = top1.at(-1) as number
  let layer = top1.length - 1
  while (layer > 0 && top1[layer - 1] === final) layer--
  return layer
}

function curve(task: string, difficulty: 'easy' | 'hard', traces: readonly PositionTrace[]): FeatureCurve {
  const layers = traces[0]?.top1.length ?? 0
  const mean = (feature: 'gap' | 'top_prob') =>
    Array.from(
      { length: layers },
      (_, l) => traces.reduce((sum, t) => sum + (t.features[feature][l] as number), 0) / traces.length,
    )
  return { task, difficulty, instances: traces.length, gap: mean('gap'), topProb: mean('top_prob') }
}
