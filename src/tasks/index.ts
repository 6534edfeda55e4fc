export { exactMatch, squadExactMatch, squadF1 } from './answer-match.js'
export { TASKS, taskDefinition, taskGroups } from './definitions.js'
export { type LoadTaskOptions, loadTask } from './load.js'
export { type BuiltPrompt, buildPrompt, type PromptOptions, type ShotEncoding, shotEncoding } from './prompt.js'
export { type Question, type QuestionOptions, questionsOf } from './questions.js'
export {
  isGoldToken,
  labelTokens,
  logLikelihood,
  logProbability,
  pickLabel,
  SCORE_MODES,
  type ScoreMode,
} from './scoring.js'
export { sampleShots } from './shots.js'
export { candidatesOf, type Task, type TaskDefinition, type TaskGroup, type TaskItem } from './task.js'
export { DEFAULT_TEMPLATE, isWrittenAs, parseTemplate, type Template } from './template.js'
export { isTextName, loadText, type TextTask, textWindows, type WindowOptions } from './text.js'
