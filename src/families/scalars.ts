import type { TensorSource } from '../checkpoint/safetensors.js'
import { FileError } from '../errors.js'
import type { Facts } from './facts.js'
import type { FamilyTable } from './family.js'
import type { Hyperparameters } from './hyperparameters.js'
import { spellings } from './spellings.js'
import { layersAt } from './tensors.js'

/** Numbers of each layer that a checkpoint keeps as tensors and a package as metadata. */
const XIELU = {
  xieluAlphaN: 'mlp.act_fn.alpha_n',
  xieluAlphaP: 'mlp.act_fn.alpha_p',
  xieluBeta: 'mlp.act_fn.beta',
  xieluEps: 'mlp.act_fn.eps',
} as const
/** What transformers starts from and keeps, where a checkpoint does not save it. */
const FIXED = { xieluBeta: 0.5, xieluEps: -1e-6 } as const

/** The facts that a checkpoint's tensors tell. */
export async function scalarFacts(
  table: FamilyTable,
  { layers }: Hyperparameters,
  weights: TensorSource,
): Promise<Partial<Facts>> {
  if (table.activation !== 'xielu') return {}
  const facts: Record<string, number[]> = {}
  for (const [fact, source] of Object.entries(XIELU)) {
    facts[fact] = []
    for (let l = 0; l < layers; l++) {
      const name = `${layersAt(table)}.${l}.${source}`
      const found = spellings(name).find((spelling) => weights.tensors.has(spelling))
      const fixed = FIXED[fact as keyof typeof FIXED] as number | undefined
      if (found === undefined && fixed === undefined)
        throw new FileError(weights.fileOf(name), `tensor ${name} is missing`)
      const [value] = found === undefined ? [fixed] : await weights.readFloats(found)
      if (value === undefined || !Number.isFinite(value))
        throw new FileError(weights.fileOf(name), `tensor ${name} is no number`)
      facts[fact].push(value)
    }
  }
  return facts
}
