import type { QuestionRecord } from '../calibrate/question-file.js'
import type { Answer } from './answers.js'

/** Which question of an evaluation. */
export interface QuestionKey {
  /** Index of the pair of task and shots. */
  readonly group: number
  /** Index among the questions of that pair. */
  readonly question: number
  /** Null for the depths themselves, else the control that was asked. */
  readonly control: string | null
}

/** What one question was answered, in one turn. */
export interface KeptAnswers {
  /** By name of the depth. */
  readonly answers: ReadonlyMap<string, Answer>
  /** Of the full-depth run, where controls need it. */
  readonly record: QuestionRecord | null
}

/** The answers of an evaluation that is under way, a line for each question and turn. */
export interface AnswersFile {
  /** Lines that an earlier run has left. */
  readonly kept: number
  recall(key: QuestionKey): KeptAnswers | undefined
  append(key: QuestionKey, answers: KeptAnswers): void
  /** To be called in the end; `remove` once the report is written. */
  close(options?: { readonly remove: boolean }): void
}
