import { type FileHandle, open } from 'node:fs/promises'
import { fileError } from '../checkpoint/file-errors.js'
import type { Plan } from '../depth/policy.js'
import { FileError } from '../errors.js'
import { isJsonObject } from '../json.js'
import type { PromptLine } from './prompts-file.js'

/** What every line of a results file must agree on, so that a resumed run does not mix two settings. */
export interface ResultSettings {
  readonly model: string
  readonly quantization: string
  readonly depth: string
  readonly lossless: boolean
  /** Whether the lines hold beams. */
  readonly beams: boolean
  /** The layers that every new token runs, where the policy has one plan. */
  readonly plan: Plan | null
}

/** A JSONL file of results that grows line by line. */
export interface ResultsFile {
  /** Indices of the prompts that an earlier run finished. */
  readonly finished: ReadonlySet<number>
  append(line: object): Promise<void>
  close(): Promise<void>
}

/** Opens or creates the file. A last line that a killed run left half written is cut away. */
export async function openResultsFile(
  path: string,
  prompts: readonly PromptLine[],
  settings: ResultSettings,
): Promise<ResultsFile> {
  let handle: FileHandle
  try {
    handle = await open(path, 'a+')
  } catch (error) {
    throw fileError(path, error)
  }
  try {
    if (!(await handle.stat()).isFile()) throw new FileError(path, 'is not a regular file')
    const bytes = await handle.readFile()
    const whole = bytes.lastIndexOf(0x0a) + 1
    if (whole < bytes.length) await handle.truncate(whole)
    const finished = new Set<number>()
    const lines = bytes.subarray(0, whole).toString('utf8').split('\n')
    lines.forEach((line, i) => {
      if (line !== '') finished.add(checkLine(path, line, i + 1, prompts, settings))
    })
    return {
      finished,
      async append(line) {
        try {
          // One write per line: what a full disk or a kill cuts off is the last line, which the next run cuts away.
          await handle.appendFile(`${JSON.stringify(line)}\n`)
        } catch (error) {
          throw fileError(path, error)
        }
      },
      close: () => handle.close(),
    }
  } catch (error) {
    await handle.close()
    throw fileError(path, error)
  }
}

function checkLine(
  path: string,
  line: string,
  number: number,
  prompts: readonly PromptLine[],
  settings: ResultSettings,
): number {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    value = null
  }
  const index = isJsonObject(value) ? value.index : null
  if (!isJsonObject(value) || typeof index !== 'number' || !Array.isArray(value.tokens)) {
    throw new FileError(path, `line ${number} is not a result of shoal run; give another file to --out`)
  }
  const prompt = prompts[index]
  const same =
    prompt !== undefined &&
    value.id === prompt.id &&
    (typeof prompt.prompt === 'string'
      ? value.prompt === prompt.prompt
      : JSON.stringify(value.prompt_tokens) === JSON.stringify(prompt.prompt))
  if (!same)
    throw new FileError(path, `line ${number} is of another prompt than the prompts file has at index ${index}`)
  for (const key of ['model', 'quantization', 'depth'] as const) {
    if (value[key] === settings[key]) continue
    throw new FileError(path, `line ${number} was made with ${key} ${String(value[key])}, not ${settings[key]}`)
  }
  if ('lossless' in value !== settings.lossless) {
    throw new FileError(path, `line ${number} was made ${settings.lossless ? 'without' : 'with'} --lossless`)
  }
  if (Array.isArray(value.beams) !== settings.beams) {
    throw new FileError(path, `line ${number} was made ${settings.beams ? 'without' : 'with'} --beams`)
  }
  if (value.plan !== undefined && JSON.stringify(value.plan) !== JSON.stringify(settings.plan)) {
    throw new FileError(
      path,
      `line ${number} ran layers ${JSON.stringify(value.plan)}, and ${settings.depth} now means ${JSON.stringify(settings.plan)}: costs were measured anew; give another file to --out`,
    )
  }
  return index
}
