import type { JsonObject } from '../json.js'
import type { GgufMetadata } from './gguf-metadata.js'
import type { GgufValue } from './gguf-value.js'

/**
 * How a checkpoint says that its tokens are to be drawn. What it does not say, turns off, or says in a way that sampling cannot
 * use is left out: a recommendation is nothing that a model needs.
 */
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
 */
export function samplingOfGenerationConfig(json: JsonObject): SamplingDefaults {
  const sampling = readFields((field) => json[field.json])
  if (json.do_sample === true) return { temperature: 1, ...sampling }
  const { repetitionPenalty } = sampling
  return repetitionPenalty === undefined ? {} : { repetitionPenalty }
}

/** The sampling of GGUF's keys `general.sampling.*`; filters without a temperature are meant for temperature 1. */
export function samplingOfMetadata(metadata: GgufMetadata): SamplingDefaults {
  const sampling = readFields(({ gguf }) => {
    const value = metadata.values.get(`general.sampling.${gguf}`)?.value
    // Single precision: 0.9 comes as 0.8999999762.
    return typeof value === 'number' ? Number(value.toPrecision(6)) : null
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

function readFields(read: (field: (typeof FIELDS)[number]) => unknown): SamplingDefaults {
  const sampling: { -readonly [K in Name]?: number } = {}
  for (const field of FIELDS) {
    const value = read(field)
    if (typeof value !== 'number' || !Number.isFinite(value) || !field.valid(value)) continue
    // Some files write -1 for a top-k that is off.
    const known = field.name === 'topK' ? Math.max(0, value) : value
    if (known !== field.off) sampling[field.name] = known
  }
  return sampling
}
