import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../test/compare.js'
import { useWorkspace } from '../../test/workspace.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { readGguf } from '../checkpoint/gguf.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { openHuggingFace, readConfig } from '../checkpoint/huggingface.js'
import { openSafetensors, type SafetensorsFile } from '../checkpoint/safetensors.js'
import { openWeights } from '../checkpoint/sharded.js'
import type { Model } from '../engine/api.js'
import { FileError, UnsupportedError } from '../errors.js'
import { FAMILIES, familyByArchitecture, familyByModelType } from './index.js'

const FOLDER = 'test/fixtures/checkpoints'

/** Values of config.json that change the result and are not computed, by the fixture that they are tried on. */
const REFUSED: Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>> = {
  llama: [
    { hidden_act: 'gelu' },
    { partial_rotary_factor: 0.3 },
    { num_key_value_heads: 3 },
    { head_dim: 7 },
    { rope_scaling: { type: 'dynamic', factor: 2 }, rope_parameters: undefined },
    { rope_parameters: { rope_type: 'longrope', long_factor: [1, 2], short_factor: [1, 2] } },
    { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.3 } },
    { rope_parameters: { rope_type: 'linear', factor: 0 } },
    { rope_parameters: { rope_type: 'yarn', factor: 0 } },
    { rope_theta: 0, rope_parameters: undefined },
  ],
  'llama31-rope': [
    {
      rope_parameters: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 4,
        high_freq_factor: 1,
        original_max_position_embeddings: 32,
      },
    },
  ],
  opt: [
    { activation_function: 'gelu' },
    { enable_bias: false },
    { layer_norm_elementwise_affine: false },
    { num_attention_heads: 5 },
  ],
  bloom: [{ apply_residual_connection_post_layernorm: true }, { n_head: 5 }],
  gemma: [{ hidden_act: 'relu', hidden_activation: undefined }, { use_bidirectional_attention: true }],
  gemma2: [{ layer_types: ['full_attention'] }, { layer_types: Array(5).fill('chunked_attention') }],
  gemma3: [{ hidden_activation: 'relu' }],
  gpt2: [
    { activation_function: 'relu' },
    { scale_attn_weights: false },
    { scale_attn_by_inverse_layer_idx: true },
    { add_cross_attention: true },
  ],
  gpt_oss: [{ swiglu_limit: 5 }, { swiglu_alpha: 1 }],
  'gpt-neox': [{ hidden_act: 'relu' }],
  phi: [{ qk_layernorm: true }, { hidden_act: 'gelu' }],
  'falcon-7b': [{ alibi: true }, { parallel_attn: false }, { bias: true }, { activation: 'relu' }],
  hunyuan_v1_dense: [{ rope_parameters: { rope_type: 'dynamic', factor: 2 } }],
  'phi3-longrope': [
    { rope_parameters: { rope_type: 'longrope', long_factor: [1], short_factor: [1], partial_rotary_factor: 0.75 } },
  ],
}

/** Fixtures of what is refused by name, or needs another part. */
const REFUSED_FOLDERS = ['falcon-rw']

// What every family must do. A new one takes part by a folder in test/fixtures/checkpoints, which make.py writes.
const NAMES = readdirSync(FOLDER, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !REFUSED_FOLDERS.includes(entry.name))
  .map(({ name }) => name)

/** Within 64 positions Phi 3's short factors hold. */
const CONTEXTS: Readonly<Record<string, number>> = { 'phi3-longrope-short': 64 }

/** Fields that a config.json must have, under one of their names. */
const REQUIRED = [
  ['hidden_size', 'n_embd'],
  ['num_hidden_layers', 'n_layer'],
  ['num_attention_heads', 'n_head'],
  ['intermediate_size', 'ffn_dim'],
  ['vocab_size'],
]
/** transformers has a default for these. */
const OPTIONAL: Readonly<Record<string, readonly string[]>> = { gemma3: ['num_attention_heads', 'vocab_size'] }

/** Facts that only a config.json tells; a package tells the layers that follow from them. */
const RULES = ['windowFrom', 'windowPeriod', 'rotationPeriod']

/** Largest difference to PyTorch that is allowed, in float32. */
const TOLERANCE = 1e-3

const workspace = useWorkspace()

describe.each(NAMES)('%s against PyTorch', (name) => {
  const folder = join(FOLDER, name)
  let model: Model
  let expected: SafetensorsFile
  let inputs: number[][]

  beforeAll(async () => {
    const context = CONTEXTS[name]
    model = await workspace.load(folder, { quantization: 'f32', ...(context !== undefined && { context }) })
    expected = await openSafetensors(join(folder, 'expected.safetensors'))
    const ids = await expected.readIntegers('input_ids')
    const length = expected.tensors.get('input_ids')?.shape[1] as number
    inputs = [ids.slice(0, length), ids.slice(length)]
    return () => expected.close()
  })

  it('gives hidden states, lens logits and logits', async () => {
    const { hidden, vocabulary, layers } = model.hyperparameters
    const worst = { hidden: 0, lens: 0, logits: 0 }
    for (const [b, ids] of inputs.entries()) {
      const trace = await model.trace(ids)
      const of = async (key: string, width: number) => rowOf(await expected.readFloats(key), b, ids.length * width)
      for (let l = 0; l < layers; l++) {
        worst.hidden = Math.max(worst.hidden, largestDifference(trace.hidden[l]!, await of(`hidden.${l}`, hidden)))
        worst.lens = Math.max(
          worst.lens,
          largestDifference(trace.lensLogits[l]!, await of(`lens_logits.${l}`, vocabulary)),
        )
      }
      worst.logits = Math.max(worst.logits, largestDifference(trace.logits, await of('logits', vocabulary)))
      expect(trace.logits).toEqual(trace.lensLogits.at(-1))
      expect([...trace.inputIds]).toEqual(ids)
    }
    console.log(
      `${name}: largest difference to PyTorch: hidden ${worst.hidden}, lens ${worst.lens}, logits ${worst.logits}`,
    )
    expect(Math.max(worst.hidden, worst.lens, worst.logits)).toBeLessThan(TOLERANCE)
  })

  it('continues greedily with the same ids', async () => {
    const greedy = await expected.readIntegers('greedy')
    const result = await model.generate(inputs[0]!, { maxTokens: greedy.length, ignoreEos: true }).result
    expect(result.tokens).toEqual(greedy)
  })

  it('reproduces skip_logits by score', async () => {
    const layers = await expected.readIntegers('skip_layers')
    const score = await model.score(inputs[0]!, { promptLength: 11, depth: `layers:${layers.join()}` })
    const difference = largestDifference(score.logits, await expected.readFloats('skip_logits'))
    console.log(`${name}: largest difference of skip_logits ${difference}`)
    expect(difference).toBeLessThan(TOLERANCE)
    expect([...score.depth]).toEqual(Array(5).fill(layers.length))
  })

  it('stays exact under the staircase', async () => {
    const [ids] = inputs as [number[]]
    const { vocabulary, layers } = model.hyperparameters
    const full = await model.trace(ids)
    // Two tokens of three stop early, the third runs through.
    const early = {
      kind: 'exit',
      spec: 'test',
      checkLayers: () => [1],
      startToken: (t: { position: number }) => t.position,
      exits: (_: unknown, p: unknown) => (p as number) % 3 !== 0,
    } as const
    const score = await model.score(ids, { promptLength: 4, depth: early })
    score.depth.forEach((depth, i) => {
      const position = 4 + i
      expect(depth).toBe(position % 3 === 0 ? layers : 2)
      expect(
        largestDifference(rowOf(score.logits, i, vocabulary), rowOf(full.lensLogits[depth - 1]!, position, vocabulary)),
      ).toBeLessThan(1e-4)
    })
  })

  it('gives a batch of four what single runs give', async () => {
    const options = { maxTokens: 8, ignoreEos: true, depth: 'gap:0.3' } as const
    const prompts = [...inputs, ...inputs.map((ids) => ids.slice(0, 9))]
    const together = await Promise.all(prompts.map((ids) => model.generate(ids, options).result))
    for (const [b, ids] of prompts.entries()) {
      const single = await model.generate(ids, options).result
      expect(together[b]?.tokens).toEqual(single.tokens)
      expect(together[b]?.depths).toEqual(single.depths)
    }
  })

  it('sees in a long sequence, token by token, what it sees at once', async () => {
    const { learnedPositions, vocabulary } = model.hyperparameters
    const length = learnedPositions ?? 700
    const long = await workspace.load(folder, { quantization: 'f32', context: length })
    const ids = Array.from({ length: length - 2 }, (_, i) => (i * i * 7 + 3 * i + (i >> 5)) % vocabulary)
    const whole = await long.trace(ids)
    const spread = whole.logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
    for (const promptLength of [70, ids.length - 30]) {
      const until = promptLength + 20
      const { logits } = await long.score(ids.slice(0, until), { promptLength })
      const wanted = whole.logits.subarray(promptLength * vocabulary, until * vocabulary)
      expect(largestDifference(logits, wanted) / spread).toBeLessThan(1e-4)
    }
  })

  it('says under lossless what full depth says', async () => {
    const options = { maxTokens: 12, ignoreEos: true } as const
    const full = await model.generate(inputs[1]!, options).result
    for (const depth of ['gap:0.2', 'unified:1.5x,by=layers']) {
      const drafted = await model.generate(inputs[1]!, { ...options, depth, lossless: { drafts: 3 } }).result
      expect(drafted.tokens).toEqual(full.tokens)
    }
  })

  it('refuses config values that it does not implement, by field name', async () => {
    const { fields } = await readConfig(folder)
    const family = familyByModelType(String(fields.model_type), folder)
    for (const change of REFUSED[name] ?? []) {
      const [field] = Object.entries(change).find(([, value]) => value !== undefined)!
      const config = new ConfigReader('config.json', { ...fields, ...change })
      expect(() => family.fromConfig(config), JSON.stringify(change)).toThrow(UnsupportedError)
      expect(() => family.fromConfig(config)).toThrow(new RegExp(`^config.json: ${field}`))
    }
  })

  it('names a missing field and a field of the wrong type', async () => {
    const { fields } = await readConfig(folder)
    const family = familyByModelType(String(fields.model_type), folder)
    for (const names of REQUIRED) {
      const field = names.find((n) => n in fields)
      if (field === undefined || OPTIONAL[family.architecture]?.includes(field) === true) continue
      const { [field]: _, ...without } = fields
      expect(() => family.fromConfig(new ConfigReader('config.json', without))).toThrow(FileError)
      expect(() => family.fromConfig(new ConfigReader('config.json', without))).toThrow(
        /^config.json: field \w+ is missing$/,
      )
      for (const wrong of [0, -1, 1.5, '32', 2 ** 40]) {
        const config = new ConfigReader('config.json', { ...fields, [field]: wrong })
        expect(() => family.fromConfig(config)).toThrow(new RegExp(`^config.json: field ${field} must be`))
      }
    }
  })

  it('keeps its hyperparameters through GGUF metadata', async () => {
    const checkpoint = await openHuggingFace(folder)
    const family = familyByModelType(checkpoint.config.string('model_type'), folder)
    const weights = await openWeights(folder)
    const h = await family.withScalars(family.fromConfig(checkpoint.config), weights)
    await weights.close()
    const names = new Set([...family.tensors(h), ...family.computedTensors(h)].map((t) => t.name))
    const reader = familyByArchitecture(family.architecture, folder)
    const back = reader.fromMetadata(family.toMetadata(h), names)
    const known = { ...h, facts: Object.fromEntries(Object.entries(h.facts).filter(([fact]) => !RULES.includes(fact))) }
    expect(plain(back)).toMatchObject(plain(known) as object)
    const shapes = (of: typeof h) => family.tensors(of).map((t) => [t.name, t.shape])
    expect(reader.tensors(back).map((t) => [t.name, t.shape])).toEqual(shapes(h))
    expect(reader.computedTensors(back).map((t) => [t.name, t.length])).toEqual(
      family.computedTensors(h).map((t) => [t.name, t.length]),
    )
  })

  it('names a metadata key that is missing or makes no sense', async () => {
    const { metadata, tensors } = await readGguf(model.path)
    const family = familyByArchitecture(metadata.string('general.architecture'), model.path)
    const names = new Set(tensors.keys())
    for (const key of [
      'block_count',
      'embedding_length',
      'attention.head_count',
      'feed_forward_length',
      'context_length',
    ]) {
      const name = `${family.architecture}.${key}`
      const change = (value: number | null) => {
        const rest = [...metadata.values].filter(([k]) => k !== name)
        if (value !== null) rest.push([name, { type: 'uint32', value }])
        return new GgufMetadata('x.gguf', rest)
      }
      expect(() => family.fromMetadata(change(null), names)).toThrow(
        new FileError('x.gguf', `metadata key ${name} is missing`),
      )
      expect(() => family.fromMetadata(change(0), names), name).toThrow(FileError)
    }
  })

  it('refuses numbers in metadata that would end the process', async () => {
    const { metadata, tensors } = await readGguf(model.path)
    const family = familyByArchitecture(metadata.string('general.architecture'), model.path)
    const names = new Set(tensors.keys())
    const change = (key: string, value: GgufValue) =>
      new GgufMetadata('x.gguf', [...metadata.values].filter(([k]) => k !== key).concat([[key, value]]))
    const layers = `${family.architecture}.block_count`
    expect(() => family.fromMetadata(change(layers, { type: 'uint64', value: 2 ** 40 }), names)).toThrow(
      new FileError('x.gguf', `metadata key ${layers} must be from 1 to 4096`),
    )
    const epsilon = [...metadata.values.keys()].find((key) => key.endsWith('epsilon'))!
    for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => family.fromMetadata(change(epsilon, { type: 'float32', value }), names)).toThrow(
        new FileError('x.gguf', `metadata key ${epsilon} must be a number >= 0`),
      )
    }
  })
})

describe('keys of metadata', () => {
  it("are llama.cpp's where they stand without an architecture", async () => {
    const { config } = await openHuggingFace(join(FOLDER, 'apertus'))
    const family = familyByArchitecture('apertus', 'x.gguf')
    const h = family.fromConfig(config)
    const metadata = family.toMetadata({ ...h, facts: { ...h.facts, xieluBeta: [0.5, 0.5, 0.5, 0.25] } })
    expect(metadata.numbers('xielu.beta', 4)).toEqual([0.5, 0.5, 0.5, 0.25])
  })
})

describe('the list of families', () => {
  it('names the supported ones where one is unknown', () => {
    const types = FAMILIES.flatMap((f) => f.modelTypes).join(', ')
    expect(() => familyByModelType('mamba', 'x/config.json')).toThrow(
      new UnsupportedError(`x/config.json: model_type "mamba" is not supported; supported: ${types}`),
    )
    expect(() => familyByArchitecture('mamba', 'x.gguf')).toThrow(
      /^x.gguf: architecture "mamba" is not supported; supported: llama/,
    )
  })
})

/** Float32 is what the file keeps of a number; rotary factors lie in a tensor of the package. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, v: unknown) =>
      ['factors', 'long', 'short'].includes(key) ? null : typeof v === 'number' ? Math.fround(v) : v,
    ),
  )
}
