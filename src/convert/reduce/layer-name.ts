import type { Plan } from '../../depth/plan.js'

/** Gives the name that a tensor has where only some layers are kept; null where its layer is left out. */
export type KeptName = (name: string) => string | null

/**
 * Names of a checkpoint: layer l of the kept ones is called l.
 * @param layersAt `model.layers`; checkpoints saved without an LM head lack the first part, as `convert` knows
 */
export function keptName(layersAt: string, plan: Plan): KeptName {
  const short = layersAt.slice(layersAt.indexOf('.') + 1)
  return renamed([`${layersAt}.`, `${short}.`], plan)
}

/** Names of a GGUF file. */
export function keptGgufName(plan: Plan): KeptName {
  return renamed(['blk.'], plan)
}

function renamed(prefixes: readonly string[], plan: Plan): KeptName {
  const places = new Map(plan.map((layer, i) => [String(layer), i]))
  return (name) => {
    const prefix = prefixes.find((p) => name.startsWith(p))
    const match = prefix === undefined ? null : /^(\d+)\.(.*)$/.exec(name.slice(prefix.length))
    if (match === null) return name
    const place = places.get(match[1] as string)
    return place === undefined ? null : `${prefix}${place}.${match[2]}`
  }
}
