import { stableFrom } from '../calibrate/outcomes.js'
import type { TraceInstance } from '../calibrate/traces.js'
import type { FeatureCurve } from './result.js'

/**
 * Mean gap and top probability by layer, for the easy half of a task's instances (their argmax stays the last layer's
 * from early on) and the hard half.
 */
export function curvesOf(traces: readonly TraceInstance[]): FeatureCurve[] {
  const tasks = [...new Set(traces.map(({ task }) => task))]
  return tasks.flatMap((task) => {
    const own = traces.filter((t) => t.task === task)
    const sorted = own.sort((a, b) => stableFrom(a) - stableFrom(b))
    const half = Math.ceil(sorted.length / 2)
    return [
      curve(task, 'easy', sorted.slice(0, half)),
      ...(sorted.length > half ? [curve(task, 'hard', sorted.slice(half))] : []),
    ]
  })
}

function curve(task: string, difficulty: 'easy' | 'hard', traces: readonly TraceInstance[]): FeatureCurve {
  const layers = traces[0]?.agree.length ?? 0
  const mean = (feature: 'gap' | 'top_prob') =>
    Array.from(
      { length: layers },
      (_, l) => traces.reduce((sum, t) => sum + t.features[feature]![l]!, 0) / traces.length,
    )
  return { task, difficulty, instances: traces.length, gap: mean('gap'), topProb: mean('top_prob') }
}
