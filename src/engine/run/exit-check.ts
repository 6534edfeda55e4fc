import { features, type TopTwo } from '../../depth/features.js'
import type { Check, PolicyNeeds } from '../../depth/policy.js'
import { InputError } from '../../errors.js'

/** What every exit check tells. */
export type CheckNumbers = Pick<Check, 'layer' | 'top' | 'second' | 'topProb' | 'gap'>

/** What a policy has to ask for. */
export type CheckRows = Partial<Pick<Check, 'logits' | 'hidden' | 'input' | 'attention' | 'mlp'>>

/**
 * The numbers of a check head's row.
 * @param top indexes of its two best
 * @param probabilities its softmax at temperature 1; read at once, never kept
 * @param tokens the ids of a restricted check head, in the order of its rows
 */
export function checkNumbers(
  layer: number,
  { top, second }: Readonly<TopTwo>,
  probabilities: Float32Array,
  tokens?: readonly number[],
): CheckNumbers {
  const topProb = probabilities[top] ?? Number.NaN
  const gap = topProb - (second < 0 ? 0 : (probabilities[second] as number))
  return { layer, top: tokens?.[top] ?? top, second: tokens?.[second] ?? second, topProb, gap }
}

/** An exit check with what the policy asked for; reading more is an error that says what to declare. */
export function exitCheck(numbers: CheckNumbers, rows: CheckRows): Check {
  const need = (field: keyof CheckRows, declare: keyof PolicyNeeds, asked: string = field): Float32Array => {
    const value = rows[field]
    if (value === undefined)
      throw new InputError(`check.${asked} needs the policy to declare needs: { ${declare}: true }`)
    return value
  }
  return {
    ...numbers,
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
