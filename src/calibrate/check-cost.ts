import type { ExitPolicy, PolicyNeeds } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import { medianRatio } from './quantile.js'
import type { RecordOptions } from './record.js'

const ROUNDS = 9

export interface CheckCostOptions extends RecordOptions {
  readonly needs?: PolicyNeeds
  readonly signal?: AbortSignal
}

/**
 * What an exit check costs in layers, for prompts of this length: a pass that checks after every layer beside one that
 * does not, in turn; the median of the rounds' ratios.
 */
export async function measureCheckCost(
  model: Model,
  ids: readonly number[],
  { checkTokens = null, lens, needs = {}, signal }: CheckCostOptions = {},
): Promise<number> {
  const { layers } = model.hyperparameters
  const looks: ExitPolicy = {
    kind: 'exit',
    spec: 'checks that never exit',
    ...(checkTokens === null ? {} : { checkTokens }),
    ...(lens === undefined ? {} : { lens }),
    needs,
    checkLayers: () => Array.from({ length: layers - 1 }, (_, layer) => layer),
    exits: () => false,
  }
  const times = { full: [] as number[], checked: [] as number[] }
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, depth] of [['full', 'full'] as const, ['checked', looks] as const]) {
      const { ms } = await model.predict(ids, { depth, ...(signal === undefined ? {} : { signal }) })
      // The first round builds graphs.
      if (round > 0) times[name].push(ms)
    }
  }
  const more = medianRatio(times.checked, times.full) - 1
  return Math.max(0, (more * layers) / (layers - 1))
}
