import { stepMs } from '../depth/measurement.js'
import type { Model, StepCosts } from '../engine/api.js'
import { type Cli, printJson } from './cli.js'
import { withMeasuring } from './generation-options.js'
import { printTable } from './table.js'

/** `shoal bench --profile`: measures anew what a decode step costs, and keeps it for every later run. */
export async function benchProfile(
  cli: Cli,
  model: Model,
  { batch, json }: { readonly batch: readonly number[]; readonly json?: boolean },
): Promise<void> {
  const profile: StepCosts[] = []
  for (const size of new Set(batch)) {
    profile.push(await withMeasuring(cli, (measuring) => model.costs(size, { ...measuring, anew: true })))
  }
  if (json) {
    printJson(cli, {
      model: model.name,
      quantization: model.quantization,
      layers: model.hyperparameters.layers,
      profile: profile.map(profileJson),
    })
    return
  }
  printTable(cli, [
    ['batch', 'step ms', 'layer', 'head', 'check', 'bridge', 'rest'],
    ...profile.map(({ batch: size, fullMs, layerMs, headMs, checkMs, bridgeMs, restMs }) => [
      String(size),
      ...[fullMs, layerMs, headMs, checkMs, bridgeMs, restMs].map((ms) => ms.toPrecision(3)),
    ]),
  ])
  const sizes = profile[0]?.plans.map(({ layers }) => layers) ?? []
  cli.stdout.write('\nspeedup over full depth by layers kept\n')
  printTable(cli, [
    ['batch', ...sizes.map(String)],
    ...profile.map((costs) => [
      String(costs.batch),
      ...sizes.map((n) => `${(costs.fullMs / stepMs(costs, n)).toFixed(2)}x`),
    ]),
  ])
  cli.stdout.write(
    `\n${model.name} · ${model.quantization} · ${model.hyperparameters.layers} layers · ms per step of one token for each sequence\n`,
  )
}

function profileJson({ batch, fullMs, layerMs, headMs, checkMs, bridgeMs, restMs, plans }: StepCosts): object {
  return {
    batch,
    full_ms: fullMs,
    layer_ms: layerMs,
    head_ms: headMs,
    check_ms: checkMs,
    bridge_ms: bridgeMs,
    rest_ms: restMs,
    plans: plans.map(({ layers, ms }) => ({ layers, ms, speedup: fullMs / ms })),
  }
}
