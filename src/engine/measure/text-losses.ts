import type { Bridge } from '../../depth/bridge.js'
import { createTopTwo, sumExp, topTwo } from '../../depth/features.js'
import { allLayers, type Plan } from '../../depth/plan.js'
import type { PromptPass } from '../../depth/policy.js'
import type { Sequence } from '../cache/sequence.js'
import type { ForcedText, TextRows, TextStart } from '../known-text.js'
import { promptPass } from '../plan/token-depth.js'
import { checkTexts } from '../prompt-ids.js'
import { abortedError } from '../run/aborted.js'
import type { Engine } from '../run/engine.js'
import type { Feed, Place, Rise } from '../run/step.js'

/** Rows that texts take together in one run at most; a longer text runs alone. */
const ROWS_TOGETHER = 256

interface Opened {
  readonly sequence: Sequence
  /** Loss of the first token after the prompt, in nats; 0 where the prompt runs the plan too. */
  readonly firstLoss: number
  readonly pass: PromptPass
}

interface LossOptions {
  readonly bridges?: readonly Bridge[]
  readonly start?: TextStart
  readonly signal?: AbortSignal | undefined
}

interface OpenText extends ForcedText, Opened {
  readonly index: number
}

/**
 * Losses of texts under one plan after another. A text's tokens are known, so all that a plan would be fed one by one go
 * up its layers as one causal run: the same rows, the same keys and values, and a pass over the weights for hundreds of
 * them. Prompts run every layer once and stay in the cache; the rest is forgotten after each plan.
 */
export class TextLosses {
  private readonly engine: Engine
  private readonly texts: readonly ForcedText[]
  private readonly prompt: 'full' | 'plan'
  private readonly opened: (Opened | undefined)[]

  constructor(engine: Engine, texts: readonly ForcedText[], prompt: 'full' | 'plan') {
    checkTexts(texts)
    this.engine = engine
    this.texts = texts
    this.prompt = prompt
    this.opened = texts.map(() => undefined)
  }

  /** Per text `from` .. `to - 1`: summed loss in nats of its tokens after the prompt. */
  async of(
    layers: Plan,
    from: number,
    to: number,
    { bridges = [], start, signal }: LossOptions = {},
  ): Promise<Float64Array> {
    const losses = new Float64Array(to - from)
    const run = start === undefined ? layers : layers.filter((layer) => layer >= start.layer)
    const over = start === undefined ? bridges : bridges.filter((bridge) => bridge.from >= start.layer)
    let before = 0
    for (const group of groups(this.texts, from, to, (text) => this.fed(text).length)) {
      await this.withOpen(group, signal, async (texts) => {
        for (const { index, firstLoss } of texts) losses[index - from] = firstLoss
        const feeds = this.feeds(texts, signal)
        if (feeds.length === 0) return
        const places: (Place & { readonly index: number; readonly next: number })[] = texts.flatMap((t) =>
          t.ids.slice(this.first(t.promptLength)).map((next, i) => ({
            sequence: t.sequence,
            index: t.index,
            position: this.first(t.promptLength) - 1 + i,
            next,
          })),
        )
        const fed = this.places(texts)
        const first = before
        before += fed.length
        await this.engine.rise(feeds, { layers: run, bridges: over }, async (rows) => {
          if (rows.layer < 0 && start !== undefined) {
            for (const [i, place] of fed.entries()) rows.write(place.sequence, place.position, start.row(first + i))
          }
          if (rows.layer !== layers.at(-1)) return
          await rows.head(places, (i, logits, probabilities) => {
            const { index, next } = places[i] as (typeof places)[number]
            losses[index - from] = (losses[index - from] as number) + lossOf(logits, probabilities, next)
          })
        })
      })
    }
    return losses
  }

  /** Takes the rows of texts `from` .. `to - 1` together up the layers. */
  async rise(
    { from, to, ...rise }: Rise & { readonly from: number; readonly to: number },
    visit: (rows: TextRows) => void | Promise<void>,
    signal?: AbortSignal,
  ): Promise<void> {
    const all = Array.from({ length: to - from }, (_, i) => from + i)
    await this.withOpen(all, signal, async (texts) => {
      const places = this.places(texts)
      const at = (row: number): Place => places[row] as Place
      if (places.length === 0) return
      await this.engine.rise(this.feeds(texts, signal), rise, async (rows) => {
        await visit({
          layer: rows.layer,
          count: places.length,
          hidden: (row) => rows.hidden(at(row).sequence, at(row).position),
          mlp: (row) => rows.mlp(at(row).sequence, at(row).position),
          write: (row, values) => rows.write(at(row).sequence, at(row).position, values),
          head: (wanted, see, lens) => rows.head(wanted.map(at), see, lens),
        })
      })
    })
  }

  /** What the model says at full depth after each prompt. */
  async prompts(signal?: AbortSignal): Promise<PromptPass[]> {
    for (const group of groups(this.texts, 0, this.texts.length, ({ promptLength }) => promptLength)) {
      await this.open(group, signal)
    }
    return this.opened.map((o) => (o as Opened).pass)
  }

  dispose(): void {
    for (const open of this.opened) open?.sequence.dispose()
    this.opened.fill(undefined)
  }

  /** Works on texts whose prompts are in the cache, and forgets all but these after. */
  private async withOpen(
    group: readonly number[],
    signal: AbortSignal | undefined,
    work: (texts: readonly OpenText[]) => Promise<void>,
  ): Promise<void> {
    if (signal?.aborted) throw abortedError(signal.reason)
    await this.open(group, signal)
    const texts = group.map((i) => ({ index: i, ...(this.texts[i] as ForcedText), ...(this.opened[i] as Opened) }))
    try {
      await work(texts)
    } finally {
      for (const { sequence, promptLength } of texts) sequence.truncate(this.start(promptLength))
    }
  }

  private feeds(texts: readonly OpenText[], signal: AbortSignal | undefined): Omit<Feed, 'depth'>[] {
    return texts.flatMap(({ sequence, ids, promptLength }) => {
      const fed = this.fed({ ids, promptLength })
      return fed.length === 0 ? [] : [{ sequence, ids: fed, signal }]
    })
  }

  /** The rows that go through a plan, text by text. */
  private places(texts: readonly OpenText[]): Place[] {
    return texts.flatMap(({ sequence, ...text }) =>
      this.fed(text).map((_, i) => ({ sequence, position: this.start(text.promptLength) + i })),
    )
  }

  /** Tokens that go through a plan: all but the last, whose output nobody asks for. */
  private fed({ ids, promptLength }: ForcedText): readonly number[] {
    return ids.slice(this.start(promptLength), -1)
  }

  /** Positions that stay in the cache between two plans. */
  private start(promptLength: number): number {
    return this.prompt === 'full' ? promptLength : 0
  }

  /** The first token whose loss depends on the plan. */
  private first(promptLength: number): number {
    return this.prompt === 'full' ? promptLength + 1 : promptLength
  }

  private async open(group: readonly number[], signal: AbortSignal | undefined): Promise<void> {
    const fresh = group.filter((i) => this.opened[i] === undefined)
    if (fresh.length === 0) return
    const sequences = fresh.map(() => this.engine.createSequence())
    try {
      const outcomes = await this.engine.step(
        fresh.map((i, k) => {
          const { ids, promptLength } = this.texts[i] as ForcedText
          const depth = { kind: 'plan', layers: allLayers(this.engine.layers) } as const
          return { sequence: sequences[k] as Sequence, ids: ids.slice(0, promptLength), depth, signal }
        }),
      )
      fresh.forEach((i, k) => {
        const outcome = outcomes[k]
        if (outcome === undefined || 'error' in outcome) throw outcome?.error
        const { logits, logSumExp } = outcome.result
        const { ids, promptLength } = this.texts[i] as ForcedText
        const sequence = sequences[k] as Sequence
        sequence.truncate(this.start(promptLength))
        const firstLoss = this.prompt === 'full' ? logSumExp - (logits[ids[promptLength] as number] as number) : 0
        this.opened[i] = { sequence, firstLoss, pass: promptPass(logits) }
      })
    } catch (error) {
      fresh.forEach((i, k) => {
        if (this.opened[i] === undefined) sequences[k]?.dispose()
      })
      throw error
    }
  }
}

/** -ln of a token's probability; from the logits where it is too small for a float32 to hold it exactly. */
function lossOf(logits: Float32Array, probabilities: Float32Array, id: number): number {
  const p = probabilities[id] as number
  if (p > 1e-30) return -Math.log(p)
  const { topValue } = topTwo(logits, createTopTwo())
  return topValue + Math.log(sumExp(logits, topValue)) - (logits[id] as number)
}

/** Neighbours that fit into one run together. */
function groups<T>(items: readonly T[], from: number, to: number, rowsOf: (item: T) => number): number[][] {
  const all: number[][] = []
  let room = 0
  for (let i = from; i < to; i++) {
    const rows = rowsOf(items[i] as T)
    if (all.length === 0 || rows > room) {
      all.push([])
      room = ROWS_TOGETHER
    }
    all.at(-1)?.push(i)
    room -= rows
  }
  return all
}
