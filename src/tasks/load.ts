import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FileError, InputError } from '../errors.js'
import { taskDefinition } from './definitions.js'
import { readFunctionVectors } from './function-vectors.js'
import { readJsonLines } from './jsonl.js'
import { readMmlu } from './mmlu.js'
import { readSquad } from './squad.js'
import { readSst2 } from './sst2.js'
import type { Task, TaskDefinition, TaskFormat, TaskItem } from './task.js'
import { readWmt, wmtFiles } from './wmt.js'

/** Three small tasks that come with the package, split like any other data folder. */
const BUNDLED = fileURLToPath(new URL('../../pretrained/tasks/', import.meta.url))

export interface LoadTaskOptions {
  /** Folder of published data files; default the environment's SHOAL_DATA, then the bundled tasks. */
  readonly data?: string
}

/** The files of a task: items, and shots where they have files of their own. */
interface TaskFiles {
  readonly format: TaskFormat
  readonly items: readonly string[]
  readonly shots: readonly string[]
}

/**
 * Loads a task by its name, or a user's own from a path that ends in .jsonl or .json.
 *
 * Under the data folder the first of these serves: a split `ripple-8m/test/NAME.json` or `test/NAME.json` (shots from
 * `train/` beside it), the task's published files (`sst2/`, `mmlu/`, `squad/`, `wmt22/`), a whole set `function_vectors/NAME.json`
 * or `NAME.json` (shots from the set itself). The split goes first because ripple-8m was trained on the rest.
 *
 * @throws InputError (no such task, no data), FileError
 */
export async function loadTask(name: string, options: LoadTaskOptions = {}): Promise<Task> {
  if (/\.jsonl?$/.test(name)) return loadOwnTask(name)
  const definition = taskDefinition(name)
  const data = options.data ?? process.env.SHOAL_DATA
  if (data !== undefined && data !== '' && !statSync(data, { throwIfNoEntry: false })?.isDirectory()) {
    throw new FileError(data, 'no such data folder', 'file_missing')
  }
  const files = (data ? findFiles(data, definition) : null) ?? findFiles(BUNDLED, definition)
  if (files === null) {
    const where = data
      ? `${data} has no files of it`
      : 'it is not bundled: give a folder of data files (--data, SHOAL_DATA)'
    throw new InputError(`task ${name}: ${where}`)
  }
  const items = await readAll(files.items, files.format, definition.labels)
  const own = files.shots.length > 0
  const shots = own ? await readAll(files.shots, files.format, definition.labels) : items
  return { ...definition, items, shots, sources: { items: files.items, shots: own ? files.shots : files.items } }
}

async function loadOwnTask(path: string): Promise<Task> {
  const format = path.endsWith('.jsonl') ? 'jsonl' : 'list'
  const items = await readAll([path], format)
  const sources = { items: [path], shots: [path] }
  return { name: basename(path).replace(/\.jsonl?$/, ''), group: 'own', format, items, shots: items, sources }
}

async function readAll(paths: readonly string[], format: TaskFormat, labels?: readonly string[]): Promise<TaskItem[]> {
  if (format === 'wmt') return readWmt(paths[0]!, paths[1]!)
  const lists: TaskItem[][] = []
  for (const path of paths) lists.push(await read(path, format, labels))
  return lists.flat()
}

function read(path: string, format: Exclude<TaskFormat, 'wmt'>, labels?: readonly string[]): Promise<TaskItem[]> {
  switch (format) {
    case 'list':
      return readFunctionVectors(path, labels)
    case 'jsonl':
      return readJsonLines(path)
    case 'sst2':
      return readSst2(path)
    case 'squad':
      return readSquad(path)
    case 'mmlu':
      return readMmlu(path, basename(path).replace(/_(dev|test)\.csv$/, ''))
  }
}

function findFiles(folder: string, definition: TaskDefinition): TaskFiles | null {
  const { name, format } = definition
  for (const split of [join(folder, 'ripple-8m'), folder]) {
    const items = join(split, 'test', `${name}.json`)
    const shots = join(split, 'train', `${name}.json`)
    if (existsSync(items)) return { format: 'list', items: [items], shots: existsSync(shots) ? [shots] : [] }
  }
  if (definition.languages !== undefined) {
    const items = wmtFiles(folder, definition.languages)
    return items === null ? null : { format, items, shots: [] }
  }
  if (format === 'mmlu') return findMmlu(folder, name.split(':')[1])
  const first = (...paths: string[][]) => paths.map((p) => join(folder, ...p)).find((p) => existsSync(p))
  const one = (items: string | undefined, shots: string | undefined): TaskFiles | null =>
    items === undefined ? null : { format, items: [items], shots: shots === undefined ? [] : [shots] }
  if (format === 'sst2') {
    return one(first(['sst2', 'test.tsv'], ['sst2', 'dev.tsv']), first(['sst2', 'train.tsv'], ['sst2', 'dev.tsv']))
  }
  if (format === 'squad') {
    const items = first(['squad', 'dev-v1.1.json'], ['squad', 'dev-v1.1.sample.json'])
    return one(items, first(['squad', 'train-v1.1.json']))
  }
  return one(first(['function_vectors', `${name}.json`], [`${name}.json`]), undefined)
}

/** Test files of all subjects, or of one; shots from the dev files. */
function findMmlu(folder: string, subject: string | undefined): TaskFiles | null {
  const list = (split: string): string[] => {
    const path = join(folder, 'mmlu', split)
    if (!existsSync(path)) return []
    const wanted = subject === undefined ? `_${split}.csv` : `${subject}_${split}.csv`
    const matches = (file: string) => (subject === undefined ? file.endsWith(wanted) : file === wanted)
    return readdirSync(path)
      .filter(matches)
      .sort()
      .map((file) => join(path, file))
  }
  const items = list('test')
  return items.length === 0 ? null : { format: 'mmlu', items, shots: list('dev') }
}
