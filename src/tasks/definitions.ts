import { InputError } from '../errors.js'
import { nearestNames } from '../nearest-name.js'
import { MMLU_LABELS } from './mmlu.js'
import { SST2_LABELS } from './sst2.js'
import type { RuleKind, TaskDefinition } from './task.js'
import { wmtDefinition } from './wmt.js'

const EXTRACTIVE = names(`
  adjective_v_verb_3 adjective_v_verb_5 alphabetically_first_3 alphabetically_first_5 alphabetically_last_3
  alphabetically_last_5 animal_v_object_3 animal_v_object_5 choose_first_of_3 choose_first_of_5 choose_last_of_3
  choose_last_of_5 choose_middle_of_3 choose_middle_of_5 color_v_animal_3 color_v_animal_5 concept_v_object_3
  concept_v_object_5 conll2003_location conll2003_organization conll2003_person fruit_v_animal_3 fruit_v_animal_5
  object_v_concept_3 object_v_concept_5 verb_v_adjective_3 verb_v_adjective_5`)

const ABSTRACTIVE = names(`
  antonym capitalize capitalize_first_letter capitalize_last_letter capitalize_second_letter country-capital
  country-currency english-french english-german english-spanish landmark-country lowercase_first_letter
  lowercase_last_letter national_parks next_capital_letter next_item park-country person-instrument person-occupation
  person-sport present-past prev_item product-company singular-plural synonym word_length`)

const LABELS: Readonly<Record<string, readonly string[]>> = {
  'person-instrument': ['guitar', 'piano', 'trumpet', 'violin'],
  'person-sport': ['baseball', 'basketball', 'football', 'hockey', 'soccer'],
}

/** Every task that has a name. */
export const TASKS: readonly TaskDefinition[] = [
  { name: 'mmlu', group: 'question answering', format: 'mmlu', labels: MMLU_LABELS },
  { name: 'commonsense_qa', group: 'question answering', format: 'list', labels: ['a', 'b', 'c', 'd', 'e'] },
  { name: 'squad', group: 'question answering', format: 'squad' },
  { name: 'sst2', group: 'text classification', format: 'sst2', labels: SST2_LABELS },
  { name: 'ag_news', group: 'text classification', format: 'list', labels: ['World', 'Sports', 'Business', 'Science'] },
  { name: 'sentiment', group: 'text classification', format: 'list', labels: ['negative', 'positive'] },
  ...ABSTRACTIVE.map((name) => ruleTask(name, 'abstractive')),
  ...EXTRACTIVE.map((name) => ruleTask(name, 'extractive')),
]

/**
 * The definition of a name; `mmlu:SUBJECT` is one subject of MMLU, `wmt22:en-de` a pair of languages.
 * @throws InputError that names what is close to it
 */
export function taskDefinition(name: string): TaskDefinition {
  const [base, subject] = name.split(':', 2) as [string, string?]
  if (base === 'wmt22') return wmtDefinition(name, subject)
  const definition = TASKS.find((task) => task.name === base)
  if (definition !== undefined && (subject === undefined || (base === 'mmlu' && /^\w+$/.test(subject)))) {
    return { ...definition, name }
  }
  const nearest = nearestNames(name, [...TASKS.map((task) => task.name), 'wmt22:en-de'], Number.POSITIVE_INFINITY)
  throw new InputError(
    `unknown task ${name}; the nearest names are ${nearest.slice(0, 5).join(', ')}; shoal eval tasks shows all, and a path ending in .jsonl is a task of your own`,
  )
}

/** The names of all tasks, by what they ask for; of translations one, which stands for all pairs of languages. */
export function taskGroups(): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>()
  for (const task of TASKS) {
    const group = task.kind === undefined ? task.group : `${task.group}, ${task.kind}`
    groups.set(group, [...(groups.get(group) ?? []), task.name])
  }
  return groups.set('translation', ['wmt22:en-de'])
}

function ruleTask(name: string, kind: RuleKind): TaskDefinition {
  const labels = LABELS[name]
  return { name, group: 'rule understanding', kind, format: 'list', ...(labels === undefined ? {} : { labels }) }
}

function names(list: string): string[] {
  return list.trim().split(/\s+/)
}
