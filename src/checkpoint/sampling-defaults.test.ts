import { describe, expect, it } from 'vitest'
import type { JsonObject } from '../json.js'
import { GgufMetadata } from './gguf-metadata.js'
import type { GgufValue } from './gguf-value.js'
import { samplingEntries, samplingOfGenerationConfig, samplingOfMetadata } from './sampling-defaults.js'

const read = samplingOfGenerationConfig

describe('the sampling of a generation_config.json', () => {
  it.each<[string, JsonObject, object]>([
    [
      'is drawn where it says so',
      { do_sample: true, temperature: 0.7, top_k: 20, top_p: 0.8, min_p: 0.05, repetition_penalty: 1.05 },
      { temperature: 0.7, topK: 20, topP: 0.8, minP: 0.05, repetitionPenalty: 1.05 },
    ],
    ['is at temperature 1 where none is named', { do_sample: true, top_k: 64 }, { temperature: 1, topK: 64 }],
    ['is greedy without do_sample', { temperature: 0.6, top_p: 0.9 }, {}],
    [
      'is greedy where it says so, and penalises all the same',
      { do_sample: false, repetition_penalty: 1.1 },
      { repetitionPenalty: 1.1 },
    ],
    [
      'leaves out what is off',
      { do_sample: true, top_k: 0, top_p: 1, min_p: null, repetition_penalty: 1 },
      { temperature: 1 },
    ],
    ['knows -1 as a top-k that is off', { do_sample: true, top_k: -1 }, { temperature: 1 }],
    ['is nothing where nothing is said', { eos_token_id: 2 }, {}],
  ])('%s', (_, json, expected) => {
    expect(read(json)).toEqual(expected)
  })

  it.each<[JsonObject]>([
    [{ temperature: -1 }],
    [{ temperature: Number.NaN }],
    [{ top_p: 1.5 }],
    [{ top_k: 0.5 }],
    [{ min_p: '0.1' }],
    [{ repetition_penalty: 0 }],
  ])('leaves out what sampling cannot use: %j', (json) => {
    expect(read({ do_sample: true, ...json })).toEqual({ temperature: 1 })
  })
})

describe('the sampling of a GGUF file', () => {
  const of = (entries: [string, GgufValue][]) => samplingOfMetadata(new GgufMetadata('a.gguf', entries))

  it('is what was written, single precision put aside', () => {
    const sampling = { temperature: 0.7, topK: 20, topP: 0.9, minP: 0.05, repetitionPenalty: 1.05 }
    const stored = samplingEntries(sampling).map(([key, { type, value }]): [string, GgufValue] => [
      key,
      { type: type as 'float32', value: Math.fround(value as number) },
    ])
    expect(stored.map(([key]) => key.replace('general.sampling.', ''))).toEqual([
      'temp',
      'top_k',
      'top_p',
      'min_p',
      'penalty_repeat',
    ])
    expect(of(stored)).toEqual(sampling)
  })

  it('is at temperature 1 where only filters are named, and nothing where nothing is', () => {
    expect(of([['general.sampling.top_p', { type: 'float32', value: 0.5 }]])).toEqual({ temperature: 1, topP: 0.5 })
    expect(of([['general.sampling.penalty_repeat', { type: 'float32', value: 1.5 }]])).toEqual({
      repetitionPenalty: 1.5,
    })
    expect(of([])).toEqual({})
    expect(of([['general.sampling.temp', { type: 'float32', value: Number.NaN }]])).toEqual({})
    expect(of([['general.sampling.temp', { type: 'string', value: 'warm' }]])).toEqual({})
  })
})
