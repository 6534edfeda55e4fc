import { orderedRemoval } from './ordered-removal.js'

/** Takes out one after the other the layer whose removal costs the least loss (SLEB, arXiv 2402.09025, section 3). */
export const sleb = orderedRemoval({
  rule: 'sleb',
  summary:
    'a plan of N layers, after taking out one by one what costs the least loss on text; the first and the last stay',
  fewest: 2,
})
