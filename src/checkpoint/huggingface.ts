import { statSync } from 'node:fs'
import { join } from 'node:path'
import { FileError } from '../errors.js'
import { CONFIG_LIMITS, isJsonObject, type JsonObject } from '../json.js'
import { additionalTokens, namedToken, type TokenField, type TokenizerFiles } from '../tokenizer/named-tokens.js'
import { buildTokenizer, completeTokenizer } from '../tokenizer/tokenizer-files.js'
import { ConfigReader } from './config-reader.js'
import { type SamplingDefaults, samplingOfGenerationConfig } from './sampling-defaults.js'
import { type CheckpointSettings, parseSettings } from './settings.js'
import { folderName } from './snapshot-name.js'
import type { SpecialTokens } from './special-tokens.js'
import { readJsonFile, readOptionalJsonFile, readOptionalTextFile } from './text-file.js'

/** Files of a folder, beside its weights, that decide what a conversion of it holds. */
export const CHECKPOINT_FILES = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'vocab.json',
  'merges.txt',
  'added_tokens.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'shoal.json',
  'hf_quant_config.json',
  'quantize_config.json',
] as const

/** A checkpoint folder in Hugging Face's layout, without its weights (`openWeights` opens those). */
export interface HuggingFaceFolder {
  readonly folder: string
  /** The folder's own name; of a snapshot in Hugging Face's cache, `org/name`. */
  readonly name: string
  readonly config: ConfigReader
  /**
   * tokenizer.json, with the special tokens that it lacks and the files beside it name, or what vocab.json and merges.txt
   * make; null where the folder has neither.
   */
  readonly tokenizerJson: string | null
  /** The file that it is, or is made of, for errors. */
  readonly tokenizerPath: string
  readonly chatTemplate: string | null
  /** The file that holds it, for errors. */
  readonly chatTemplatePath: string
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
  const templatePath = join(folder, 'chat_template.jinja')
  const template = await readOptionalTextFile(templatePath)
  const generationPath = join(folder, 'generation_config.json')
  const generation = (await readOptionalJsonFile(generationPath, CONFIG_LIMITS)) ?? {}
  const settingsPath = join(folder, 'shoal.json')
  const settings = await readOptionalJsonFile(settingsPath, CONFIG_LIMITS)
  const files: TokenizerFiles = {
    path: folder,
    tokenizerConfig,
    specialTokensMap: await readOptionalJsonFile(join(folder, 'special_tokens_map.json'), CONFIG_LIMITS),
    addedTokens: await readOptionalJsonFile(join(folder, 'added_tokens.json')),
    modelType: typeof config.fields.model_type === 'string' ? config.fields.model_type : null,
  }
  return {
    folder,
    name: folderName(folder),
    config,
    ...(await readTokenizer(folder, files)),
    chatTemplate: template ?? chatTemplateOf(tokenizerConfigPath, tokenizerConfig ?? {}),
    chatTemplatePath: template === null ? tokenizerConfigPath : templatePath,
    specialTokens: specialTokensOf(files),
    endIds: [
      ...new Set([
        ...parseEndIds(generationPath, generation.eos_token_id ?? null),
        ...parseEndIds(config.path, config.fields.eos_token_id ?? null),
      ]),
    ],
    sampling: samplingOfGenerationConfig(generation),
    settings: settings === null ? {} : parseSettings(settingsPath, settings),
  }
}

/** config.json of a folder, or the file itself: all that planning needs. */
export async function readConfig(path: string): Promise<ConfigReader> {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory()
  if (isFolder === undefined) throw new FileError(path, 'no such folder', 'file_missing')
  const file = isFolder ? join(path, 'config.json') : path
  return languageConfig(file, await readJsonFile(file, CONFIG_LIMITS))
}

/** Fields of a multimodal model's config.json that hold for its language model where that does not say them. */
const OUTER = ['tie_word_embeddings', 'eos_token_id', 'bos_token_id', 'quantization_config', 'dtype']

/** The language model's part of a config.json: of a multimodal model, what stands under `text_config`. */
function languageConfig(file: string, fields: JsonObject): ConfigReader {
  const text = fields.text_config
  if (!isJsonObject(text)) return new ConfigReader(file, fields)
  const outer = OUTER.filter((field) => fields[field] !== undefined).map((field) => [field, fields[field]])
  return new ConfigReader(file, { ...Object.fromEntries(outer), ...text }, 'text_config.')
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

async function readTokenizer(
  folder: string,
  files: TokenizerFiles,
): Promise<Pick<HuggingFaceFolder, 'tokenizerJson' | 'tokenizerPath'>> {
  const path = join(folder, 'tokenizer.json')
  const text = await readOptionalTextFile(path)
  if (text !== null) return { tokenizerJson: completeTokenizer(path, text, files), tokenizerPath: path }
  const vocabPath = join(folder, 'vocab.json')
  const vocab = await readOptionalJsonFile(vocabPath)
  const merges = await readOptionalTextFile(join(folder, 'merges.txt'))
  const made = vocab === null || merges === null ? null : buildTokenizer(files, vocab, merges)
  return { tokenizerJson: made, tokenizerPath: vocabPath }
}

function specialTokensOf(files: TokenizerFiles): SpecialTokens {
  const text = (field: TokenField): string | null => namedToken(files, field)?.content ?? null
  return {
    bos: text('bos_token'),
    eos: text('eos_token'),
    unknown: text('unk_token'),
    padding: text('pad_token'),
    separator: text('sep_token'),
    classification: text('cls_token'),
    mask: text('mask_token'),
    additional: additionalTokens(files).map((token) => token.content),
  }
}

function parseEndIds(path: string, value: unknown): number[] {
  const ids = value === null ? [] : Array.isArray(value) ? (value as unknown[]) : [value]
  if (!ids.every((id) => typeof id === 'number' && Number.isInteger(id) && id >= 0 && id < 2 ** 31)) {
    throw new FileError(path, 'eos_token_id must be a token id or a list of them')
  }
  return ids as number[]
}
