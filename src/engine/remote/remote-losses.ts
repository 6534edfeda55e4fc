import type { Plan } from '../../depth/plan.js'
import type { PromptPass } from '../../depth/policy.js'
import type { ForcedText, PlanLosses, PlanLossOptions, TextRows } from '../known-text.js'
import type { WireRows, WrittenRows } from './calls.js'
import type { Handlers, Runner } from './runner.js'

type OfOptions = NonNullable<Parameters<PlanLosses['of']>[1]>
type See = Parameters<TextRows['head']>[1]

/** Losses of texts that a runner holds. */
export class RemoteLosses implements PlanLosses {
  /** Where the texts are open; a runner that is gone had them with it. */
  private holder: Runner | null = null

  constructor(
    private readonly number: number,
    private readonly alive: () => Promise<Runner>,
    private readonly texts: readonly ForcedText[],
    private readonly options: PlanLossOptions,
  ) {}

  async of(plan: Plan, { start, signal, ...options }: OfOptions = {}): Promise<Float64Array> {
    const handlers: Handlers = { startRow: (index: number) => start?.row(index) }
    const args = { losses: this.number, plan, options, startLayer: start?.layer ?? null }
    return (await this.open()).call('lossesOf', args, { handlers, signal })
  }

  async rise(
    { signal, ...rise }: Parameters<PlanLosses['rise']>[0],
    visit: Parameters<PlanLosses['rise']>[1],
  ): Promise<void> {
    const runner = await this.open()
    const rows = async (shown: WireRows): Promise<WrittenRows> => {
      const written = new Map<number, Float32Array>()
      await visit(this.rowsOf(runner, shown, written))
      return [...written]
    }
    await runner.call('riseLosses', { losses: this.number, rise }, { handlers: { rows }, signal })
  }

  async prompts(signal?: AbortSignal): Promise<PromptPass[]> {
    return [...(await (await this.open()).call('promptLosses', { losses: this.number }, { signal }))]
  }

  async dispose(): Promise<void> {
    if (this.holder?.alive) await this.holder.call('closeLosses', { losses: this.number })
    this.holder = null
  }

  private async open(): Promise<Runner> {
    const runner = await this.alive()
    if (this.holder !== runner) {
      const { number: losses, texts, options } = this
      await runner.call('openLosses', { losses, texts, options })
      this.holder = runner
    }
    return runner
  }

  private rowsOf(
    runner: Runner,
    { layer, count, hidden, mlp }: WireRows,
    written: Map<number, Float32Array>,
  ): TextRows {
    const width = hidden.length / count
    const of = (all: Float32Array, row: number): Float32Array => all.slice(row * width, (row + 1) * width)
    return {
      layer,
      count,
      hidden: (row) => written.get(row)?.slice() ?? of(hidden, row),
      mlp: (row) => of(mlp ?? new Float32Array(0), row),
      write: (row, values) => void written.set(row, values.slice()),
      head: async (rows, see, lens) => {
        const row = ({ index, logits, probabilities }: HeadRow): void => see(index, logits, probabilities)
        await runner.call('readHead', { losses: this.number, rows, lens: lens ?? null }, { handlers: { row } })
      },
    }
  }
}

interface HeadRow {
  readonly index: Parameters<See>[0]
  readonly logits: Parameters<See>[1]
  readonly probabilities: Parameters<See>[2]
}
