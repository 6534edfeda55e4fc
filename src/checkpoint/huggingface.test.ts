import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileError, UnsupportedError } from '../errors.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'
import { openHuggingFace, readConfig } from './huggingface.js'
import { openSafetensors } from './safetensors.js'
import { createSafetensorsWriter } from './safetensors-write.js'
import { openWeights, weightFiles } from './sharded.js'

const RIPPLE = 'pretrained/ripple-8m'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-checkpoint-'))
})
afterEach(() => rm(folder, { recursive: true }))

function write(name: string, content: unknown): Promise<void> {
  return writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => new Error('was accepted'),
    (error: unknown) => error as Error,
  )
  expect(error instanceof FileError || error instanceof UnsupportedError, error.message).toBe(true)
  expect(error.message).toContain(folder)
  return error
}

describe('a checkpoint folder', () => {
  it('is read with everything that stands beside its weights', async () => {
    const checkpoint = await openHuggingFace(RIPPLE)
    expect(checkpoint).toMatchObject({
      name: 'ripple-8m',
      endIds: [1],
      settings: { chatStop: ['\n\n'] },
      specialTokens: { bos: '<s>', eos: '</s>', unknown: null, padding: null },
    })
    expect(checkpoint.chatTemplate).toContain('bos_token')
    expect(checkpoint.tokenizerJson).toContain('ByteLevel')
    expect(checkpoint.config.count('num_hidden_layers')).toBe(16)
  })

  it('may hold the NaN and Infinity that Python writes, where they do not matter', async () => {
    await write(
      'config.json',
      '{"model_type": "llama", "loss": NaN, "limits": [-Infinity, Infinity], "hidden_size": NaN}',
    )
    await write('generation_config.json', '{"eos_token_id": 2, "max_time": Infinity}')
    await write('tokenizer_config.json', '{"model_max_length": Infinity, "eos_token": "<|end|>"}')
    const checkpoint = await openHuggingFace(folder)
    expect(checkpoint).toMatchObject({ endIds: [2], specialTokens: { eos: '<|end|>' } })
    expect(checkpoint.config.fields.loss).toBe(Number.NaN)
    expect(() => checkpoint.config.count('hidden_size')).toThrow(/field hidden_size must be a whole number/)
    expect(checkpoint.config.unsupported('loss').message).toMatch(/loss = NaN is not supported$/)
    await write('generation_config.json', '{"eos_token_id": NaN}')
    expect((await failure(openHuggingFace(folder))).message).toContain('eos_token_id must be a token id')
  })

  it('needs nothing but config.json', async () => {
    await write('config.json', { model_type: 'llama' })
    expect(await openHuggingFace(folder)).toMatchObject({
      tokenizerJson: null,
      chatTemplate: null,
      endIds: [],
      settings: {},
    })
    expect((await readConfig(join(folder, 'config.json'))).string('model_type')).toBe('llama')
  })

  it('takes end ids from generation_config.json and from config.json', async () => {
    await write('config.json', { eos_token_id: [7, 8, 7] })
    expect((await openHuggingFace(folder)).endIds).toEqual([7, 8])
    await write('generation_config.json', { eos_token_id: null })
    expect((await openHuggingFace(folder)).endIds).toEqual([7, 8])
    await write('generation_config.json', { eos_token_id: 3 })
    expect((await openHuggingFace(folder)).endIds).toEqual([3, 7, 8])
    await write('generation_config.json', { eos_token_id: [3, -1] })
    expect((await failure(openHuggingFace(folder))).message).toContain('eos_token_id')
  })

  it('names special tokens that stand in special_tokens_map.json alone', async () => {
    await write('config.json', {})
    await write('tokenizer_config.json', { bos_token: '<b>', additional_special_tokens: ['<x>', { content: '<y>' }] })
    await write('special_tokens_map.json', { pad_token: { content: '<p>' }, mask_token: '<m>' })
    expect((await openHuggingFace(folder)).specialTokens).toEqual({
      bos: '<b>',
      eos: null,
      unknown: null,
      padding: '<p>',
      separator: null,
      classification: null,
      mask: '<m>',
      additional: ['<x>', '<y>'],
    })
  })

  it('makes a tokenizer.json of vocab.json and merges.txt', async () => {
    await write('config.json', { model_type: 'opt' })
    await write('tokenizer_config.json', { add_bos_token: true, bos_token: '</s>' })
    await write('vocab.json', { a: 0, b: 1, ab: 2, '</s>': 3 })
    await write('merges.txt', '#version: 0.2\na b\n')
    const { tokenizerJson } = await openHuggingFace(folder)
    expect(createJsonTokenizer('tokenizer.json', tokenizerJson!).encode('abb')).toEqual([3, 2, 1])
    await write('config.json', { model_type: 'odd' })
    expect((await failure(openHuggingFace(folder))).message).toContain('odd')
  })

  it('takes the chat template from wherever it is', async () => {
    const template = async () => (await openHuggingFace(folder)).chatTemplate
    await write('config.json', {})
    await write('tokenizer_config.json', { chat_template: 'one', bos_token: { content: '<b>' } })
    expect(await template()).toBe('one')
    expect((await openHuggingFace(folder)).specialTokens.bos).toBe('<b>')
    const named = [
      { name: 'tool_use', template: 'two' },
      { name: 'default', template: 'three' },
    ]
    await write('tokenizer_config.json', { chat_template: named })
    expect(await template()).toBe('three')
    await write('chat_template.jinja', 'four')
    expect(await template()).toBe('four')
    await rm(join(folder, 'chat_template.jinja'))
    await write('tokenizer_config.json', { chat_template: 5 })
    expect((await failure(openHuggingFace(folder))).message).toContain('chat_template')
    await write('tokenizer_config.json', { bos_token: 5 })
    expect((await failure(openHuggingFace(folder))).message).toContain('bos_token')
  })

  it('refuses a shoal.json that says what it cannot', async () => {
    await write('config.json', {})
    for (const [json, reason] of [
      [{ deph: 'full' }, 'unknown key deph; known are depth, chatStop'],
      [{ depth: 3 }, 'depth must be'],
      [{ chatStop: 'x' }, 'chatStop must be'],
      [{ chatStop: [''] }, 'chatStop must be'],
      ['[]', 'not a JSON object'],
    ] as const) {
      await write('shoal.json', json)
      expect((await failure(openHuggingFace(folder))).message).toContain(reason)
    }
    await write('shoal.json', { depth: 'exit:3', chatStop: [] })
    expect((await openHuggingFace(folder)).settings).toEqual({ depth: 'exit:3', chatStop: [] })
  })

  it('names the file that is missing or broken', async () => {
    expect(await failure(openHuggingFace(join(folder, 'absent')))).toMatchObject({ code: 'file_missing' })
    expect(await failure(openHuggingFace(folder))).toMatchObject({
      code: 'file_missing',
      message: `${join(folder, 'config.json')}: no such file`,
    })
    await write('config.json', '{')
    expect((await failure(openHuggingFace(folder))).message).toContain('not valid JSON')
    await writeFile(join(folder, 'config.json'), Buffer.from([0x7b, 0xff, 0x7d]))
    expect((await failure(openHuggingFace(folder))).message).toContain('not UTF-8')
  })
})

describe('sharded weights', () => {
  const INDEX = 'model.safetensors.index.json'

  async function shard(name: string, tensors: Record<string, number>): Promise<void> {
    const declarations = Object.keys(tensors).map((name) => ({ name, dtype: 'F32' as const, shape: [2, 1] }))
    const writer = await createSafetensorsWriter(join(folder, name), declarations)
    for (const [name, value] of Object.entries(tensors)) await writer.append(name, Float32Array.of(value, value + 1))
    await writer.finish()
  }

  it('are one set of tensors', async () => {
    await shard('model-1.safetensors', { a: 1, b: 2 })
    await shard('model-2.safetensors', { c: 3 })
    const map = { c: 'model-2.safetensors', a: 'model-1.safetensors', b: 'model-1.safetensors' }
    await write(INDEX, { metadata: { total_size: 24 }, weight_map: map })
    expect(await weightFiles(folder)).toEqual(
      ['model-1.safetensors', 'model-2.safetensors'].map((f) => join(folder, f)),
    )
    const weights = await openWeights(folder)
    expect([...weights.tensors.keys()].sort()).toEqual(['a', 'b', 'c'])
    expect(await weights.readFloats('c')).toEqual(Float32Array.of(3, 4))
    expect(await weights.readFloats('b', { start: 1, count: 1 })).toEqual(Float32Array.of(3))
    expect(weights.fileOf('c')).toBe(join(folder, 'model-2.safetensors'))
    await expect(weights.readFloats('d')).rejects.toThrow('names no tensor d')
    await weights.close()
  })

  it('must be where the index says, in this folder', async () => {
    await shard('model-1.safetensors', { a: 1 })
    for (const [index, reason] of [
      [{ weight_map: { a: 'model-1.safetensors', b: 'model-1.safetensors' } }, 'has no tensor b'],
      [{ weight_map: { a: 'model-9.safetensors' } }, 'no such file'],
      [{ weight_map: { a: '../model-1.safetensors' } }, 'not a safetensors file beside it'],
      [{ weight_map: { a: 'C:\\model.safetensors' } }, 'not a safetensors file beside it'],
      [{ weight_map: { a: 'config.json' } }, 'not a safetensors file beside it'],
      [{ weight_map: { a: 1 } }, 'not a safetensors file beside it'],
      [{ weight_map: {} }, 'is empty'],
      [{}, 'no weight_map'],
    ] as const) {
      await write(INDEX, index)
      expect((await failure(openWeights(folder))).message).toContain(reason)
    }
  })

  it('are told from weights of another format, or none', async () => {
    expect((await failure(openWeights(folder))).message).toContain('has neither')
    await write('pytorch_model.bin', '')
    expect(await failure(openWeights(folder))).toBeInstanceOf(UnsupportedError)
  })

  it('give what the single file gives', async () => {
    await cp(join(RIPPLE, 'model.safetensors'), join(folder, 'part.safetensors'))
    const single = await openSafetensors(join(RIPPLE, 'model.safetensors'))
    await write(INDEX, {
      weight_map: Object.fromEntries([...single.tensors.keys()].map((n) => [n, 'part.safetensors'])),
    })
    const weights = await openWeights(folder)
    expect(weights.tensors.size).toBe(single.tensors.size)
    expect(await weights.readFloats('model.norm.weight')).toEqual(await single.readFloats('model.norm.weight'))
    await weights.close()
    await single.close()
  })
})
