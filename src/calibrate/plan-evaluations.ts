import { damaged, type Journal, openJournal, type RunFacts } from '../checkpoint/journal.js'
import type { Plan } from '../depth/plan.js'
import type { ForcedText, PlanLosses } from '../engine/known-text.js'
import type { JsonObject } from '../json.js'
import { SCREEN_SHARE } from './plan-search.js'

/** Losses of sets of layers on the texts of a search: each text once for each set, and kept in a journal where there is one. */
export class PlanEvaluations {
  /** Sets that were evaluated on all texts or a part of them. */
  get count(): number {
    return this.known.size
  }

  private readonly losses: PlanLosses
  private readonly tokens: readonly number[]
  private readonly screen: number
  private readonly journal: Journal | null
  private readonly known = new Map<string, number[]>()

  /** @param path of the journal; null to keep nothing */
  constructor(losses: PlanLosses, texts: readonly ForcedText[], path: string | null, run: RunFacts) {
    this.losses = losses
    this.tokens = texts.map(({ ids, promptLength }) => ids.length - promptLength)
    this.screen = Math.max(1, Math.round(texts.length * SCREEN_SHARE))
    this.journal =
      path === null
        ? null
        : openJournal(path, 'shoal-search', run, (record, line) => {
            if (!this.take(record)) throw damaged(path, line)
          })
  }

  /** Loss in nats per token. */
  async loss(plan: Plan, part: 'screen' | 'all', signal?: AbortSignal): Promise<number> {
    const to = part === 'screen' ? this.screen : this.tokens.length
    const each = await this.each(plan, to, signal)
    return sum(each.slice(0, to)) / sum(this.tokens.slice(0, to))
  }

  /** Per text: summed loss in nats of a set. */
  async each(plan: Plan, to = this.tokens.length, signal?: AbortSignal): Promise<readonly number[]> {
    const from = this.known.get(plan.join())?.length ?? 0
    if (from < to) {
      const options = { from, to, ...(signal === undefined ? {} : { signal }) }
      const record = { plan, from, losses: Array.from(await this.losses.of(plan, options)) }
      this.take(record)
      this.journal?.append(record)
    }
    return this.known.get(plan.join()) as number[]
  }

  /** @param remove where what it holds is kept elsewhere */
  close(remove: boolean): void {
    this.journal?.close({ remove })
  }

  /** False where a record cannot be one of this search. */
  private take({ plan, from, losses }: JsonObject): boolean {
    if (!isNumbers(plan) || !isNumbers(losses)) return false
    const before = this.known.get(plan.join()) ?? []
    if (from !== before.length || before.length + losses.length > this.tokens.length) return false
    this.known.set(plan.join(), [...before, ...losses])
    return true
  }
}

function isNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((x) => typeof x === 'number' && Number.isFinite(x))
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
