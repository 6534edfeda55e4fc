import { createTopTwo, type TopTwo, topTwo } from '../../depth/features.js'
import type { HiddenRows, RowIndex } from '../cache/hidden-rows.js'
import { after, checksAt, wantedFrom } from '../plan/climber.js'
import { attempt } from './attempt.js'
import type { LoadedBridge } from './bridges/bridge-weights.js'
import { checkNumbers, exitCheck } from './exit-check.js'
import type { Head } from './head.js'
import type { Heads } from './heads.js'
import type { SaidRow } from './step.js'
import { checkTokensOf, type Traveller } from './traveller.js'

interface Stopped {
  readonly traveller: Traveller
  readonly head: Head
  /** Which row of the head is the traveller's last, and how many before it are its earlier ones. */
  readonly index: number
  readonly earlier: number
}

/** Exit checks, and what tokens say where they stop. */
export class Decisions {
  private readonly top = createTopTwo()

  constructor(
    private readonly heads: Heads,
    private readonly rows: HiddenRows,
  ) {}

  /** Asks the policies of those who check after a layer; all that stop there have no next layer then. */
  async decide(group: readonly Traveller[], layer: number): Promise<void> {
    for (const t of group) t.next = t.error === null ? after(t, layer) : null
    const asking: Traveller[][] = []
    for (const t of group) {
      if (t.error !== null) continue
      if (checksAt(t, layer)) {
        const same = asking.find(([first]) => first && checkAlike(first, t, layer))
        if (same) same.push(t)
        else asking.push([t])
      } else if (t.next === null) t.stoppedAt = layer
    }
    for (const travellers of asking) {
      for (const stopped of await this.check(travellers, layer)) {
        stopped.traveller.next = null
        stopped.traveller.stoppedAt = layer
        // A cut-down head decides only; the token itself always comes from the whole one.
        if (checkTokensOf(stopped.traveller) === null) finish(stopped, layer, this.top)
      }
    }
  }

  /** Gives all that have stopped and said nothing yet their results: one pass of the head for each lens that they read through. */
  async speak(stopped: readonly Traveller[]): Promise<void> {
    const through = new Map<LoadedBridge | null, Traveller[]>()
    for (const t of stopped) {
      const lens = lensOf(t, t.stoppedAt as number)
      through.set(lens, [...(through.get(lens) ?? []), t])
    }
    for (const [lens, travellers] of through) {
      const rows = travellers.map((t) => wantedRows(t, t.stoppedAt as number))
      const head = await this.heads.run(rows.flat(), null, lens)
      let end = 0
      travellers.forEach((traveller, i) => {
        const count = (rows[i] as RowIndex[]).length
        end += count
        finish({ traveller, head, index: end - 1, earlier: count - 1 }, traveller.stoppedAt as number, this.top)
      })
    }
  }

  /** Asks the policies of travellers that share a check head and a lens, and gives those that stop. */
  private async check(asking: readonly Traveller[], layer: number): Promise<Stopped[]> {
    const started = performance.now()
    const [first] = asking as [Traveller]
    const tokens = checkTokensOf(first)
    const head = await this.heads.run(asking.map(lastRow), tokens, lensOf(first, layer))
    const stopped: Stopped[] = []
    asking.forEach((traveller, index) => {
      const exits = attempt(() => this.exits({ traveller, head, index, earlier: 0 }, layer, tokens))
      if ('error' in exits) {
        traveller.error = exits.error
        traveller.next = null
      } else if (exits.value || traveller.next === null) stopped.push({ traveller, head, index, earlier: 0 })
    })
    const share = (performance.now() - started) / asking.length
    for (const t of asking) t.checkMs += share
    return stopped
  }

  private exits({ traveller: t, head, index }: Stopped, layer: number, tokens: readonly number[] | null): boolean {
    if (t.depth.kind !== 'exit') return false
    const { needs } = t.depth
    const logits = head.logitsOf(index)
    return t.depth.exits(
      exitCheck(checkNumbers(layer, topTwo(logits, this.top), head.probabilitiesOf(index), tokens ?? undefined), {
        ...(needs.logits ? { logits: logits.slice() } : {}),
        ...(needs.hidden ? { hidden: this.rows.read(lastRow(t)), input: t.input as Float32Array } : {}),
        ...(needs.sublayers ? t.sublayers : {}),
      }),
    )
  }
}

/** Reads a token's result off the head of the layer that it stops at. */
function finish({ traveller: t, head, index, earlier }: Stopped, layer: number, room: TopTwo): void {
  const say = (row: number, place: number): SaidRow => {
    const logits = t.sequence.keepLogits(head.logitsOf(row), place)
    const { top, topValue } = topTwo(logits, room)
    return { logits, top, topValue, logSumExp: topValue - Math.log(head.probabilitiesOf(row)[top] ?? Number.NaN) }
  }
  t.result = {
    ...say(index, 0),
    earlier: Array.from({ length: earlier }, (_, i) => say(index - earlier + i, i + 1)),
    depth: t.depth.kind === 'plan' ? t.depth.layers.length : layer + 1,
    rowLayers: t.rowLayers,
    layerPasses: t.layerPasses,
    batch: t.batch,
    checkMs: t.checkMs,
  }
}

/** True where two travellers that check after a layer read the same head through the same lens. */
function checkAlike(a: Traveller, b: Traveller, layer: number): boolean {
  return checkTokensOf(a) === checkTokensOf(b) && lensOf(a, layer) === lensOf(b, layer)
}

/** What a traveller's rows after a layer go through before the head. */
function lensOf(t: Traveller, layer: number): LoadedBridge | null {
  return t.lens.get(layer) ?? null
}

/** The rows whose logits are wanted of a traveller that stops after a layer, the last one last. */
function wantedRows(t: Traveller, layer: number): RowIndex[] {
  const from = wantedFrom(t, layer)
  return Array.from({ length: t.end - from }, (_, i) => t.sequence.waitingRow(from + i))
}

function lastRow(t: Traveller): RowIndex {
  return t.sequence.waitingRow(t.end - 1)
}
