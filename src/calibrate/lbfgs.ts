/** Writes the gradient at `x` into `gradient` and returns the value there. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number

interface Correction {
  readonly step: Float64Array
  readonly change: Float64Array
  readonly rho: number
}

/** Pairs of steps and gradient changes that are remembered. */
const MEMORY = 10

/**
 * Minimises a smooth convex function: limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.5) with a line search by
 * bisection for the weak Wolfe conditions. Ends where no entry of the gradient exceeds `tolerance` or no step lowers the
 * value any more; `converged` is false where `maxSteps` were not enough.
 */
export function minimise(
  objective: Objective,
  start: Float64Array,
  { tolerance = 1e-8, maxSteps = 5000 }: { tolerance?: number; maxSteps?: number } = {},
): { x: Float64Array; value: number; converged: boolean } {
  let x = Float64Array.from(start)
  let gradient = new Float64Array(x.length)
  let value = objective(x, gradient)
  const memory: Correction[] = []

  for (let step = 0; step < maxSteps; step++) {
    if (largest(gradient) <= tolerance) return { x, value, converged: true }
    let direction = descent(gradient, memory)
    let slope = dot(direction, gradient)
    if (!(slope < 0)) {
      memory.length = 0
      direction = gradient.map((g) => -g)
      slope = dot(direction, gradient)
    }
    const first = memory.length === 0 ? Math.min(1, 1 / largest(gradient)) : 1
    const found = lineSearch(objective, x, value, direction, slope, first)
    if (found === null) {
      if (memory.length === 0) return { x, value, converged: true }
      memory.length = 0
      continue
    }
    const moved = found.x.map((v, k) => v - x[k]!)
    const change = found.gradient.map((g, k) => g - gradient[k]!)
    const curvature = dot(moved, change)
    if (curvature > 1e-300) {
      memory.push({ step: moved, change, rho: 1 / curvature })
      if (memory.length > MEMORY) memory.shift()
    }
    x = found.x
    gradient = found.gradient
    value = found.value
  }
  return { x, value, converged: false }
}

function descent(gradient: Float64Array, memory: readonly Correction[]): Float64Array<ArrayBuffer> {
  const q = gradient.map((g) => -g)
  const factors: number[] = []
  for (let m = memory.length - 1; m >= 0; m--) {
    const { step, change, rho } = memory[m]!
    const factor = rho * dot(step, q)
    factors[m] = factor
    for (let k = 0; k < q.length; k++) q[k]! -= factor * change[k]!
  }
  const last = memory.at(-1)
  if (last !== undefined) {
    const scale = 1 / (last.rho * dot(last.change, last.change))
    for (let k = 0; k < q.length; k++) q[k]! *= scale
  }
  for (const [m, { step, change, rho }] of memory.entries()) {
    const factor = factors[m]! - rho * dot(change, q)
    for (let k = 0; k < q.length; k++) q[k]! += factor * step[k]!
  }
  return q
}

interface Point {
  readonly x: Float64Array<ArrayBuffer>
  readonly gradient: Float64Array<ArrayBuffer>
  readonly value: number
}

/** A step that lowers the value enough and flattens the slope enough; null where rounding hides every gain. */
function lineSearch(
  objective: Objective,
  x: Float64Array,
  value: number,
  direction: Float64Array,
  slope: number,
  first: number,
): Point | null {
  let low = 0
  let high = Number.POSITIVE_INFINITY
  let rate = first
  let best: Point | null = null
  for (let trial = 0; trial < 60; trial++) {
    const next = Float64Array.from(x, (v, k) => v + rate * direction[k]!)
    const gradient = new Float64Array(next.length)
    const at = objective(next, gradient)
    if (!(at <= value + 1e-4 * rate * slope)) high = rate
    else {
      if (at < value && (best === null || at <= best.value)) best = { x: next, gradient, value: at }
      if (dot(gradient, direction) >= 0.9 * slope) return best
      low = rate
    }
    rate = high === Number.POSITIVE_INFINITY ? 2 * rate : (low + high) / 2
  }
  return best
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let k = 0; k < a.length; k++) sum += a[k]! * b[k]!
  return sum
}

function largest(a: Float64Array): number {
  return a.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
}
