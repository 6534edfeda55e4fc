import { createTopTwo, type TopTwo, topTwo } from '../depth/features.js'
import { attempt } from './attempt.js'
import { exitCheck } from './exit-check.js'
import type { Head } from './head.js'
import type { Heads } from './heads.js'
import type { HiddenRows, RowIndex } from './hidden-rows.js'
import { after, checksAt, checkTokensOf, type Traveller, wantedFrom } from './traveller.js'

interface Stopped {
  readonly traveller: Traveller
  readonly head: Head
  /** Which row of the head is the traveller's last, and how many before it are its earlier ones. */
  readonly index: number
  readonly earlier: number
}

/** Exit checks, and what a token says where it stops. */
export class Decisions {
  private readonly top = createTopTwo()

  constructor(
    private readonly heads: Heads,
    private readonly rows: HiddenRows,
  ) {}

  /** Asks the policies of those who check after a layer, and gives all that stop there, with their results. */
  async decide(group: readonly Traveller[], layer: number): Promise<Traveller[]> {
    for (const t of group) t.next = t.error === null ? after(t, layer) : null
    const stopping: Traveller[] = []
    const asking = new Map<readonly number[] | null, Traveller[]>()
    for (const t of group) {
      if (t.error !== null) continue
      if (checksAt(t, layer)) asking.set(checkTokensOf(t), [...(asking.get(checkTokensOf(t)) ?? []), t])
      else if (t.next === null) stopping.push(t)
    }
    // A cut-down head decides only; the token itself always comes from the whole one.
    for (const [tokens, travellers] of asking) {
      if (tokens !== null) stopping.push(...(await this.check(travellers, layer, tokens)).map((s) => s.traveller))
    }
    const stopped: Traveller[] = []
    if (stopping.length > 0) {
      const rows = stopping.map((t) => wantedRows(t, layer))
      const head = await this.heads.run(rows.flat())
      let end = 0
      stopping.forEach((traveller, i) => {
        const count = (rows[i] as RowIndex[]).length
        end += count
        stopped.push(finish({ traveller, head, index: end - 1, earlier: count - 1 }, layer, this.top))
      })
    }
    const whole = asking.get(null)
    if (whole !== undefined) {
      stopped.push(...(await this.check(whole, layer, null)).map((s) => finish(s, layer, this.top)))
    }
    return stopped
  }

  /** Asks the policies of travellers that share a check head, and gives those that stop. */
  private async check(
    asking: readonly Traveller[],
    layer: number,
    tokens: readonly number[] | null,
  ): Promise<Stopped[]> {
    const started = performance.now()
    const head = await this.heads.run(asking.map(lastRow), tokens)
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
      exitCheck({
        layer,
        ...(tokens === null ? {} : { tokens }),
        top: topTwo(logits, this.top),
        probabilities: head.probabilitiesOf(index),
        ...(needs.logits ? { logits: logits.slice() } : {}),
        ...(needs.hidden ? { hidden: this.rows.read(lastRow(t)), input: t.input as Float32Array } : {}),
        ...(needs.sublayers ? t.sublayers : {}),
      }),
    )
  }
}

/** Reads a token's result off the head of the layer that it stops at. */
function finish({ traveller: t, head, index, earlier }: Stopped, layer: number, room: TopTwo): Traveller {
  const logits = head.logitsOf(index).slice()
  const { top, topValue } = topTwo(logits, room)
  t.next = null
  t.result = {
    logits,
    earlier: Array.from({ length: earlier }, (_, i) => head.logitsOf(index - earlier + i).slice()),
    top,
    topValue,
    logSumExp: topValue - Math.log(head.probabilitiesOf(index)[top] ?? Number.NaN),
    depth: t.depth.kind === 'plan' ? t.depth.layers.length : layer + 1,
    rowLayers: t.rowLayers,
    layerPasses: t.layerPasses,
    batch: t.batch,
    checkMs: t.checkMs,
  }
  return t
}

/** The rows whose logits are wanted of a traveller that stops after a layer, the last one last. */
function wantedRows(t: Traveller, layer: number): RowIndex[] {
  const from = wantedFrom(t, layer)
  return Array.from({ length: t.end - from }, (_, i) => t.sequence.waitingRow(from + i))
}

function lastRow(t: Traveller): RowIndex {
  return t.sequence.waitingRow(t.end - 1)
}
