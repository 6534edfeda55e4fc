import type { Sequence } from '../cache/sequence.js'
import type { TokenDepth } from '../plan/token-depth.js'
import type { Engine } from '../run/engine.js'
import type { KeptSequence } from './generation.js'
import type { KeptCells, KvRoom } from './kv-room.js'
import { layersOf, reusable } from './reusable.js'

/** The sequence that a chat keeps between its answers. Who needs room in the KV cache may take what an idle one has there. */
export class ChatSequence implements KeptSequence {
  private sequence: Sequence | null = null
  private fed: readonly number[] = []
  private ran = 'all'
  private kept: KeptCells | null = null

  constructor(
    private readonly engine: Engine,
    private readonly room: KvRoom,
  ) {}

  get idle(): KeptCells | null {
    return this.kept
  }

  open(prompt: readonly number[], depth: TokenDepth): Sequence {
    this.kept = null
    this.sequence ??= this.engine.createSequence()
    const length = reusable(this.sequence, this.ran, this.fed, prompt, depth)
    this.sequence.truncate(length)
    if (length === 0) this.ran = layersOf(depth, this.engine.layers)
    return this.sequence
  }

  close(fed: readonly number[]): void {
    if (this.sequence === null || fed.length === 0) {
      this.forget()
      return
    }
    this.fed = fed
    this.kept = { cells: this.sequence.slot.capacity, forget: () => this.forget() }
    this.room.keep(this.kept)
  }

  /** Gives back what it has in the cache: the next prompt is fed from its beginning. */
  forget(): void {
    if (this.kept !== null) this.room.wake(this.kept)
    this.kept = null
    this.sequence?.dispose()
    this.sequence = null
    this.fed = []
  }
}
