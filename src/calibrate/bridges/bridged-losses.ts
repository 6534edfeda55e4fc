import { damaged, type Journal, openJournal, type RunFacts } from '../../checkpoint/journal.js'
import { planGaps } from '../../depth/bridge.js'
import { allLayers, type Plan } from '../../depth/plan.js'
import type { Model } from '../../engine/api.js'
import type { ForcedText, PlanLosses } from '../../engine/known-text.js'
import { Backend } from '../../ggml/backend.js'
import type { JsonObject } from '../../json.js'
import { tokensOf } from '../search-texts.js'
import { bridged, fitBridges, type MapOptions } from './fit.js'
import { captureRows, type FullRows } from './full-rows.js'
import { GapPrices, measureGapPrices } from './gap-prices.js'

/** Of fits that only compare plans: which ridge it is hardly matters. */
const QUICK_RIDGE = 0.1

export interface BridgedLossesOptions extends Omit<MapOptions, 'mlpScale' | 'on'> {
  readonly prompt: 'full' | 'plan'
  /** Where results are kept until they are not needed any more; null to keep none. */
  readonly journal: string | null
  /** What they depend on. */
  readonly run: RunFacts
  readonly signal?: AbortSignal | undefined
}

/**
 * Losses of plans with bridges over their gaps, fitted on some texts and measured on others. Below the first gap every plan is the full model:
 * its rows after every layer are kept for all texts, and a plan begins where it first differs.
 */
export class BridgedLosses {
  private readonly known = new Map<string, number>()
  private prices: GapPrices | null = null
  private readonly journal: Journal | null
  private readonly fitLosses: PlanLosses
  private readonly tryLosses: PlanLosses
  private rows: { readonly fit: FullRows; readonly try: FullRows } | null = null
  private readonly layers: number

  /** @param texts to fit on and to measure on */
  constructor(
    model: Model,
    private readonly texts: { readonly fit: readonly ForcedText[]; readonly try: readonly ForcedText[] },
    private readonly options: BridgedLossesOptions,
  ) {
    const { prompt, journal: path, run } = options
    this.layers = model.hyperparameters.layers
    this.journal =
      path === null
        ? null
        : openJournal(path, 'shoal-search-bridged', run, (record, line) => {
            if (!this.take(record)) throw damaged(path, line)
          })
    this.fitLosses = model.planLosses(texts.fit, { prompt })
    this.tryLosses = model.planLosses(texts.try, { prompt })
  }

  /** Plans that were measured. */
  get count(): number {
    return this.known.size
  }

  /** What gaps cost, measured once. @param onLayer called after every layer */
  async gapPrices(onLayer?: () => void): Promise<GapPrices> {
    if (this.prices === null) {
      const { signal } = this.options
      this.prices = await measureGapPrices(this.fitLosses, this.layers, { signal, onLayer })
      this.journal?.append({ prices: this.prices.entries() })
    }
    return this.prices
  }

  /** Loss in nats per token of a plan with its bridges. */
  async of(plan: Plan): Promise<number> {
    const before = this.known.get(plan.join())
    if (before !== undefined) return before
    const { signal } = this.options
    const full = await this.fullRows()
    const fitted = await fitBridges(this.fitLosses, this.layers, plan, full.fit, {
      ...this.options,
      on: 'hidden',
      ridges: [QUICK_RIDGE],
    })
    const [gap] = planGaps(plan, this.layers)
    const bridges = fitted.map(({ bridge }) => bridge)
    const [first] = bridges
    let each: Float64Array
    if (gap === undefined || first === undefined) each = await this.tryLosses.of(plan, signal && { signal })
    else {
      const hidden = full.try.hidden.get(gap.from)
      if (hidden === undefined) throw new Error(`no rows were kept after layer ${gap.from}`)
      const backend = new Backend()
      try {
        const start = bridged(backend, first, { hidden, mlp: null })
        const from = { layer: gap.to, row: (i: number) => start.row(i) }
        each = await this.tryLosses.of(plan, { bridges, start: from, ...(signal && { signal }) })
      } finally {
        await backend.dispose()
      }
    }
    const loss = each.reduce((sum, value) => sum + value, 0) / tokensOf(this.texts.try)
    this.known.set(plan.join(), loss)
    this.journal?.append({ plan, loss })
    return loss
  }

  /** @param remove where what was measured is kept elsewhere */
  async close(remove: boolean): Promise<void> {
    this.journal?.close({ remove })
    await this.fitLosses.dispose()
    await this.tryLosses.dispose()
  }

  private async fullRows(): Promise<{ readonly fit: FullRows; readonly try: FullRows }> {
    if (this.rows === null) {
      const { signal } = this.options
      const after = allLayers(this.layers)
      this.rows = {
        fit: await captureRows(this.fitLosses, { after, signal }),
        try: await captureRows(this.tryLosses, { after: after.slice(0, -1), signal }),
      }
    }
    return this.rows
  }

  /** False where a record cannot be one of this search. */
  private take({ plan, loss, prices }: JsonObject): boolean {
    if (Array.isArray(prices)) {
      if (!prices.every(isPrice)) return false
      this.prices = new GapPrices(prices)
      return true
    }
    if (!Array.isArray(plan) || typeof loss !== 'number' || !plan.every(Number.isSafeInteger)) return false
    this.known.set(plan.join(), loss)
    return true
  }
}

function isPrice(value: unknown): value is { from: number; to: number; price: number } {
  const { from, to, price } = (value ?? {}) as JsonObject
  return [from, to, price].every((number) => typeof number === 'number')
}
