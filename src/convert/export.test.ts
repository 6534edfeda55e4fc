import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readContent, writeParts } from '../../test/gguf-content.js'
import { useWorkspace } from '../../test/workspace.js'
import { readGguf } from '../checkpoint/gguf.js'
import { listBytes } from '../checkpoint/gguf-list.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../checkpoint/gguf-write.js'
import { openHuggingFace } from '../checkpoint/huggingface.js'
import type { TensorSource } from '../checkpoint/safetensors.js'
import { createSafetensorsWriter } from '../checkpoint/safetensors-write.js'
import { openWeights } from '../checkpoint/sharded.js'
import { familyByModelType } from '../families/index.js'
import { type Exported, type ExportFormat, type ExportOptions, exportModel } from './export.js'
import { convertModel } from './package.js'

const FIXTURES = 'test/fixtures/checkpoints'
const NAMES = ['llama', 'llama31-rope', 'opt', 'opt-350m-postnorm', 'bloom', 'gemma3', 'smollm3-nope']
const KEPT = [0, 2, 3]

const workspace = useWorkspace()
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-export-'))
})
afterEach(() => rm(folder, { recursive: true }))

function write(
  model: string,
  out: string,
  format: ExportFormat,
  plan: readonly number[] = KEPT,
  more: Partial<ExportOptions> = {},
): Promise<Exported> {
  return exportModel(model, plan, { format, path: join(folder, out), card: { measured: [] }, ...more })
}

async function bytesOf(weights: TensorSource, name: string): Promise<Buffer> {
  const bytes = Buffer.alloc(weights.tensors.get(name)!.bytes)
  await weights.readBytes(name, 0, bytes)
  return bytes
}

/** Every tensor is one of the source's, byte for byte, layers renumbered; there are no others. */
async function expectSameTensors(source: string, target: string, plan: readonly number[]): Promise<number> {
  const [from, to] = [await openWeights(source), await openWeights(target)]
  const layer = /^((?:model\.|transformer\.)?(?:decoder\.)?(?:layers|h)\.)(\d+)\./
  const left = [...from.tensors.keys()].filter((name) => {
    const match = layer.exec(name)
    return match === null || plan.includes(Number(match[2]))
  })
  expect(to.tensors.size).toBe(left.length)
  for (const name of left) {
    const renamed = name.replace(layer, (_, before: string, l: string) => `${before}${plan.indexOf(Number(l))}.`)
    const { dtype, shape } = from.tensors.get(name)!
    expect(to.tensors.get(renamed)).toMatchObject({ dtype, shape })
    expect((await bytesOf(to, renamed)).equals(await bytesOf(from, name))).toBe(true)
  }
  await from.close()
  await to.close()
  return left.length
}

describe.each(NAMES)('%s without two of its layers', (name) => {
  const source = join(FIXTURES, name)

  it('is a folder with the tensors that a model of its config has, byte for byte', async () => {
    const { tensors } = await write(source, 'out', 'hf')
    const target = join(folder, 'out')
    expect(await expectSameTensors(source, target, KEPT)).toBe(tensors)

    const { config } = await openHuggingFace(target)
    const family = familyByModelType(config.string('model_type'), config.path)
    const h = family.fromConfig(config)
    expect(h.layers).toBe(3)
    const weights = await openWeights(target)
    const declared = new Map(family.tensors(h).map(({ sources: [form] }) => [form!.names[0]!, form!.shape]))
    expect(new Map([...weights.tensors].map(([key, { shape }]) => [key, shape]))).toEqual(declared)
    const dtypes = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' } as Record<string, string>
    const dtype = dtypes[config.string('dtype', { default: 'float32' })]
    expect([...weights.tensors.values()].every((tensor) => tensor.dtype === dtype)).toBe(true)
    await weights.close()
  })

  it.each(['hf', 'gguf'] as const)('says what the model says under the plan (%s)', async (format) => {
    const out = format === 'hf' ? 'out' : 'out.gguf'
    const { path } = await write(source, out, format, KEPT, format === 'gguf' ? { quantization: 'f32' } : {})
    const ids = Array.from({ length: 12 }, (_, i) => (i * 7 + 3) % 50)
    const [whole, reduced] = [await workspace.load(source), await workspace.load(path)]
    const plan = await whole.score(ids, { promptLength: 4, depth: `layers:${KEPT.join(',')},prompt=plan` })
    const full = await reduced.score(ids, { promptLength: 4, depth: 'full' })
    expect(full.loss).toBe(plan.loss)
    expect(full.logits).toEqual(plan.logits)
    expect(plan.loss).not.toBe((await whole.score(ids, { promptLength: 4, depth: `layers:${KEPT.join(',')}` })).loss)
  })

  it('is the same file from the folder, from its GGUF file and by way of an exported folder', async () => {
    const gguf = join(folder, 'whole.gguf')
    await convertModel(source, gguf, { quantization: 'f16' })
    await write(source, 'a.gguf', 'gguf', KEPT, { quantization: 'f16' })
    await write(gguf, 'b.gguf', 'gguf')
    await write(source, 'c', 'hf')
    await convertModel(join(folder, 'c'), join(folder, 'c.gguf'), { quantization: 'f16' })
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((file) => readGguf(join(folder, `${file}.gguf`))))
    const tensorsOf = (file: typeof a) =>
      [...file!.tensors.values()].map(({ name: tensor, shape, type, offset, bytes }) => {
        const data = readFileSync(file!.path)
          .subarray(offset, offset + bytes)
          .toString('base64')
        return { tensor, shape, type, data }
      })
    expect(tensorsOf(b)).toEqual(tensorsOf(a))
    expect(tensorsOf(c)).toEqual(tensorsOf(a))
    const facts = (file: typeof a) =>
      Object.fromEntries([...file!.metadata.values].filter(([key]) => !key.startsWith('general.')))
    expect(facts(b)).toEqual(facts(a))
    expect(facts(c)).toEqual(facts(a))
    expect(a!.metadata.string('general.base_model.0.name')).toBe(name)
    expect(b!.metadata.string('general.base_model.0.name')).toBe('whole')
    expect([a, b].map((file) => file!.metadata.string('general.name'))).toEqual(['a', 'b'])
  })
})

it('a plan that would give layers other windows is refused by name, and so is a multimodal model', async () => {
  const source = join(folder, 'ruled')
  await cp(join(FIXTURES, 'gemma3'), source, { recursive: true })
  const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as Record<string, unknown>
  const { layer_types: _, ...ruled }: Record<string, unknown> = { ...config, _sliding_window_pattern: 3 }
  await writeFile(join(source, 'config.json'), JSON.stringify(ruled))
  await expect(write(source, 'out', 'hf', [0, 2, 3])).rejects.toThrow(/says by a rule which layers have a window/)
  await expect(write(source, 'kept', 'hf', [0, 1, 2])).resolves.toMatchObject({ format: 'hf' })
  await expect(write(join(FIXTURES, 'gemma3-mm'), 'mm', 'hf')).rejects.toThrow(
    /is of a multimodal model.*shoal convert/,
  )
})

it('every family says where its layers are', () => {
  for (const name of readdirSync(FIXTURES).filter((entry) => existsSync(join(FIXTURES, entry, 'config.json')))) {
    const { model_type: type } = JSON.parse(readFileSync(join(FIXTURES, name, 'config.json'), 'utf8'))
    const { layersAt } = familyByModelType(type === 'gemma3' ? 'gemma3_text' : type, name)
    expect(readFileSync(join(FIXTURES, name, 'model.safetensors'), 'latin1'), name).toContain(`${layersAt}.0.`)
  }
})

describe('a bundled model', () => {
  const PLAN = [0, 2, 4, 6, 8, 10, 12, 15]

  it('keeps tokenizer and settings, and is made for no depth any more', async () => {
    await write('ripple-8m-unified2x', 'out', 'hf', PLAN, { card: { measured: ['Perplexity 1.'] } })
    const out = join(folder, 'out')
    const source = 'pretrained/ripple-8m-unified2x'
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
      expect(readFileSync(join(out, file)).equals(readFileSync(join(source, file)))).toBe(true)
    }
    const [before, after] = [source, out].map((path) => readFileSync(join(path, 'config.json'), 'utf8'))
    expect(after).toBe(before!.replace('"num_hidden_layers": 16', '"num_hidden_layers": 8'))
    expect((await openHuggingFace(out)).settings).toEqual({ chatStop: ['\n\n'] })
    const card = readFileSync(join(out, 'README.md'), 'utf8')
    expect(card).toMatch(/^---\nlicense: apache-2\.0\nbase_model: ripple-8m-unified2x\n---\n# out\n/)
    expect(card).toContain('8 of its 16 layers: 0, 2, 4, 6, 8, 10, 12, 15. Left out, and not in these files: 1, 3,')
    expect(card).toContain('Perplexity 1.')

    await write('ripple-8m-unified2x', 'out.gguf', 'gguf', PLAN)
    const { metadata } = await readGguf(join(folder, 'out.gguf'))
    expect(metadata.has('shoal.depth')).toBe(false)
    expect(metadata.strings('shoal.chat_stop')).toEqual(['\n\n'])
    await convertModel('ripple-8m-unified2x', join(folder, 'whole.gguf'))
    expect((await readGguf(join(folder, 'whole.gguf'))).metadata.has('shoal.depth')).toBe(true)
    await write(join(folder, 'whole.gguf'), 'again.gguf', 'gguf', PLAN)
    expect((await readGguf(join(folder, 'again.gguf'))).metadata.has('shoal.depth')).toBe(false)
  })

  it('keeps shards, licences and named chat templates', async () => {
    const source = join(folder, 'sharded')
    await shard('llama', source)
    await writeFile(join(source, 'LICENSE.txt'), 'terms')
    await writeFile(join(source, 'pytorch_model.bin'), 'not copied')
    await mkdir(join(source, 'additional_chat_templates'))
    await writeFile(join(source, 'additional_chat_templates', 'tools.jinja'), '{{ x }}')
    await write(source, 'out', 'hf')
    const out = join(folder, 'out')
    await expectSameTensors(join(FIXTURES, 'llama'), out, KEPT)
    const index = JSON.parse(await readFile(join(out, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_size: number }
      weight_map: Record<string, string>
    }
    // The shard that held nothing but a layer that is left out is gone.
    expect(new Set(Object.values(index.weight_map))).toEqual(
      new Set(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']),
    )
    expect(readdirSync(out).sort()).toEqual([
      'LICENSE.txt',
      'README.md',
      'additional_chat_templates',
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ])
    const weights = await openWeights(out)
    expect(index.metadata.total_size).toBe([...weights.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0))
    await weights.close()
  })
})

/** Layer 1 in a shard of its own, and the rest in two. */
async function shard(name: string, target: string): Promise<void> {
  await mkdir(target)
  await cp(join(FIXTURES, name, 'config.json'), join(target, 'config.json'))
  const weights = await openWeights(join(FIXTURES, name))
  const weightMap: Record<string, string> = {}
  const files = new Map<string, string[]>()
  for (const tensor of weights.tensors.keys()) {
    const file = `model-0000${tensor.includes('.1.') ? 2 : tensor.includes('.3.') ? 3 : 1}-of-00003.safetensors`
    weightMap[tensor] = file
    files.set(file, [...(files.get(file) ?? []), tensor])
  }
  for (const [file, tensors] of files) {
    const writer = await createSafetensorsWriter(
      join(target, file),
      tensors.map((tensor) => weights.tensors.get(tensor)!),
    )
    for (const tensor of tensors) await writer.append(tensor, await bytesOf(weights, tensor))
    await writer.finish()
  }
  await writeFile(join(target, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }))
  await weights.close()
}

describe('what stands in the way', () => {
  const llama = join(FIXTURES, 'llama')

  it('is refused without force, and replaced with it', async () => {
    await write(llama, 'out', 'hf')
    await write(llama, 'out.gguf', 'gguf')
    await expect(write(llama, 'out', 'hf')).rejects.toThrow(/out: exists already; --force replaces it/)
    await expect(write(llama, 'out.gguf', 'gguf')).rejects.toThrow(/out\.gguf: exists already; --force/)
    await writeFile(join(folder, 'out', 'old'), '')
    await write(llama, 'out', 'hf', [0, 1], { force: true })
    await write(llama, 'out.gguf', 'gguf', [0, 1], { force: true })
    expect(readdirSync(folder).sort()).toEqual(['out', 'out.gguf'])
    expect(existsSync(join(folder, 'out', 'old'))).toBe(false)
    expect((await readGguf(join(folder, 'out.gguf'))).metadata.count('llama.block_count')).toBe(2)
  })

  it('is never the model itself, and no folder of something else', async () => {
    const model = join(folder, 'inner', 'model')
    await cp(llama, model, { recursive: true })
    for (const path of ['inner/model', 'inner']) {
      await expect(write(model, path, 'hf', KEPT, { force: true })).rejects.toThrow(/is or holds the model itself/)
    }
    await mkdir(join(folder, 'letters'))
    await writeFile(join(folder, 'letters', 'letter'), '')
    await expect(write(llama, 'letters', 'hf', KEPT, { force: true })).rejects.toThrow(/without config\.json/)
    await symlink(model, join(folder, 'link'))
    await expect(write(llama, 'link', 'hf', KEPT, { force: true })).rejects.toThrow(/is a link/)
    await expect(write(llama, 'letters', 'gguf', KEPT, { force: true })).rejects.toThrow(/is a folder/)
    await expect(write(llama, 'none/out', 'hf')).rejects.toThrow(/its folder does not exist/)
    const gguf = join(folder, 'model.gguf')
    await convertModel(llama, gguf)
    await expect(write(gguf, 'model.gguf', 'gguf', KEPT, { force: true })).rejects.toThrow(/is the model itself/)
    expect(readdirSync(folder).sort()).toEqual(['inner', 'letters', 'link', 'model.gguf'])
  })

  it.each([
    ['hf', 'out'],
    ['gguf', 'out.gguf'],
  ] as const)('leaves nothing behind when it is stopped (%s)', async (format, out) => {
    const gguf = join(folder, 'model.gguf')
    await convertModel('ripple-8m', gguf)
    const models = format === 'gguf' ? ['ripple-8m', gguf] : ['ripple-8m']
    for (const model of models) {
      const stop = new AbortController()
      const progress = (): void => stop.abort()
      await expect(write(model, out, format, KEPT, { progress, signal: stop.signal })).rejects.toMatchObject({
        code: 'aborted',
      })
      expect(readdirSync(folder)).toEqual(['model.gguf'])
    }
  })
})

describe('what cannot be exported', () => {
  it('is said in one line', async () => {
    const gguf = join(folder, 'model.gguf')
    await convertModel(join(FIXTURES, 'llama'), gguf)
    await expect(write(gguf, 'out', 'hf')).rejects.toThrow(/GGUF file, which becomes no Hugging Face folder/)
    await expect(write(gguf, 'o.gguf', 'gguf', KEPT, { quantization: 'f16' })).rejects.toThrow(/keeps its own quantiz/)
    await expect(write(join(FIXTURES, 'llama'), 'out', 'hf', KEPT, { quantization: 'f16' })).rejects.toThrow(
      /--quantization is for --format gguf/,
    )
    await expect(write(join(FIXTURES, 'llama'), 'out', 'hf', [0, 9])).rejects.toThrow(/layer 9 does not exist/)
  })

  it('is a tokenizer that llama.cpp has no equal of, for gguf only', async () => {
    const source = join(folder, 'model')
    await cp('pretrained/ripple-8m', source, { recursive: true })
    const tokenizer = JSON.parse(await readFile(join(source, 'tokenizer.json'), 'utf8')) as Record<string, unknown>
    const steps = [
      { type: 'Split', pattern: { Regex: '[a-z]+|x' }, behavior: 'Isolated', invert: false },
      { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    ]
    const preTokenizer = { type: 'Sequence', pretokenizers: steps }
    await writeFile(join(source, 'tokenizer.json'), JSON.stringify({ ...tokenizer, pre_tokenizer: preTokenizer }))
    await expect(write(source, 'out.gguf', 'gguf')).rejects.toMatchObject({ code: 'unsupported' })
    await convertModel(source, join(folder, 'model.gguf'))
    await expect(write(join(folder, 'model.gguf'), 'out.gguf', 'gguf')).rejects.toThrow(/no tokenizer that llama\.cpp/)
    expect(readdirSync(folder).sort()).toEqual(['model', 'model.gguf'])
    await write(source, 'out', 'hf')
  })

  it('is a checkpoint that lacks a tensor', async () => {
    const source = join(folder, 'model')
    await mkdir(source)
    const config = await readFile(join(FIXTURES, 'llama', 'config.json'), 'utf8')
    await writeFile(join(source, 'config.json'), config)
    const writer = await createSafetensorsWriter(join(source, 'model.safetensors'), [])
    await writer.finish()
    await expect(write(source, 'out', 'hf')).rejects.toThrow(/tensor model\.embed_tokens\.weight is missing/)
    expect(readdirSync(folder)).toEqual(['model'])
  })
})

describe('a split GGUF file', () => {
  it('is exported like the whole, and none of its parts is written over', async () => {
    const whole = join(folder, 'whole.gguf')
    await convertModel(join(FIXTURES, 'llama'), whole, { quantization: 'q8_0' })
    const first = await writeParts(folder, 'model', await readContent(whole), [0, 4, 9])
    const [a, b] = [(await write(whole, 'a.gguf', 'gguf')).path, (await write(first, 'b.gguf', 'gguf')).path]
    expect((await readContent(b)).tensors).toEqual((await readContent(a)).tensors)
    const { metadata } = await readGguf(b)
    expect([...metadata.values.keys()].some((key) => key.startsWith('split.'))).toBe(false)
    expect(metadata.string('general.base_model.0.name')).toBe('model')
    for (const part of [1, 2, 3, 4]) {
      const name = `model-0000${part}-of-00004.gguf`
      const over = write(first, name, 'gguf', KEPT, { force: true })
      await expect(over).rejects.toThrow(`${name}: is the model itself`)
    }
  })
})

describe('a GGUF file of another maker', () => {
  it('keeps the bytes of tokens that are no UTF-8, and numbers beyond 2^53', async () => {
    const source = join(folder, 'source.gguf')
    await convertModel(join(FIXTURES, 'llama'), source, { quantization: 'f32' })
    const { metadata, tensors } = await readGguf(source)
    const seed = 2n ** 64n - 1n
    const entries = [...metadata.values, ['a.seed', { type: 'uint64', value: seed }] as const]
    const made = join(folder, 'made.gguf')
    const writer = await createGgufWriter(made, new GgufMetadata('', entries), [...tensors.values()])
    const original = readFileSync(source)
    for (const { name, offset, bytes } of tensors.values()) {
      await writer.append(name, original.subarray(offset, offset + bytes))
    }
    await writer.finish()
    const bytes = readFileSync(made)
    const token = bytes.indexOf('[PAD95]')
    const odd = Buffer.from([0xff, 0x00, 0xe2, 0x96, 0xed, 0xa0, 0x80])
    odd.copy(bytes, token)
    await writeFile(made, bytes)

    await write(made, 'reduced.gguf', 'gguf')
    const reduced = await readGguf(join(folder, 'reduced.gguf'))
    expect(reduced.metadata.values.get('a.seed')!.value).toBe(seed)
    const [before, after] = [await readGguf(made), reduced].map((file) =>
      Buffer.from(listBytes(file.metadata.values.get('tokenizer.ggml.tokens')!)!.bytes),
    )
    expect(before!.includes(odd)).toBe(true)
    expect(after!.equals(before!)).toBe(true)
  })
})
