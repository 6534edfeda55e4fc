import type { Facts } from './facts.js'
import type { Hyperparameters } from './hyperparameters.js'

/** Hyperparameters of a model that has these layers and no others. */
export function keepLayers(h: Hyperparameters, plan: readonly number[]): Hyperparameters {
  const layer = plan.map((l) => h.layer[l] as Hyperparameters['layer'][number])
  const lists = [
    'layerHeads',
    'layerKvHeads',
    'layerFeedForward',
    'xieluAlphaN',
    'xieluAlphaP',
    'xieluBeta',
    'xieluEps',
  ]
  const kept = lists.flatMap((name) => {
    const list = h.facts[name as keyof Facts] as readonly number[] | undefined
    return list === undefined ? [] : [[name, plan.map((l) => list[l])]]
  })
  const dense = [...plan.keys()].filter((i) => layer[i]?.routed === false)
  const turned = layer.map(({ rope }) => (rope === null ? 0 : 1))
  const facts: Facts = {
    ...h.facts,
    ...Object.fromEntries(kept),
    layers: plan.length,
    ...(h.experts !== null && dense.length > 0 && { denseLayers: dense }),
    ...(h.ropes !== null && turned.includes(0) && { rotatedLayers: turned }),
  }
  return { ...h, layers: plan.length, layer, facts }
}

/** True where all layers are alike in what differs from layer to layer. */
export function haveSameLayers(a: Hyperparameters, b: Hyperparameters): boolean {
  return JSON.stringify(a.layer) === JSON.stringify(b.layer)
}
