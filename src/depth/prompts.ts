import * as json from './json-field.js'

/** How the questions were asked that a policy was made from. */
export interface Prompts {
  readonly template: string
  /** Examples before the question. */
  readonly shots: number
  /** Draws of shots that each question was asked with, and the seed of the first. */
  readonly draws: number
  readonly seed: number
  /** How tokens after the prompt were chosen. */
  readonly sampling: 'greedy'
  /** New tokens at most: an answer is one. */
  readonly max_tokens: number
}

/** Throws FileError. */
export function readPrompts(field: json.Field): Prompts {
  const at = json.fieldsOf(field, ['template', 'shots', 'draws', 'seed', 'sampling', 'max_tokens'])
  return {
    template: json.text(at('template')),
    shots: json.whole(at('shots'), 0),
    draws: json.whole(at('draws'), 1),
    seed: json.whole(at('seed'), 0),
    sampling: json.choice(at('sampling'), ['greedy'] as const),
    max_tokens: json.whole(at('max_tokens'), 1),
  }
}
