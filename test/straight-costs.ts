import type { StepCosts } from '../src/depth/measurement.js'

/** Layers that cost as much as each other, and what is paid whatever runs. */
export function straightCosts(layers: number, layerMs: number, fixedMs: number, batch = 1): StepCosts {
  const at = (n: number) => ({ layers: n, ms: fixedMs + n * layerMs })
  return {
    batch,
    layers,
    fullMs: at(layers).ms,
    layerMs,
    headMs: fixedMs / 2,
    checkMs: fixedMs / 2,
    bridgeMs: 0,
    restMs: fixedMs / 2,
    plans: layers > 2 ? [at(2), at(layers)] : [at(layers)],
  }
}
