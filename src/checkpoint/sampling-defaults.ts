import { FileError } from '../errors.js'
import type { JsonObject } from '../json.js'
import type { GgufMetadata, GgufValue } from './gguf-metadata.js'

/** How a checkpoint says that its tokens are to be drawn. What it does not say, or turns off, is left out. */
export interface SamplingDefaults {
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  readonly repetitionPenalty?: number
}

type Name = keyof SamplingDefaults

/** Spellings, GGUF's types, what is valid, and the value that is as good as none. */
const FIELDS: readonly {
  readonly name: Name
  readonly json: string
  readonly gguf: string
  readonly type: 'int32' | 'float32'
  valid(value: number): boolean
  readonly off: number | null
}[] = [
  { name: 'temperature', json: 'temperature', gguf: 'temp', type: 'float32', valid: (v) => v >= 0, off: null },
  { name: 'topK', json: 'top_k', gguf: 'top_k', type: 'int32', valid: (v) => Number.isInteger(v), off: 0 },
  { name: 'topP', json: 'top_p', gguf: 'top_p', type: 'float32', valid: (v) => v >= 0 && v <= 1, off: 1 },
  { name: 'minP', json: 'min_p', gguf: 'min_p', type: 'float32', valid: (v) => v >= 0 && v <= 1, off: 0 },
  {
    name: 'repetitionPenalty',
    json: 'repetition_penalty',
    gguf: 'penalty_repeat',
    type: 'float32',
    valid: (v) => v > 0,
    off: 1,
  },
]

/** Filters say something only of a token that is drawn. */
const FILTERS: readonly Name[] = ['topK', 'topP', 'minP']

/**
 * The sampling of a generation_config.json, read as transformers does: it draws where `do_sample` is true, at temperature
 * 1 unless another is named, and penalises repetition in either case.
 * @throws FileError where a field cannot be what it says
 */
export function samplingOfGenerationConfig(path: string, json: JsonObject): SamplingDefaults {
  const sampling = readFields(path, (field) => [field.json, json[field.json] ?? null])
  if (json.do_sample === true) return { temperature: 1, ...sampling }
  const { repetitionPenalty } = sampling
  return repetitionPenalty === undefined ? {} : { repetitionPenalty }
}

/** The sampling of GGUF's keys `general.sampling.*`; filters without a temperature are meant for temperature 1. */
export function samplingOfMetadata(metadata: GgufMetadata): SamplingDefaults {
  const sampling = readFields(metadata.path, ({ gguf }) => {
    const key = `general.sampling.${gguf}`
    // Single precision: 0.9 comes as 0.8999999762.
    return [key, metadata.has(key) ? Number(metadata.number(key).toPrecision(6)) : null]
  })
  const draws = sampling.temperature === undefined && FILTERS.some((name) => sampling[name] !== undefined)
  return draws ? { temperature: 1, ...sampling } : sampling
}

export function samplingEntries(sampling: SamplingDefaults): [string, GgufValue][] {
  return FIELDS.flatMap(({ name, gguf, type }): [string, GgufValue][] => {
    const value = sampling[name]
    return value === undefined ? [] : [[`general.sampling.${gguf}`, { type, value }]]
  })
}

function readFields(
  path: string,
  read: (field: (typeof FIELDS)[number]) => readonly [string, unknown],
): SamplingDefaults {
  const sampling: { -readonly [K in Name]?: number } = {}
  for (const field of FIELDS) {
    const [key, value] = read(field)
    if (value === null) continue
    if (typeof value !== 'number' || !Number.isFinite(value) || !field.valid(value))
      throw new FileError(path, `${key} is not a value that sampling can use`)
    // Some files write -1 for a top-k that is off.
    const known = field.name === 'topK' ? Math.max(0, value) : value
    if (known !== field.off) sampling[field.name] = known
  }
  return sampling
}
