import type { Bound } from './bound.js'
import type { Prompts } from './prompts.js'

/** What a bound on generated sequences holds for: sequences that are asked for as those were that it was tested on. */
export interface BoundScope extends Pick<Bound, 'tasks' | 'measure'> {
  /** Null where the traces did not say. */
  readonly prompts: Prompts | null
}

/** `greedy sequences of at most 8 tokens after prompts of the task capitalize, written as "Q: {input}\nA: {output}" with 5 shots`. */
export function scopeText({ prompts, tasks, measure }: BoundScope): string {
  if (prompts === null) return 'sequences of which its traces do not say how they were asked for'
  const { template, shots, sampling, max_tokens: most } = prompts
  const length = measure === 'any' ? `at most ${most} tokens` : `${most} tokens, or fewer where the text ends`
  return `${sampling} sequences of ${length} after prompts of ${tasks.join(', ')}, written as ${JSON.stringify(template)} with ${shots} shots`
}
