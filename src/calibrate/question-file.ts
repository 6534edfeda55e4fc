import { openJournal, readJournal } from '../checkpoint/journal.js'
import { FEATURE_NAMES, HEAD_FEATURES } from '../depth/exit-features.js'
import * as json from '../depth/json-field.js'
import { type Prompts, readPrompts } from '../depth/prompts.js'
import { FileError } from '../errors.js'
import type { JsonObject } from '../json.js'
import type { CutDown, PositionTrace } from './record.js'

const FORMAT = 'shoal-questions'

/** What the questions of a file are: its first line. */
export interface QuestionFacts {
  readonly model: {
    readonly name: string
    readonly fingerprint: string
    readonly quantization: string
    /** L. */
    readonly layers: number
    /** Tokens that a prompt may have. */
    readonly context: number
  }
  readonly tasks: readonly string[]
  /** Digest of their items and shots. */
  readonly contents_of_tasks: string
  readonly positions: 'answer' | 'generated'
  readonly prompts: Prompts
  /** Ids of a cut-down check head that was recorded beside the whole one, ascending; null without one. */
  readonly check_tokens: readonly number[] | null
  /** `BridgeSet.source` of the lens that layers were read through; null where they were read as they are. */
  readonly lens: string | null
}

/** What of the facts a record's form depends on. */
export interface RecordShape extends Pick<QuestionFacts, 'positions' | 'check_tokens'> {
  readonly model: Pick<QuestionFacts['model'], 'layers'>
}

/** Which question, asked with which draw of shots. */
export interface QuestionKey {
  readonly task: string
  /** Of the item in its task. */
  readonly index: number
  readonly draw: number
  /** The item's input. */
  readonly question: string
}

/** What was asked and what every layer of the full model would have said: one position of an answer, or one a generated token. */
export interface QuestionRecord extends QuestionKey {
  /** Shots that fitted the context. */
  readonly shots: number
  /** First tokens of the gold answers; null for generated tokens. */
  readonly golds: readonly number[] | null
  /** Of the first trace in its sequence; the others follow. */
  readonly position: number
  readonly traces: readonly PositionTrace[]
}

/** Questions and what they gave: the one file that evaluations and calibrations read, and that long runs write line by line. */
export interface QuestionStore {
  /** Records that the file held when it was opened. */
  readonly kept: number
  recall(key: QuestionKey): QuestionRecord | undefined
  append(record: QuestionRecord): void
  /** To be called in the end; with `remove` where nobody needs the file any more. */
  close(options?: { readonly remove: boolean }): void
}

/**
 * Opens a file of questions, or begins one; a run that is stopped loses the question at hand.
 * @throws FileError where the file is of another model or other prompts, damaged, or in the hands of another process
 */
export function openQuestions(path: string, facts: QuestionFacts): QuestionStore {
  const known = new Map<string, QuestionRecord>()
  const journal = openJournal(path, FORMAT, facts as unknown as JsonObject, (value, line) => {
    const record = readRecord({ file: path, name: `line ${line}`, value }, facts)
    known.set(textOf(record), record)
  })
  return {
    kept: known.size,
    recall: (key) => known.get(textOf(key)),
    append(record) {
      journal.append(storedRecord(record))
      known.set(textOf(record), record)
    },
    // A file without questions never stays.
    close: ({ remove } = { remove: false }) => journal.close({ remove: remove || known.size === 0 }),
  }
}

/** All that a file of questions holds. Throws FileError. */
export async function readQuestions(path: string): Promise<{ facts: QuestionFacts; records: QuestionRecord[] }> {
  const { run, records } = await readJournal(path, FORMAT)
  const facts = readFacts({ file: path, name: 'line 1: run', value: run })
  const read = records.map((value, i) => readRecord({ file: path, name: `line ${i + 2}`, value }, facts))
  if (read.length === 0) throw new FileError(path, 'holds no questions yet')
  return { facts, records: read }
}

/** The input belongs to it: a file of a task may have changed since. */
function textOf({ task, index, draw, question }: QuestionKey): string {
  return JSON.stringify([task, index, draw, question])
}

/** A record as JSON has it. */
export function storedRecord(record: QuestionRecord): object {
  return { ...record, traces: record.traces.map(storedTrace) }
}

function storedTrace({ top1, top2, cut, features }: PositionTrace): object {
  const columns = (values: Readonly<Record<string, Float64Array>>) =>
    Object.fromEntries(Object.entries(values).map(([name, column]) => [name, Array.from(column)]))
  return {
    top1: Array.from(top1),
    top2: Array.from(top2),
    ...columns(features),
    ...(cut === null ? {} : { cut: { top: Array.from(cut.top), ...columns(cut.features) } }),
  }
}

function readFacts(field: json.Field): QuestionFacts {
  const at = json.fieldsOf(field, [
    'model',
    'tasks',
    'contents_of_tasks',
    'positions',
    'prompts',
    'check_tokens',
    'lens',
  ])
  const model = json.fieldsOf(at('model'), ['name', 'fingerprint', 'quantization', 'layers', 'context'])
  return {
    model: {
      name: json.text(model('name')),
      fingerprint: json.text(model('fingerprint')),
      quantization: json.text(model('quantization')),
      layers: json.whole(model('layers'), 2, 100_000),
      context: json.whole(model('context'), 1),
    },
    tasks: json.listOf(at('tasks'), json.text),
    contents_of_tasks: json.text(at('contents_of_tasks')),
    positions: json.choice(at('positions'), ['answer', 'generated'] as const),
    prompts: readPrompts(at('prompts')),
    check_tokens: json.orNull(at('check_tokens'), (ids) => json.listOf(ids, (id) => json.whole(id, 0), 2)),
    lens: json.orNull(at('lens'), json.text),
  }
}

/** A record as `storedRecord` gives it. Throws FileError. */
export function readRecord(field: json.Field, { model, positions, check_tokens }: RecordShape): QuestionRecord {
  const at = json.fieldsOf(field, ['task', 'index', 'draw', 'question', 'shots', 'golds', 'position', 'traces'])
  const most = positions === 'answer' ? 1 : Number.MAX_SAFE_INTEGER
  return {
    task: json.text(at('task')),
    index: json.whole(at('index'), 0),
    draw: json.whole(at('draw'), 0),
    question: json.text(at('question')),
    shots: json.whole(at('shots'), 0),
    golds: json.orNull(at('golds'), (golds) => json.listOf(golds, (id) => json.whole(id, 0), 1)),
    position: json.whole(at('position'), 0),
    traces: json.listOf(at('traces'), (trace) => readTrace(trace, model.layers, check_tokens !== null), 1, most),
  }
}

function readTrace(field: json.Field, layers: number, isCut: boolean): PositionTrace {
  const at = json.fieldsOf<string>(field, [...FEATURE_NAMES, 'top1', 'top2', ...(isCut ? ['cut'] : [])])
  const ids = (f: json.Field) => Int32Array.from(json.listOf(f, (id) => json.whole(id, 0), layers, layers))
  return {
    top1: ids(at('top1')),
    top2: ids(at('top2')),
    cut: isCut ? readCut(at('cut'), layers, ids) : null,
    features: columnsOf(at, FEATURE_NAMES, layers),
  }
}

function readCut(field: json.Field, layers: number, ids: (field: json.Field) => Int32Array): CutDown {
  const at = json.fieldsOf<string>(field, ['top', ...HEAD_FEATURES])
  return { top: ids(at('top')), features: columnsOf(at, HEAD_FEATURES, layers) }
}

function columnsOf<Name extends string>(
  at: (key: string) => json.Field,
  names: readonly Name[],
  layers: number,
): Record<Name, Float64Array> {
  const columns = names.map((name) => [
    name,
    Float64Array.from(json.listOf(at(name), (value) => json.number(value), layers, layers)),
  ])
  return Object.fromEntries(columns) as Record<Name, Float64Array>
}
