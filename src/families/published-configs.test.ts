import { describe, expect, it } from 'vitest'
import { PUBLISHED } from '../../test/published-configs.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { countParameters } from '../convert/convert.js'
import type { Hyperparameters } from './hyperparameters.js'
import { familyByArchitecture, familyByModelType } from './index.js'
import { unlikeLlamaCpp } from './llama-cpp.js'
import type { Rope } from './rope.js'

/** What a model comes to, in one line. Parameters, windows and positions are those of the classes of transformers 5.24. */
const EXPECTED: Readonly<Record<string, string>> = {
  'Llama-2-70B': '68976648192, 80 x 64/8 x 128, rope 10000 of 128',
  'Llama-3.2-1B': '1235814400 tied, 16 x 32/8 x 64, rope 500000 of 64 factors 1',
  'Mistral-7B-v0.1': '7241732096, 32 x 32/8 x 128, window 4096 in wwwwwwww, rope 10000 of 128',
  'Mistral-Nemo-2407': '12247782400, 40 x 32/8 x 128, rope 1000000 of 128',
  'Ministral-3-3B': '3429006336 tied, 26 x 32/8 x 128, rope 1000000 of 128 yarn 16 x 1.0000, temperatureScale 0.1',
  'Mixtral-8x7B': '46702792704, 32 x 32/8 x 128, rope 1000000 of 128, 2 of 8 normalized',
  'Qwen2.5-7B': '7615616512, 28 x 28/4 x 128, rope 1000000 of 128',
  'Qwen1.5-MoE-A2.7B': '14315784192, 24 x 16/16 x 128, rope 1000000 of 128, 4 of 60',
  'Qwen3-0.6B': '596049920 tied, 28 x 16/8 x 128, rope 1000000 of 128',
  'Qwen3-30B-A3B': '30532122624, 48 x 32/4 x 128, rope 1000000 of 128, 8 of 128 normalized',
  'gemma-2b': '2506172416 tied, 18 x 8/1 x 256, rope 10000 of 256, embeddingScale 45.2548',
  'gemma-2-27b':
    '27227128320 tied, 46 x 32/16 x 128, window 4096 in w-w-w-w-, rope 10000 of 128, attentionScale 0.0833333, embeddingScale 67.8823',
  'gemma-3-1b':
    '999885952 tied, 26 x 4/1 x 256, window 512 in wwwww-ww, rope 1000000 of 256, windows rope 10000 of 256, attentionScale 0.0625, embeddingScale 33.9411',
  'gemma-3-4b':
    '3880263168 tied, 34 x 8/4 x 256, window 1024 in wwwww-ww, rope 1000000 of 256 linear 8, windows rope 10000 of 256, attentionScale 0.0625, embeddingScale 50.5964',
  'gemma-3-27b':
    '27009346304 tied, 62 x 32/16 x 128, window 1024 in wwwww-ww, rope 1000000 of 128 linear 8, windows rope 10000 of 128, attentionScale 0.0771517, embeddingScale 73.3212',
  'phi-2': '2779683840, 32 x 32/32 x 80, rope 10000 of 32',
  'Phi-3-mini-128k': '3821079552, 32 x 32/32 x 96, window 262144 in wwwwwwww, rope 10000 of 96 longrope x 1.1902',
  'Phi-3-mini-4k': '3821079552, 32 x 32/32 x 96, window 2047 in wwwwwwww, rope 10000 of 96',
  'phi-4': '14659507200, 40 x 40/10 x 128, rope 250000 of 128',
  'Phi-4-mini': '3836021760 tied, 32 x 24/8 x 128, window 262144 in wwwwwwww, rope 10000 of 96 longrope x 1.1902',
  'gpt-oss-20b': '20914757184, 24 x 64/8 x 64, window 128 in w-w-w-w-, rope 150000 of 64 yarn 32 x 1.3466, 4 of 32',
  'granite-3.1-2b':
    '2533525504 tied, 40 x 32/8 x 64, rope 5000000 of 64, attentionScale 0.015625, embeddingScale 12, residualScale 0.22, logitDivisor 8',
  'granite-3.1-1b-a400m':
    '1334628352 tied, 24 x 16/8 x 64, rope 1500000 of 64, 8 of 32, attentionScale 0.015625, embeddingScale 12, residualScale 0.22, logitDivisor 6',
  'OLMo-1B-hf': '1176764416 tied, 16 x 16/16 x 128, rope 10000 of 128',
  'OLMo-2-1124-7B': '7298617344, 32 x 32/32 x 128, rope 500000 of 128',
  'Olmo-3-7B':
    '7298011136, 32 x 32/32 x 128, window 4096 in www-www-, rope 500000 of 128 yarn 8 x 1.2079, windows rope 500000 of 128',
  'OLMoE-1B-7B': '6919161856, 16 x 16/16 x 128, rope 10000 of 128, 8 of 64',
  'SmolLM3-3B': '3075098624 tied, 36 x 16/4 x 128, rope 5000000 of 128, rope in rrr-rrr-',
  'starcoder2-3b': '3030371328 tied, 30 x 24/2 x 128, window 4096 in wwwwwwww, rope 999999 of 128',
  'stablelm-3b-4e1t': '2795443200, 32 x 32/32 x 80, rope 10000 of 20',
  'stablelm-2-12b': '12143185920, 40 x 32/8 x 160, rope 10000 of 40',
  'falcon-7b': '6921720704 tied, 32 x 71/1 x 64, rope 10000 of 64',
  'falcon-40b': '41303293952 tied, 60 x 128/8 x 64, rope 10000 of 64',
  'falcon-11B': '11102822400, 60 x 32/8 x 128, rope 500042 of 128',
  gpt2: '124439808 tied, 12 x 12/12 x 64',
  'pythia-1b': '1011781632, 16 x 8/8 x 256, rope 10000 of 64',
  'gpt-neox-20b': '20554567680, 44 x 64/64 x 96, rope 10000 of 24, other GELU',
  'opt-350m': '331194368 tied, 24 x 16/16 x 64',
  'bloom-7b1': '7069016064 tied, 30 x 32/32 x 128',
  'c4ai-command-r-v01': '34980831232 tied, 40 x 64/64 x 128, rope 8000000 of 128, logitScale 0.0625',
  'c4ai-command-r-plus': '103810674688 tied, 64 x 96/8 x 128, rope 75000000 of 128, logitScale 0.833333',
  'c4ai-command-r7b':
    '8028033024 tied, 32 x 32/8 x 128, window 4096 in www-www-, rope 50000 of 128, rope in rrr-rrr-, logitScale 0.25',
  'GLM-4-9B-0414': '9400094720, 40 x 32/2 x 128, rope 10000 of 64',
  'EXAONE-4.0-32B':
    '32003216384, 64 x 40/8 x 128, window 4096 in www-www-, rope 1000000 of 128 factors 1, rope in rrr-rrr-',
  'EXAONE-4.0-1.2B': '1279391488 tied, 30 x 32/8 x 64, rope 1000000 of 64 factors 1',
  'ERNIE-4.5-0.3B': '360748032 tied, 18 x 16/2 x 128, rope 500000 of 128',
  'Seed-OSS-36B': '36151104512, 64 x 80/8 x 128, rope 10000000 of 128',
  'Hunyuan-7B': '7504568320 tied, 32 x 32/8 x 128, rope 11158840 of 128',
  'Minitron-4B': '4190509056, 32 x 24/8 x 128, rope 10000 of 64',
  'Apertus-8B-2509': '8053338112, 32 x 32/8 x 128, rope 12000000 of 128 factors 1',
  'AFM-4.5B': '4619184640, 36 x 20/4 x 128, rope 10000 of 128 yarn 20 x 1.2996',
  'Cerebras-GPT-111M': '111050496 tied, 10 x 12/12 x 64, other GELU',
  'falcon-40b-RefinedWeb': '41303293952 tied, 60 x 128/8 x 64, rope 10000 of 64',
}

function read(name: string) {
  const config = new ConfigReader('config.json', PUBLISHED[name]!)
  const family = familyByModelType(config.string('model_type'), name)
  return { family, h: family.fromConfig(config) }
}

function inOneLine(h: Hyperparameters, parameters: number): string {
  const { facts, layer, ropes, experts } = h
  const window = layer.find((l) => l.window !== null)?.window
  const eight = <T>(letter: (l: (typeof layer)[number]) => T) => layer.slice(0, 8).map(letter).join('')
  const scales = (
    ['attentionScale', 'embeddingScale', 'residualScale', 'logitScale', 'logitDivisor', 'temperatureScale'] as const
  ).flatMap((name) => (facts[name] === undefined ? [] : [`${name} ${Number(facts[name].toPrecision(6))}`]))
  return [
    `${parameters}${h.tiedEmbeddings ? ' tied' : ''}`,
    `${h.layers} x ${h.heads}/${h.kvHeads} x ${h.headDim}`,
    ...(window === undefined ? [] : [`window ${window} in ${eight((l) => (l.window === null ? '-' : 'w'))}`]),
    ...(ropes === null ? [] : [ropeText(ropes.full)]),
    ...(layer.some(({ rope }) => rope === 'local') ? [`windows ${ropeText(ropes!.local)}`] : []),
    ...(ropes !== null && layer.some(({ rope }) => rope === null)
      ? [`rope in ${eight((l) => (l.rope ? 'r' : '-'))}`]
      : []),
    ...(experts === null ? [] : [`${experts.used} of ${experts.count}${facts.normalizeExperts ? ' normalized' : ''}`]),
    ...scales,
    ...(facts.otherGelu ? ['other GELU'] : []),
  ].join(', ')
}

function ropeText({ base, dimensions, scaling }: Rope): string {
  const { type } = scaling
  const how = type === 'none' ? '' : 'factor' in scaling ? ` ${type} ${scaling.factor}` : ` ${type}`
  const magnitude = 'magnitude' in scaling ? ` x ${scaling.magnitude.toFixed(4)}` : ''
  return `rope ${Math.round(base)} of ${dimensions}${how}${magnitude}`
}

/** Lists that a conversion takes from the weights. */
const LEARNED = ['xieluAlphaN', 'xieluAlphaP', 'xieluBeta', 'xieluEps']

describe('the config.json of', () => {
  it.each(Object.keys(PUBLISHED))('%s', (name) => {
    const { family, h } = read(name)
    expect(inOneLine(h, countParameters(family.tensors(h)))).toBe(EXPECTED[name])
  })

  it.each(Object.keys(PUBLISHED))('%s, converted', (name) => {
    const { family, h } = read(name)
    const lists = Object.fromEntries(LEARNED.map((fact) => [fact, Array(h.layers).fill(0.5)]))
    const metadata = family.toMetadata({ ...h, facts: { ...h.facts, ...(h.architecture === 'apertus' && lists) } })
    const names = new Set([...family.tensors(h), ...family.computedTensors(h)].map((t) => t.name))
    const reader = familyByArchitecture(h.architecture, name)
    const back = reader.fromMetadata(metadata, names)
    expect(inOneLine(back, countParameters(reader.tensors(back)))).toBe(EXPECTED[name])
    expect(back.layer).toEqual(h.layer)
  })
})

describe('windows that are switched on', () => {
  const windows = (name: string, change: object) => {
    const fields: Record<string, unknown> = {
      ...PUBLISHED[name],
      use_sliding_window: true,
      sliding_window: 4096,
      max_window_layers: 20,
      ...change,
    }
    const { layer } = familyByModelType(String(fields.model_type), name).fromConfig(
      new ConfigReader('config.json', fields),
    )
    return layer.flatMap(({ window }, l) => (window === null ? [] : [l]))
  }

  // As the classes of transformers 5.24 have it.
  it('are in the upper layers of Qwen 2.5 and 3, in all of Qwen 3 MoE, in every other of the lower ones of Qwen 1.5 MoE', () => {
    expect(windows('Qwen2.5-7B', {})).toEqual([20, 21, 22, 23, 24, 25, 26, 27])
    expect(windows('Qwen3-0.6B', {})).toEqual([20, 21, 22, 23, 24, 25, 26, 27])
    expect(windows('Qwen3-30B-A3B', {})).toHaveLength(48)
    expect(windows('Qwen1.5-MoE-A2.7B', { max_window_layers: 5 })).toEqual([0, 2, 4])
    expect(windows('OLMoE-1B-7B', {})).toEqual([])
  })
})

describe('a GGUF file of Qwen 1.5 MoE', () => {
  it('may lack the widths of its experts, as older ones do', () => {
    const { family, h } = read('Qwen1.5-MoE-A2.7B')
    const names = new Set(family.tensors(h).map((t) => t.name))
    const older = new Map(family.toMetadata(h).values)
    expect(older.delete('qwen2moe.expert_feed_forward_length')).toBe(true)
    expect(older.delete('qwen2moe.expert_shared_feed_forward_length')).toBe(true)
    const { facts } = family.fromMetadata(new GgufMetadata('x.gguf', older), names)
    expect(facts).toMatchObject({ expertWidth: 1408, sharedExpertWidth: 5632 })
  })
})

describe('what llama.cpp makes otherwise', () => {
  it.each([
    ['Llama-3.2-1B', []],
    ['Mistral-7B-v0.1', ['no layer has a window']],
    ['gemma-2-27b', []],
    ['gemma-3-27b', []],
    ['EXAONE-4.0-32B', []],
    ['gpt-neox-20b', []],
    ['Cerebras-GPT-111M', []],
    ['Qwen3-30B-A3B', []],
  ])('of %s', (name, expected) => {
    const { family, h } = read(name)
    const lines = expected.map((what) => `llama.cpp computes something else here: ${what}`)
    expect(unlikeLlamaCpp(family, h)).toEqual(lines)
  })
})
