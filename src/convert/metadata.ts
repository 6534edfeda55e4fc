import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import type { HuggingFaceFolder } from '../checkpoint/huggingface.js'
import { type SamplingDefaults, samplingEntries, samplingOfMetadata } from '../checkpoint/sampling-defaults.js'
import type { CheckpointSettings } from '../checkpoint/settings.js'
import type { SpecialTokens } from '../checkpoint/special-tokens.js'
import type { TensorType } from '../checkpoint/tensor-type.js'
import { FILE_TYPES } from './stored-type.js'
import type { MetadataEntry } from './tokenizer-metadata.js'

/**
 * Version of what `convert` writes: part of the key of cached files. It rises whenever the same checkpoint would become
 * a different file.
 */
export const CONVERTER_VERSION = 4

/** Version of ggml's quantisation formats. */
const QUANTIZATION_VERSION = 2

export interface PackageDescription {
  readonly name: string
  readonly architecture: string
  /** Of the matrices, or of most of them. */
  readonly quantization: TensorType
  readonly warnings: readonly string[]
  /** Name of the model that this one was made from. */
  readonly baseModel?: string
}

/** All keys of a package: general ones first, as llama.cpp's tools write them, then the family's, the tokenizer's, Shoal's. */
export function packageMetadata(
  { name, architecture, quantization, warnings, baseModel }: PackageDescription,
  family: GgufMetadata,
  tokenizer: readonly MetadataEntry[],
  checkpoint: HuggingFaceFolder,
): GgufMetadata {
  const { settings, specialTokens, endIds, sampling } = checkpoint
  const entries: MetadataEntry[] = [
    ['general.architecture', text(architecture)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ...(baseModel === undefined ? [] : baseModelEntries(baseModel)),
    ...fileType(quantization),
    ['general.quantization_version', { type: 'uint32', value: QUANTIZATION_VERSION }],
    ...samplingEntries(sampling),
    ...family.values,
    ...tokenizer,
    ['shoal.converter_version', { type: 'uint32', value: CONVERTER_VERSION }],
    ['shoal.quantization', text(quantization)],
    // llama.cpp's key holds one id only.
    ['shoal.end_ids', { type: 'array', of: 'uint32', value: endIds }],
  ]
  for (const [which, token] of Object.entries(specialTokens)) {
    if (typeof token === 'string') entries.push([`shoal.token.${which}`, text(token)])
  }
  if (specialTokens.additional.length > 0) entries.push(['shoal.token.additional', texts(specialTokens.additional)])
  if (settings.depth !== undefined) entries.push(['shoal.depth', text(settings.depth)])
  if (settings.chatStop !== undefined) entries.push(['shoal.chat_stop', texts(settings.chatStop)])
  if (warnings.length > 0) entries.push(['shoal.warnings', texts(warnings)])
  return new GgufMetadata('', entries)
}

function fileType(quantization: TensorType): MetadataEntry[] {
  const value = FILE_TYPES[quantization]
  return value === undefined ? [] : [['general.file_type', { type: 'uint32', value }]]
}

/** The standard keys for the model that a file was made from. */
export function baseModelEntries(name: string): MetadataEntry[] {
  return [
    ['general.base_model.count', { type: 'uint32', value: 1 }],
    ['general.base_model.0.name', text(name)],
  ]
}

/** What a package says of tokens and settings; of another maker's file, what the standard keys tell. */
export interface PackageFacts {
  /** Ids that end a text; some may lie beyond the vocabulary. */
  readonly endIds: readonly number[]
  readonly sampling: SamplingDefaults
  readonly specialTokens: SpecialTokens
  readonly settings: CheckpointSettings
  readonly warnings: readonly string[]
  readonly chatTemplate: string | null
}

export function readPackageFacts(metadata: GgufMetadata): PackageFacts {
  const optional = (key: string): string | null => (metadata.has(key) ? metadata.string(key) : null)
  const depth = optional('shoal.depth')
  return {
    endIds: readEndIds(metadata),
    sampling: samplingOfMetadata(metadata),
    specialTokens: {
      bos: optional('shoal.token.bos') ?? tokenById(metadata, 'bos_token_id'),
      eos: optional('shoal.token.eos') ?? tokenById(metadata, 'eos_token_id'),
      unknown: optional('shoal.token.unknown') ?? tokenById(metadata, 'unknown_token_id'),
      padding: optional('shoal.token.padding') ?? tokenById(metadata, 'padding_token_id'),
      separator: optional('shoal.token.separator') ?? tokenById(metadata, 'seperator_token_id'),
      classification: optional('shoal.token.classification') ?? tokenById(metadata, 'cls_token_id'),
      mask: optional('shoal.token.mask') ?? tokenById(metadata, 'mask_token_id'),
      additional: metadata.has('shoal.token.additional') ? metadata.strings('shoal.token.additional') : [],
    },
    settings: {
      ...(depth !== null && { depth }),
      ...(metadata.has('shoal.chat_stop') && { chatStop: metadata.strings('shoal.chat_stop') }),
    },
    warnings: metadata.has('shoal.warnings') ? metadata.strings('shoal.warnings') : [],
    chatTemplate: optional('tokenizer.chat_template'),
  }
}

/** Shoal's own list, and every end-of-something token that llama.cpp has a key for. */
function readEndIds(metadata: GgufMetadata): number[] {
  const own = metadata.values.get('shoal.end_ids')
  const listed = own?.type === 'array' && own.of !== 'string' ? own.value : []
  const keys = ['eos_token_id', 'eot_token_id', 'eom_token_id'].map((key) => `tokenizer.ggml.${key}`)
  const standard = keys.filter((key) => metadata.has(key)).map((key) => metadata.count(key))
  return [...new Set([...listed.filter((id) => Number.isInteger(id) && id >= 0), ...standard])]
}

function tokenById(metadata: GgufMetadata, key: string): string | null {
  if (!metadata.has(`tokenizer.ggml.${key}`) || !metadata.has('tokenizer.ggml.tokens')) return null
  return metadata.stringAt('tokenizer.ggml.tokens', metadata.count(`tokenizer.ggml.${key}`))
}

function text(value: string): GgufValue {
  return { type: 'string', value }
}

function texts(value: readonly string[]): GgufValue {
  return { type: 'array', of: 'string', value }
}
