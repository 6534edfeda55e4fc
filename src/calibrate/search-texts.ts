import { createHash } from 'node:crypto'
import type { Model } from '../engine/api.js'
import type { ForcedText } from '../engine/known-text.js'
import { readTextData, type TextData, type TextDataOptions } from '../engine/measure/text-data.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import { FileError } from '../errors.js'

/** Tokens that the model goes on with where a line is a prompt alone. */
const CONTINUED = 64

export interface SearchTextsOptions {
  /** Tokens of a window at most. */
  readonly window: number
  /** Share of a window that is the prompt. */
  readonly promptShare: number
  /** Texts that the search sees at most. */
  readonly samples: number
  /** Texts that it does not see at most; where there are too few for both, half of all are kept for them. */
  readonly heldOut: number
  readonly seed: number
  readonly signal?: AbortSignal
}

export interface SearchTexts extends Omit<TextData, 'texts'> {
  readonly search: readonly ForcedText[]
  readonly heldOut: readonly ForcedText[]
}

/**
 * Reads texts of files and splits them, drawn with a seed, into those that a search sees and those that it does not. A
 * prompt alone is continued by the model itself, greedily and at full depth.
 * @throws FileError where the files have no two texts
 */
export async function searchTexts(
  model: Model,
  paths: readonly string[],
  options: SearchTextsOptions,
): Promise<SearchTexts> {
  const { samples, heldOut, seed, signal } = options
  const window = Math.min(options.window, model.context)
  const { vocabulary } = model.hyperparameters
  const { promptShare } = options
  const data = await readAll(paths, { tokenizer: model.tokenizer, vocabulary, window, promptShare })
  const name = paths.join(', ')
  const long = data.texts.find(({ ids }) => ids.length > model.context)
  if (long !== undefined) {
    throw new FileError(name, `has a text of ${long.ids.length} tokens, and the context holds ${model.context}`)
  }
  const random = createRandomStream(seed)
  const drawn = data.texts
    .map((text) => ({ text, place: random() }))
    .sort((a, b) => a.place - b.place)
    .slice(0, samples + heldOut)
    .map(({ text }) => text)
  const texts = (await Promise.all(drawn.map((text) => continued(model, text, signal)))).filter((t) => t !== null)
  if (texts.length < 2) {
    throw new FileError(
      name,
      'has a single text: a search needs others to see what its plan is worth on text that it did not see',
    )
  }
  const most = heldOut === 0 ? texts.length : Math.max(Math.floor(texts.length / 2), texts.length - heldOut)
  const seen = Math.min(samples, most)
  return { ...data, search: texts.slice(0, seen), heldOut: texts.slice(seen, seen + heldOut) }
}

/** Tokens of texts that have a loss: those after the prompts. */
export function tokensOf(texts: readonly ForcedText[]): number {
  return texts.reduce((sum, { ids, promptLength }) => sum + ids.length - promptLength, 0)
}

/** Texts of all files, with one hash of them. */
async function readAll(paths: readonly string[], options: TextDataOptions): Promise<TextData> {
  const all: TextData[] = []
  for (const path of paths) all.push(await readTextData(path, options))
  const [first] = all
  if (first !== undefined && all.length === 1) return first
  const hash = createHash('sha256')
  for (const { sha256 } of all) hash.update(sha256)
  return { texts: all.flatMap(({ texts }) => texts), sha256: hash.digest('hex'), cut: all.some(({ cut }) => cut) }
}

/** The text, gone on with where it is a prompt alone; null where the model has nothing to add. */
async function continued(model: Model, text: ForcedText, signal: AbortSignal | undefined): Promise<ForcedText | null> {
  const { ids } = text
  if (text.promptLength < ids.length) return text
  const maxTokens = Math.min(CONTINUED, model.context - ids.length)
  if (maxTokens < 1) return null
  const options = { maxTokens, depth: 'full', ...(signal === undefined ? {} : { signal }) }
  const { tokens } = await model.generate(ids, options).result
  return tokens.length === 0 ? null : { ids: [...ids, ...tokens], promptLength: ids.length }
}
