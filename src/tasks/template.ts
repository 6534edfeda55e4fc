import { InputError } from '../errors.js'
import type { TaskItem } from './task.js'

/** How an item is written as text: `before` input `between` answer `after`. */
export interface Template {
  readonly before: string
  readonly between: string
  readonly after: string
  /** Text that ends a generated answer. */
  readonly stop: string
}

/** The prompt format of Todd et al. 2024, which ripple-8m was trained on too. */
export const DEFAULT_TEMPLATE = 'Q: {input}\nA: {output}\n\n'

/**
 * Takes a template apart. It names {input} once and, after it, {output} once; all other text stands for itself.
 * @throws InputError
 */
export function parseTemplate(template: string): Template {
  const [before, rest, ...more] = template.split('{input}') as [string, ...string[]]
  const [between, after, ...others] = (rest ?? '').split('{output}') as [string, ...string[]]
  if (
    rest === undefined ||
    after === undefined ||
    more.length > 0 ||
    others.length > 0 ||
    before.includes('{output}')
  ) {
    throw new InputError(`template ${JSON.stringify(template)} must have {input} once and then {output} once`)
  }
  // Answers are single lines: the first line break ends one where the template ends with several.
  const stop = after === '' || /^\r?\n/.test(after) ? '\n' : after
  return { before, between, after, stop }
}

/** A shot: the item with its first gold answer. */
export function renderShot({ before, between, after }: Template, item: TaskItem): string {
  return `${before}${item.input}${between}${item.answers[0]}${after}`
}

/**
 * A question without its answer. Spaces before the answer belong to it, as most tokenizers have tokens that begin with
 * a space: the prompt ends in "A:", the answer is " answer".
 */
export function renderQuestion({ before, between }: Template, item: TaskItem): { prompt: string; lead: string } {
  const lead = / *$/.exec(between)?.[0] ?? ''
  return { prompt: `${before}${item.input}${between.slice(0, between.length - lead.length)}`, lead }
}

/** True where a prompt is a question behind so many shots, all of them written as the template says. */
export function isWrittenAs(prompt: string, { before, between, after }: Template, shots: number): boolean {
  if (!prompt.startsWith(before) || !prompt.endsWith(between.replace(/ *$/, ''))) return false
  const gap = after + before
  // Then nothing tells where an item ends.
  if (gap === '') return true
  let found = 0
  for (let at = before.length; ; found++) {
    const answer = prompt.indexOf(between, at)
    const end = answer < 0 ? -1 : prompt.indexOf(gap, answer + between.length)
    if (end < 0) return found === shots
    at = end + gap.length
  }
}
