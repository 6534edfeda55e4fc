import type { GgufScalarType } from './gguf-value.js'

/** `GGUF` as a little-endian number. */
export const GGUF_MAGIC = 0x46554747
export const GGUF_VERSION = 3
/** Tensors start at multiples of this where `general.alignment` says nothing else. */
export const GGUF_DEFAULT_ALIGNMENT = 32
/** ggml's limits: dimensions of a tensor, and bytes of its name with the closing zero. */
export const GGUF_MAX_DIMENSIONS = 4
export const GGUF_MAX_NAME = 64
export const GGUF_MAX_KEY = 65_535
/**
 * Limits of this reader, far above any real file (vocabularies reach a million): what a header may make it allocate
 * does not grow with the size of the file.
 */
export const GGUF_MAX_TENSORS = 250_000
/** Parts of a split file, which hold GGUF_MAX_TENSORS tensors together. */
export const GGUF_MAX_PARTS = 1000
export const GGUF_MAX_PAIRS = 100_000
export const GGUF_MAX_LIST = 16_000_000
export const GGUF_MAX_STRING = 128 * 1024 * 1024
/** Bytes of a list. */
export const GGUF_MAX_LIST_BYTES = 128 * 1024 * 1024

/** Numbers of the value types in the file. */
export const GGUF_VALUE_TYPES: readonly (GgufScalarType | 'array')[] = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
]

/** Bytes of a value; a string takes at least those of its length. */
export const GGUF_VALUE_BYTES: Readonly<Record<GgufScalarType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  uint64: 8,
  int64: 8,
  float64: 8,
}

export function alignUp(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment
}

/** A power of two from 8 to 65,536: the format asks for multiples of 8, ggml for powers of two. */
export function isAlignment(value: number): boolean {
  return value >= 8 && value <= 65_536 && Number.isInteger(Math.log2(value))
}
