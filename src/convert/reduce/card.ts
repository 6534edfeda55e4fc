import type { Plan } from '../../depth/plan.js'

export interface CardFacts {
  readonly name: string
  readonly baseModel: string
  /** L of the base model. */
  readonly layers: number
  readonly plan: Plan
  /** Layers of the base model that a bridge was folded into. */
  readonly folded: readonly number[]
  /** Perplexities that were measured, a line each. */
  readonly measured: readonly string[]
  /** Licence lines of the base model's card. */
  readonly licence: readonly string[]
}

/** README.md of an exported folder. */
export function modelCard(facts: CardFacts): string {
  const { name, baseModel, layers, plan, measured, licence, folded } = facts
  const left = Array.from({ length: layers }, (_, layer) => layer).filter((layer) => !plan.includes(layer))
  return [
    '---',
    ...licence,
    `base_model: ${baseModel}`,
    '---',
    `# ${name}`,
    '',
    `${baseModel} with ${plan.length} of its ${layers} layers: ${plan.join(', ')}. Left out, and not in these files: ${left.join(', ')}.`,
    ...(folded.length === 0
      ? ['Nothing was trained on the way: the tensors are those of the base model, byte for byte.']
      : [
          'Linear maps that make up for them were fitted in closed form and folded into the down projections of layers',
          `${folded.join(', ')} of the base model. Nothing was trained: all other tensors are those of the base model, byte for byte.`,
        ]),
    '',
    `Written by \`shoal export --depth ${folded.length === 0 ? `layers:${plan.join(',')}` : 'plan:FILE'}\`. Prompts run these layers only. Unified Layer Skipping`,
    `(arXiv 2404.06954) has prompts run every layer, which needs the base model: \`shoal run\` with the same --depth does that.`,
    ...(measured.length === 0 ? [] : ['', ...measured]),
    '',
  ].join('\n')
}
