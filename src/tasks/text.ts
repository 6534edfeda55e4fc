import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { readTextFile } from '../checkpoint/text-file.js'
import { FileError } from '../errors.js'
import { leadOf } from '../tokenizer/lead.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'

/** The opening of a novel that the bundled models never saw; it comes with the package. */
const BUNDLED = fileURLToPath(new URL('../../pretrained/tasks/prose.txt', import.meta.url))

/** A text whose tokens a model has to foresee. */
export interface TextTask {
  readonly name: string
  readonly path: string
  readonly text: string
}

export interface WindowOptions {
  /** Tokens of a window. */
  readonly window: number
  /** Tokens at a window's beginning that are not scored. */
  readonly promptLength: number
  /** Windows at most; default all. */
  readonly limit?: number
}

/** True for `prose`, the bundled text, and for a path that ends in .txt. */
export function isTextName(name: string): boolean {
  return name === 'prose' || name.endsWith('.txt')
}

/** Throws FileError. */
export async function loadText(name: string): Promise<TextTask> {
  const path = name === 'prose' ? BUNDLED : name
  const text = (await readTextFile(path)).replaceAll('\r\n', '\n')
  if (text.trim() === '') throw new FileError(path, 'has no text')
  return { name: basename(path, '.txt'), path, text }
}

/**
 * A text cut into runs of tokens, each as a model would see it alone: with what the tokenizer puts in front. What is
 * left at the end and has nothing to score is dropped.
 */
export function textWindows(tokenizer: Tokenizer, { path, text }: TextTask, options: WindowOptions): number[][] {
  const { window, promptLength, limit = Number.POSITIVE_INFINITY } = options
  const ids = tokenizer.encode(text, { addSpecialTokens: false })
  const lead = leadOf(tokenizer)
  const windows: number[][] = []
  for (let from = 0; from < ids.length && windows.length < limit; from += window - lead.length) {
    const run = [...lead, ...ids.slice(from, from + window - lead.length)]
    if (run.length > promptLength) windows.push(run)
  }
  if (windows.length === 0) {
    throw new FileError(path, `has ${ids.length} tokens, too few to score any after the first ${promptLength}`)
  }
  return windows
}
