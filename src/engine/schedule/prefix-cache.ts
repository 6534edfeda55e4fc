import type { Sequence } from '../cache/sequence.js'
import type { Engine } from '../run/engine.js'
import type { KeptSequence } from './generation.js'
import type { KeptCells, KvRoom } from './kv-room.js'
import { layersOf, reusable } from './reusable.js'

/** Fewer positions are not worth a copy. */
const LEAST = 16

/** A text that a generation left in the cache. */
interface Kept {
  readonly sequence: Sequence
  readonly ids: readonly number[]
  /** `layersOf` the pass that it began with. */
  readonly ran: string
  readonly cells: KeptCells
}

/**
 * Texts of generations that have ended stay in the KV cache: a prompt that begins as one of them does goes on from a copy of what is there. A
 * text counts as far as the layers that the prompt needs have seen it. Who was not asked for the longest goes first, and all of them where
 * running sequences need the room.
 */
export class PrefixCache {
  /** Who was not asked for the longest comes first. */
  private readonly kept = new Set<Kept>()

  /** @param most texts that are kept */
  constructor(
    private readonly engine: Engine,
    private readonly room: KvRoom,
    private readonly most: number,
  ) {}

  /** A sequence for one generation. */
  sequence(): KeptSequence {
    let sequence: Sequence | null = null
    let ran = 'all'
    return {
      idle: null,
      open: (prompt, depth) => {
        ran = layersOf(depth, this.engine.layers)
        let best: Kept | null = null
        let shared = LEAST - 1
        for (const one of this.kept) {
          const own = reusable(one.sequence, one.ran, one.ids, prompt, depth)
          if (own <= shared) continue
          best = one
          shared = own
        }
        if (best !== null) this.touch(best)
        sequence = best === null ? this.engine.createSequence() : best.sequence.fork(shared)
        return sequence
      },
      close: (fed) => {
        if (sequence !== null) this.keep(sequence, fed, ran)
      },
    }
  }

  private keep(sequence: Sequence, ids: readonly number[], ran: string): void {
    const kept: Kept = {
      sequence,
      ids,
      ran,
      cells: { cells: sequence.slot.capacity, forget: () => this.forget(kept) },
    }
    if (ids.length < LEAST || [...this.kept].some((one) => covers(one, kept))) {
      sequence.dispose()
      return
    }
    for (const one of this.kept) if (covers(kept, one)) this.forget(one)
    this.kept.add(kept)
    this.room.keep(kept.cells)
    const [oldest] = this.kept
    if (this.kept.size > this.most && oldest !== undefined) this.forget(oldest)
  }

  private touch(kept: Kept): void {
    this.kept.delete(kept)
    this.kept.add(kept)
    this.room.wake(kept.cells)
    this.room.keep(kept.cells)
  }

  private forget(kept: Kept): void {
    this.kept.delete(kept)
    this.room.wake(kept.cells)
    kept.sequence.dispose()
  }
}

/** True where one text has all that another has: it begins alike, and every layer has seen as much of it. */
function covers(one: Kept, other: Kept): boolean {
  if (one.ran !== other.ran || other.ids.length > one.ids.length) return false
  if (!other.sequence.cached.every((count, layer) => count <= (one.sequence.cached[layer] as number))) return false
  return other.ids.every((id, i) => one.ids[i] === id)
}
