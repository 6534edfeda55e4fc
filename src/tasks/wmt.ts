import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { readTextFile } from '../checkpoint/text-file.js'
import { FileError, InputError } from '../errors.js'
import { textOf } from './item.js'
import type { TaskDefinition, TaskItem } from './task.js'

/** One direction of WMT's news test of 2022; a name is `wmt22:en-de`. */
export function wmtDefinition(name: string, pair: string | undefined): TaskDefinition {
  const [, source, target] = /^([a-z]{2,3})-([a-z]{2,3})$/.exec(pair ?? '') ?? []
  if (source === undefined || target === undefined) {
    throw new InputError(`task ${name}: a translation needs its pair of languages, as in wmt22:en-de`)
  }
  const languages = new Intl.DisplayNames(['en'], { type: 'language' })
  return {
    name,
    group: 'translation',
    format: 'wmt',
    languages: { source, target },
    template: `${languages.of(source)}: {input}\n${languages.of(target)}: {output}\n\n`,
  }
}

/** The files of a direction under a data folder: source, then reference. */
export function wmtFiles(
  folder: string,
  { source, target }: NonNullable<TaskDefinition['languages']>,
): string[] | null {
  for (const place of [join(folder, 'wmt22'), folder]) {
    const files = [source, target].map((language) => join(place, `newstest22.${source}-${target}.${language}`))
    if (files.every((file) => existsSync(file))) return files
  }
  return null
}

/** Sentences and their references, one to a line of two files. Only "\n" ends a line. */
export async function readWmt(source: string, reference: string): Promise<TaskItem[]> {
  const inputs = await readLines(source)
  const outputs = await readLines(reference)
  if (inputs.length !== outputs.length) {
    throw new FileError(reference, `has ${outputs.length} lines, and ${source} has ${inputs.length}`)
  }
  if (inputs.length === 0) throw new FileError(source, 'has no sentences')
  return inputs.map((input, i) => ({
    input: textOf(source, `line ${i + 1}`, input),
    answers: [textOf(reference, `line ${i + 1}`, outputs[i])],
  }))
}

async function readLines(path: string): Promise<string[]> {
  const lines = (await readTextFile(path)).split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}
