/** One question and what counts as its answer. Texts have no space at their ends. */
export interface TaskItem {
  readonly input: string
  /** Gold answers; the first is the one that a shot shows. */
  readonly answers: readonly [string, ...string[]]
  /** What the answer can be, where the item says so itself. */
  readonly candidates?: readonly string[]
  /** Shots come from the same subject only (MMLU). */
  readonly subject?: string
}

/** The task groups of AdaInfer's evaluation (arXiv 2403.02181, section 4.1), translations, and what a user brings. */
export type TaskGroup = 'question answering' | 'text classification' | 'rule understanding' | 'translation' | 'own'

/** How Todd et al. 2024 (arXiv 2310.15213, appendix E) divide the rule tasks. */
export type RuleKind = 'abstractive' | 'extractive'

export type TaskFormat = 'list' | 'sst2' | 'mmlu' | 'squad' | 'wmt' | 'jsonl'

/** What is known of a task before its files are read. */
export interface TaskDefinition {
  readonly name: string
  readonly group: TaskGroup
  readonly kind?: RuleKind
  readonly format: TaskFormat
  /** Every answer is one of these. */
  readonly labels?: readonly string[]
  /** How an item is written where nobody says otherwise; default `DEFAULT_TEMPLATE`. */
  readonly template?: string
  /** Of a translation: codes such as `de`. */
  readonly languages?: { readonly source: string; readonly target: string }
}

/** A task with its data. */
export interface Task extends TaskDefinition {
  readonly items: readonly TaskItem[]
  /** Where shots are drawn from; may be the items themselves. */
  readonly shots: readonly TaskItem[]
  /** The files that were read. */
  readonly sources: { readonly items: readonly string[]; readonly shots: readonly string[] }
}

/** What the answer to an item can be: the item's own candidates, else the task's labels; null for free text. */
export function candidatesOf(task: TaskDefinition, item: TaskItem): readonly string[] | null {
  return item.candidates ?? task.labels ?? null
}
