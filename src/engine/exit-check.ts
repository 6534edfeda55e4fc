import { features, type TopTwo } from '../depth/features.js'
import type { Check, PolicyNeeds } from '../depth/policy.js'
import { InputError } from '../errors.js'

export interface CheckData {
  readonly layer: number
  /** The ids of a restricted check head, in the order of its rows. */
  readonly tokens?: readonly number[]
  /** Rows of the check head. */
  readonly top: Readonly<TopTwo>
  /** softmax of the check head at temperature 1; read at once, never kept. */
  readonly probabilities: Float32Array
  readonly logits?: Float32Array
  readonly hidden?: Float32Array
  readonly input?: Float32Array
  readonly attention?: Float32Array
  readonly mlp?: Float32Array
}

/** An exit check with what the policy asked for; reading more is an error that says what to declare. */
export function exitCheck(data: CheckData): Check {
  const { layer, probabilities, tokens } = data
  const { top, second } = data.top
  const topProb = probabilities[top] ?? Number.NaN
  const gap = topProb - (second < 0 ? 0 : (probabilities[second] as number))
  const need = (
    field: keyof CheckData & keyof Check,
    declare: keyof PolicyNeeds,
    asked: string = field,
  ): Float32Array => {
    const value = data[field] as Float32Array | undefined
    if (value === undefined)
      throw new InputError(`check.${asked} needs the policy to declare needs: { ${declare}: true }`)
    return value
  }
  return {
    layer,
    top: tokens?.[top] ?? top,
    second: tokens?.[second] ?? second,
    topProb,
    gap,
    get entropy() {
      return features(need('logits', 'logits', 'entropy')).entropy
    },
    get logits() {
      return need('logits', 'logits')
    },
    get hidden() {
      return need('hidden', 'hidden')
    },
    get input() {
      return need('input', 'hidden')
    },
    get attention() {
      return need('attention', 'sublayers')
    },
    get mlp() {
      return need('mlp', 'sublayers')
    },
  }
}
