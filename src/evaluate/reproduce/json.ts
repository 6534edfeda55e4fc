import { snakeKeys } from '../report/json.js'
import type { ReproducedCell } from './adainfer.js'
import type { Reproduction } from './page.js'
import { CLAIMS, PUBLISHED } from './published.js'

/** `shoal reproduce adainfer --json`; docs/json/reproduce.schema.json describes it. */
export function reproductionJson({ cells, missing, date, seed, limit }: Reproduction): object {
  return {
    reproduces: 'adainfer',
    date,
    seed,
    limit,
    cells: cells.map(cellJson),
    published: PUBLISHED.map(({ accuracyDifference, depthMean, flopsRatio, ...figure }) => ({
      ...figure,
      accuracy_difference: accuracyDifference,
      depth_mean: depthMean,
      flops_ratio: flopsRatio,
    })),
    claims: CLAIMS,
    missing,
  }
}

function cellJson({ set, result, ...cell }: ReproducedCell): object {
  const { model, quantization, layers, group, shots, rule, trained, threshold, note } = cell
  return {
    model,
    quantization,
    layers,
    task: set,
    group,
    shots,
    rule,
    trained,
    threshold,
    note,
    result: result && {
      prompts: result.prompts,
      skipped: result.skipped,
      shots_used: result.shotsUsed,
      beyond_window: result.beyondWindow,
      accuracy: snakeKeys(result.accuracy),
      accuracy_difference: snakeKeys(result.accuracyDifference),
      agreement: snakeKeys(result.agreement),
      depth_mean: snakeKeys(result.depthMean),
      pruning_ratio: result.pruningRatio,
      flops_ratio: result.flopsRatio,
      flops_ratio_with_checks: result.flopsRatioWithChecks,
    },
  }
}
