import { DEFAULT_TARGET } from '../dist/calibrate/settings.js'
import { chooseThreshold, sweepDecisions } from '../dist/calibrate/threshold.js'
import { InputError } from '../dist/errors.js'
import { bootstrapMean, ratioBootstrap, SHARE } from '../dist/evaluate/bootstrap.js'
import { isGoldToken } from '../dist/tasks/index.js'
import { spread } from '../dist/tasks/spread.js'

/** Null where nothing can be fitted: every layer agrees already, or full depth is right nowhere. */
export function attempt(make) {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    console.log(error.message)
    return null
  }
}

/** The threshold of the gap that loses a point at most, chosen as those of classifiers are. */
export function gapThreshold(train) {
  const checked = Array.from({ length: train.layers - 1 }, (_, layer) => layer)
  const decisions = train.instances.map(({ features }) => features.gap.subarray(0, train.layers - 1))
  const point = attempt(() => chooseThreshold(sweepDecisions(decisions, checked, train), DEFAULT_TARGET))
  return point?.threshold ?? 1
}

/**
 * Prompts spread over all tasks, through the engine, full depth and every rule in turn: token and depth as on traces, and every time.
 * @param engines {name, spec, exits}: exits of the traces, undefined where there are none
 */
export async function throughEngine(model, asked, engines, count) {
  const some = spread([...asked.entries()], count)
  const runs = [{ name: 'full', spec: 'full' }, ...engines]
  const seen = new Map(runs.map(({ name }) => [name, []]))
  for (const { spec } of runs) await model.predict(asked[0].prompt.ids, { depth: spec })
  for (const [turn, [i, { prompt }]] of some.entries()) {
    for (let k = 0; k < runs.length; k++) {
      const { name, spec, exits } = runs[(k + turn) % runs.length]
      const { ms, checkMs, depth, top } = await model.predict(prompt.ids, { depth: spec })
      const differs = exits !== undefined && depth !== exits[i] + 1
      seen.get(name).push({ ms, checkMs, depth, right: Number(isGoldToken(top, prompt.golds)), differs })
    }
  }
  const sum = (values) => values.reduce((total, value) => total + value, 0)
  const full = seen.get('full').map(({ ms }) => ms)
  return runs.map(({ name }) => {
    const own = seen.get(name)
    const of = (value) => own.map(value)
    const saved = 1 - sum(of(({ depth }) => depth)) / own.length / model.hyperparameters.layers
    const checks = sum(of(({ checkMs }) => checkMs))
    return {
      name,
      n: own.length,
      accuracy: bootstrapMean(
        of(({ right }) => right),
        { range: SHARE },
      ),
      depth: bootstrapMean(of(({ depth }) => depth)),
      ms: bootstrapMean(of(({ ms }) => ms)),
      time: ratioBootstrap(
        of(({ ms }) => ms),
        full,
      ),
      checks: checks / sum(of(({ ms }) => ms)),
      // Of the time that the layers saved would have taken.
      price: checks / (saved * sum(full)),
      saved: (1 - sum(of(({ ms }) => ms)) / sum(full)) / saved,
      differ: sum(of(({ differs }) => Number(differs))),
    }
  })
}
