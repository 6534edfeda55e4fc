import type { Bridge } from '../../depth/bridge.js'
import type { Sequence } from '../cache/sequence.js'
import type { TokenDepth } from '../plan/token-depth.js'

/** Bridges are told apart by what they are, and not by the file that they came from. */
const numbers = new WeakMap<Bridge, number>()
let next = 0

/**
 * The layers that a prompt's own pass runs and its bridges, in one word. Keys and values of a position depend on what ran below,
 * so only a pass of the same layers goes on from them.
 */
export function layersOf(depth: TokenDepth, layers: number): string {
  if (depth.kind !== 'plan' || depth.layers.length === layers) return 'all'
  const bridges = (depth.bridges ?? []).map((bridge) => {
    const number = numbers.get(bridge) ?? next++
    numbers.set(bridge, number)
    return number
  })
  return bridges.length === 0 ? depth.layers.join() : `${depth.layers.join()} bridged by ${bridges.join()}`
}

/**
 * Positions of a kept sequence that a new prompt can go on from: what both share, less one token that must be fed. Under
 * a plan also no more than every layer of the prompt's own pass has seen.
 * @param ran `layersOf` the pass that the sequence began with
 */
export function reusable(
  sequence: Sequence,
  ran: string,
  fed: readonly number[],
  prompt: readonly number[],
  depth: TokenDepth,
): number {
  let shared = 0
  while (shared < fed.length && shared < prompt.length - 1 && fed[shared] === prompt[shared]) shared++
  const wanted = layersOf(depth, sequence.cached.length)
  // What every layer has seen, every layer has run for.
  if (wanted !== ran) return wanted === 'all' ? Math.min(shared, sequence.complete) : 0
  if (depth.kind === 'plan')
    return depth.layers.reduce((least, l) => Math.min(least, sequence.cached[l] as number), shared)
  return sequence.waiting === sequence.length - sequence.complete ? shared : Math.min(shared, sequence.complete)
}
