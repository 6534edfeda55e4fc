import type { Tokenizer } from '../tokenizer/tokenizer.js'
import type { ScoreMode } from './scoring.js'
import { sampleShots } from './shots.js'
import { candidatesOf, type Task, type TaskItem } from './task.js'
import { renderQuestion, renderShot, type Template } from './template.js'

/** `joined`: the prompt is encoded as one text. `separate`: every shot, and the question, is encoded on its own. */
export type ShotEncoding = 'joined' | 'separate'

/**
 * The encoding that a model was trained on. Where its answers end with the very text that a shot ends with
 * (`chatStop` of shoal.json), its training texts ended there, and the break is a token of its own: ripple-8m has one
 * for two line breaks, which the joined text splits before the next "Q". It matters: with 5 shots ripple-8m is right in
 * 0.40 of capitalize, 0.52 of choose_first_of_3 and 1.00 of fruit_v_animal_3 where the joined text gives 0.07, 0.00 and
 * 0.88 (60 prompts each).
 */
export function shotEncoding(template: Template, settings: { readonly chatStop?: readonly string[] }): ShotEncoding {
  return settings.chatStop?.includes(template.after) ? 'separate' : 'joined'
}

export interface PromptOptions {
  readonly tokenizer: Tokenizer
  readonly template: Template
  readonly shots: number
  readonly seed: number
  readonly score: ScoreMode
  /** How shots become tokens; see `shotEncoding`. Default `joined`. */
  readonly encoding?: ShotEncoding
  /** Tokens that the model's context holds. */
  readonly context: number
  /** Tokens that an answer may take under `generate`. */
  readonly maxTokens?: number
}

/** An item as the model gets it. */
export interface BuiltPrompt {
  readonly text: string
  /** What is fed; the token after it is the first of an answer. */
  readonly ids: readonly number[]
  /** Shots that fitted. */
  readonly shots: number
  /** Ids of every gold answer in context, after `ids`. Empty under `generate`. */
  readonly golds: readonly (readonly number[])[]
  /** Ids of every candidate answer in context; null where the answer is free text. */
  readonly candidates: readonly { readonly text: string; readonly ids: readonly number[] }[] | null
}

/**
 * The prompt of one item. Shots that do not fit are left out, whole and from the front.
 * @returns null where the question alone does not fit the context
 */
export function buildPrompt(task: Task, index: number, options: PromptOptions): BuiltPrompt | null {
  const { template, context } = options
  const shots = sampleShots(task, index, options.shots, options.seed).map((shot) => renderShot(template, shot))
  const item = task.items[index] as TaskItem
  const { prompt, lead } = renderQuestion(template, item)
  for (let first = 0; first <= shots.length; first++) {
    const used = shots.slice(first)
    const parts = options.encoding === 'separate' ? [...used, prompt] : [used.join('') + prompt]
    const answers = { golds: item.answers, candidates: candidatesOf(task, item), lead }
    // Answers cost an encoding each, so length goes first.
    if (encodeParts(options.tokenizer, parts).length > context) continue
    const { ids, golds, candidates, room } = place(parts, answers, options)
    if (ids.length + room <= context) return { text: parts.join(''), ids, shots: used.length, golds, candidates }
  }
  return null
}

interface Placed extends Pick<BuiltPrompt, 'ids' | 'golds' | 'candidates'> {
  /** Tokens that are fed after `ids`. */
  readonly room: number
}

function place(
  parts: readonly string[],
  answers: { golds: readonly string[]; candidates: readonly string[] | null; lead: string },
  { tokenizer, score, maxTokens = 0 }: PromptOptions,
): Placed {
  if (score === 'generate') {
    return { ids: encodeParts(tokenizer, parts), golds: [], candidates: null, room: Math.max(0, maxTokens - 1) }
  }
  const texts = [...new Set([...answers.golds, ...(answers.candidates ?? [])])]
  const { ids, answers: placed } = placeAnswers(
    tokenizer,
    parts,
    texts.map((text) => answers.lead + text),
  )
  const idsOf = (text: string) => placed[texts.indexOf(text)] as number[]
  const golds = answers.golds.map(idsOf)
  const candidates = answers.candidates?.map((text) => ({ text, ids: idsOf(text) })) ?? null
  const longest = Math.max(0, ...(candidates ?? []).map((candidate) => candidate.ids.length - 1))
  return { ids, golds, candidates, room: score === 'likelihood' ? longest : 0 }
}

/**
 * Token ids of answers where they stand, after the prompt. Text on both sides of the border may share a token, so the
 * last part of the prompt and the answer are encoded together: `ids` is what all encodings begin with (the prompt's own
 * ids, or fewer where an answer merges into the prompt's end), and each answer is the rest, one id at least.
 */
export function placeAnswers(
  tokenizer: Tokenizer,
  parts: readonly string[],
  answers: readonly string[],
): { ids: number[]; answers: number[][] } {
  const before = parts.slice(0, -1)
  const question = parts.at(-1) ?? ''
  const whole = answers.map((answer) => encodeParts(tokenizer, [...before, question + answer]))
  const ids = encodeParts(tokenizer, parts)
  let length = ids.length
  for (const full of whole) length = Math.min(length, commonPrefix(ids, full), full.length - 1)
  return { ids: ids.slice(0, length), answers: whole.map((full) => full.slice(length)) }
}

function encodeParts(tokenizer: Tokenizer, parts: readonly string[]): number[] {
  return parts.flatMap((part, i) => tokenizer.encode(part, { addSpecialTokens: i === 0 }))
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0
  while (n < a.length && n < b.length && a[n] === b[n]) n++
  return n
}
