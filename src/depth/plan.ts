import { SpecError } from '../errors.js'

/** Which layers run, ascending, counted from 0. */
export type Plan = readonly number[]

/** 0 .. L-1. */
export function allLayers(layers: number): Plan {
  return Array.from({ length: layers }, (_, layer) => layer)
}

/**
 * Throws a SpecError unless `plan` is a set of layers that a model of `layers` layers can run: not empty, whole numbers,
 * ascending, all of them in the model. `name` opens the message.
 */
export function checkPlan(plan: Plan, layers: number, name: string): void {
  if (plan.length === 0) throw new SpecError(`${name}: the list of layers is empty`)
  let before = -1
  for (const layer of plan) {
    if (!Number.isSafeInteger(layer) || layer < 0) {
      throw new SpecError(`${name}: ${layer} is not a layer; layers count from 0`)
    }
    if (layer >= layers) throw new SpecError(`${name}: layer ${layer} does not exist; ${describeLayers(layers)}`)
    if (layer === before) throw new SpecError(`${name}: layer ${layer} is listed twice`)
    if (layer < before) throw new SpecError(`${name}: layer ${layer} stands after ${before}; layers must ascend`)
    before = layer
  }
}

/** Layers that `plan` leaves out in the largest gap between two of its neighbours: [first, last], or null. */
export function largestHole(plan: Plan): { readonly first: number; readonly last: number } | null {
  let hole: { first: number; last: number } | null = null
  for (let i = 1; i < plan.length; i++) {
    const first = plan[i - 1]! + 1
    const last = plan[i]! - 1
    if (last >= first && (hole === null || last - first > hole.last - hole.first)) hole = { first, last }
  }
  return hole
}

/** Distances between neighbours of a plan; one fewer than it has layers. */
export function gapsOf(plan: Plan): number[] {
  return plan.slice(1).map((layer, i) => layer - plan[i]!)
}

export function describeLayers(layers: number): string {
  return layers === 1 ? 'the model has one layer, 0' : `the model has ${layers} layers, 0 to ${layers - 1}`
}
