import { orderedRemoval } from './ordered-removal.js'

/**
 * Layers by block influence, the least first; the lower of equals first. Block influence is 1 - the mean over positions of
 * cos(input, output) of the layer (ShortGPT, arXiv 2403.03853, section 2.3).
 */
export function influenceOrder(influence: readonly number[]): number[] {
  return influence.map((_, layer) => layer).sort((a, b) => (influence[a] as number) - (influence[b] as number) || a - b)
}

/** Keeps the layers of largest block influence (ShortGPT, arXiv 2403.03853, section 2.4). */
export const shortgpt = orderedRemoval({
  rule: 'shortgpt',
  summary: 'the plan of the N layers that change the hidden state most (block influence, measured on text)',
  fewest: 1,
})
