import { type FileHandle, open } from 'node:fs/promises'
import { fileError } from '../checkpoint/file-errors.js'
import type { Plan } from '../depth/plan.js'
import type { GenerateOptions } from '../engine/api.js'
import { DEFAULT_MAX_TOKENS } from '../engine/schedule/generation-request.js'
import { FileError } from '../errors.js'
import { isJsonObject, parseJson } from '../json.js'
import type { BeamOptions } from './beams.js'
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
  /** How tokens are chosen, by the names of the options. */
  readonly sampling: Sampling
}

/** Every line of the file says it. */
export type Sampling = Readonly<Record<string, number | boolean | null | readonly string[]>>

/** What of the options decides about a text; defaults are spelled out, so that naming one changes nothing. */
export function samplingOf(options: GenerateOptions, { beams, lengthPenalty = 1 }: BeamOptions): Sampling {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, noRepeatNgram = 0 } = options
  const { maxTokens = DEFAULT_MAX_TOKENS, seed = null, stop = [], ignoreEos = false } = options
  return {
    max_tokens: maxTokens,
    temperature,
    top_k: topK,
    top_p: topP,
    min_p: minP,
    repetition_penalty: repetitionPenalty,
    no_repeat_ngram: noRepeatNgram,
    // Without a draw there is no seed that matters.
    seed: temperature === 0 ? null : seed,
    stop: typeof stop === 'string' ? [stop] : stop,
    ignore_eos: ignoreEos,
    beams: beams ?? null,
    length_penalty: beams === undefined ? null : lengthPenalty,
  }
}

/** A JSONL file of results that grows line by line. */
export interface ResultsFile {
  /** Indices of the prompts that an earlier run finished. */
  readonly finished: ReadonlySet<number>
  append(line: object): Promise<void>
  close(): Promise<void>
}

/** What every line begins with. */
const LINE_START = '{"index":'

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
    const finished = new Set<number>()
    const lines = bytes.subarray(0, whole).toString('utf8').split('\n')
    lines.forEach((line, i) => {
      if (line !== '') finished.add(checkLine(path, line, i + 1, prompts, settings))
    })
    // Only what is surely a result may go: a text of someone's own may be one line without an end.
    const last = bytes.toString('utf8', whole, whole + LINE_START.length)
    if (!LINE_START.startsWith(last)) throw notOurs(path, lines.length)
    if (whole < bytes.length) await handle.truncate(whole)
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
    value = parseJson(path, line)
  } catch {
    value = null
  }
  const index = isJsonObject(value) ? value.index : null
  if (!isJsonObject(value) || typeof index !== 'number' || !Array.isArray(value.tokens)) {
    throw notOurs(path, number)
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
  checkSampling(path, number, value.sampling, settings.sampling)
  if (value.plan !== undefined && JSON.stringify(value.plan) !== JSON.stringify(settings.plan)) {
    throw new FileError(
      path,
      `line ${number} ran layers ${JSON.stringify(value.plan)}, and ${settings.depth} now means ${JSON.stringify(settings.plan)}: costs were measured anew; give another file to --out`,
    )
  }
  return index
}

function notOurs(path: string, number: number): FileError {
  return new FileError(path, `line ${number} is not a result of shoal run; give another file to --out`)
}

/** Lines of earlier versions do not say how their tokens were chosen, and are kept. */
function checkSampling(path: string, number: number, before: unknown, now: Sampling): void {
  if (!isJsonObject(before)) return
  for (const key of new Set([...Object.keys(now), ...Object.keys(before)])) {
    const [was, is] = [before[key], now[key]].map((value) => JSON.stringify(value ?? null))
    if (was === is) continue
    throw new FileError(
      path,
      `line ${number} was made with ${key.replaceAll('_', '-')} ${was}, not ${is}; give the same options to go on, or another file to --out`,
    )
  }
}
