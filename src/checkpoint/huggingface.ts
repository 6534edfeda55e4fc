import { statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { FileError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject, type JsonObject } from '../json.js'
import { ConfigReader } from './config-reader.js'
import { type SamplingDefaults, samplingOfGenerationConfig } from './sampling-defaults.js'
import { type CheckpointSettings, parseSettings } from './settings.js'
import type { SpecialTokens } from './special-tokens.js'
import { readJsonFile, readOptionalJsonFile, readOptionalTextFile } from './text-file.js'

/** Files of a folder, beside its weights, that decide what a conversion of it holds. */
export const CHECKPOINT_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'shoal.json',
] as const

/** A checkpoint folder in Hugging Face's layout, without its weights (`openWeights` opens those). */
export interface HuggingFaceFolder {
  readonly folder: string
  /** The folder's own name. */
  readonly name: string
  readonly config: ConfigReader
  /** tokenizer.json as it stands, or null where the folder has none. */
  readonly tokenizerJson: string | null
  readonly chatTemplate: string | null
  readonly specialTokens: SpecialTokens
  /** Ids that end a text: those of generation_config.json and of config.json. */
  readonly endIds: readonly number[]
  /** What generation_config.json says of sampling. */
  readonly sampling: SamplingDefaults
  readonly settings: CheckpointSettings
}

/** Reads and checks every small file of a checkpoint folder. Errors: FileError. */
export async function openHuggingFace(folder: string): Promise<HuggingFaceFolder> {
  const config = await readConfig(folder)
  const tokenizerConfigPath = join(folder, 'tokenizer_config.json')
  const tokenizerConfig = await readOptionalJsonFile(tokenizerConfigPath, CONFIG_LIMITS)
  const template = await readOptionalTextFile(join(folder, 'chat_template.jinja'))
  const generationPath = join(folder, 'generation_config.json')
  const generation = (await readOptionalJsonFile(generationPath, CONFIG_LIMITS)) ?? {}
  const settingsPath = join(folder, 'shoal.json')
  const settings = await readOptionalJsonFile(settingsPath, CONFIG_LIMITS)
  return {
    folder,
    name: basename(resolve(folder)),
    config,
    tokenizerJson: await readOptionalTextFile(join(folder, 'tokenizer.json')),
    chatTemplate: template ?? chatTemplateOf(tokenizerConfigPath, tokenizerConfig ?? {}),
    specialTokens: specialTokensOf(tokenizerConfigPath, tokenizerConfig ?? {}),
    endIds: [
      ...new Set([
        ...parseEndIds(generationPath, generation.eos_token_id ?? null),
        ...parseEndIds(config.path, config.fields.eos_token_id ?? null),
      ]),
    ],
    sampling: samplingOfGenerationConfig(generationPath, generation),
    settings: settings === null ? {} : parseSettings(settingsPath, settings),
  }
}

/** config.json of a folder, or the file itself: all that planning needs. */
export async function readConfig(path: string): Promise<ConfigReader> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory()
  if (isFolder === undefined) throw new FileError(path, 'no such folder', 'file_missing')
  const file = isFolder ? join(path, 'config.json') : path
  return new ConfigReader(file, await readJsonFile(file, CONFIG_LIMITS))
}

/** A string, or a list of named templates of which `default` is taken (then the first). */
function chatTemplateOf(path: string, tokenizerConfig: JsonObject): string | null {
  const template = tokenizerConfig.chat_template ?? null
  if (template === null || typeof template === 'string') return template
  const named = Array.isArray(template) ? (template as unknown[]) : []
  const chosen = named.find((entry) => isJsonObject(entry) && entry.name === 'default') ?? named[0]
  if (isJsonObject(chosen) && typeof chosen.template === 'string') return chosen.template
  throw new FileError(path, 'chat_template must be a string or a list of {name, template}')
}

function specialTokensOf(path: string, tokenizerConfig: JsonObject): SpecialTokens {
  const text = (field: string): string | null => {
    const value = tokenizerConfig[field] ?? null
    const content = isJsonObject(value) ? value.content : value
    if (content === null || typeof content === 'string') return content
    throw new FileError(path, `${field} must be a string, or an object with content`)
  }
  return { bos: text('bos_token'), eos: text('eos_token'), unknown: text('unk_token'), padding: text('pad_token') }
}

function parseEndIds(path: string, value: unknown): number[] {
  const ids = value === null ? [] : Array.isArray(value) ? (value as unknown[]) : [value]
  if (!ids.every((id) => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 31)) {
    throw new FileError(path, 'eos_token_id must be a token id or a list of them')
  }
  return ids as number[]
}
