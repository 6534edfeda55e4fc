import type { PlanCost } from '../../depth/measurement.js'

/**
 * The nearest times, in least squares, that never fall as layers are added: neighbours that contradict each other share
 * their mean (pool adjacent violators). Full depth, the last, stays as it is: what is slower is as slow as full depth.
 */
export function neverFalling(plans: readonly PlanCost[]): PlanCost[] {
  const fullMs = plans.at(-1)?.ms ?? 0
  const pools: { ms: number; count: number }[] = []
  for (const { ms } of plans.slice(0, -1)) {
    let pool = { ms: Math.min(ms, fullMs), count: 1 }
    for (let last = pools.at(-1); last !== undefined && last.ms > pool.ms; last = pools.at(-1)) {
      const count = last.count + pool.count
      pool = { ms: (last.ms * last.count + pool.ms * pool.count) / count, count }
      pools.pop()
    }
    pools.push(pool)
  }
  const times = [...pools.flatMap(({ ms, count }) => Array<number>(count).fill(ms)), fullMs]
  return plans.map(({ layers }, i) => ({ layers, ms: times[i] as number }))
}
