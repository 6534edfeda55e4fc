import { readGguf } from '../checkpoint/gguf.js'
import type { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { openHuggingFace } from '../checkpoint/huggingface.js'
import { UnsupportedError } from '../errors.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'
import { openGgufTokenizer } from '../vocabulary/gguf-tokenizer.js'
import { DEFAULT_MODEL, locateModel } from './package.js'
import type { ProgressListener } from './progress.js'
import { resolveModel } from './resolve-model.js'

/** For a model on the Hub. */
export interface TokenizerOptions {
  /** Branch, tag or commit; default `main`. */
  readonly revision?: string
  readonly progress?: ProgressListener
  readonly signal?: AbortSignal
}

/** A tokenizer, where the files have one, and what is to be said of it. */
export interface OpenedTokenizer {
  readonly tokenizer: Tokenizer | null
  readonly warnings: readonly string[]
}

/**
 * The tokenizer of a GGUF file: tokenizer.json where Shoal converted the file from a folder that has one, else the
 * vocabulary under llama.cpp's keys. Null where there is neither.
 * @param path of what it was converted from, for errors
 * @throws FileError, UnsupportedError
 */
export async function tokenizerOfGguf(metadata: GgufMetadata, path = metadata.path): Promise<OpenedTokenizer> {
  const json = 'tokenizer.huggingface.json'
  if (metadata.has('shoal.converter_version')) {
    const tokenizer = metadata.has(json) ? createJsonTokenizer(path, metadata.string(json)) : null
    return { tokenizer, warnings: [] }
  }
  return (await openGgufTokenizer(metadata)) ?? { tokenizer: null, warnings: [] }
}

/**
 * The tokenizer of a model, without its weights: of a folder, a GGUF file (one that holds a vocabulary and nothing else
 * too), a bundled model by name, or a model of the Hub. Call its `dispose` in the end.
 * @throws FileError, UnsupportedError, HubError
 */
export async function loadTokenizer(model: string = DEFAULT_MODEL, options: TokenizerOptions = {}): Promise<Tokenizer> {
  return (await openTokenizer(model, options)).tokenizer
}

/** Like `loadTokenizer`, with what is to be said of it. */
export async function openTokenizer(
  model: string,
  options: TokenizerOptions = {},
): Promise<OpenedTokenizer & { readonly tokenizer: Tokenizer }> {
  const resolved = await resolveModel(model, { ...options, need: 'tokenizer' })
  const { kind, path, name } = locateModel(resolved.model)
  const opened = kind === 'gguf' ? await tokenizerOfGguf((await readGguf(path)).metadata) : await ofFolder(path)
  const { tokenizer, warnings } = opened
  if (tokenizer === null) throw new UnsupportedError(`${name} has no tokenizer`)
  return { tokenizer, warnings: [...resolved.warnings, ...warnings] }
}

async function ofFolder(folder: string): Promise<OpenedTokenizer> {
  const { tokenizerJson, tokenizerPath } = await openHuggingFace(folder)
  return {
    tokenizer: tokenizerJson === null ? null : createJsonTokenizer(tokenizerPath, tokenizerJson),
    warnings: [],
  }
}
