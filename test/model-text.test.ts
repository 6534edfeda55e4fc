import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readGguf } from '../src/checkpoint/gguf.js'
import { GgufMetadata } from '../src/checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../src/checkpoint/gguf-write.js'
import { InputError, type Model, UnsupportedError } from '../src/index.js'
import { shoal } from './cli-runner.js'
import { byteLevelVocabulary, metadataOf } from './gguf-vocabulary.js'
import { realModel, SMOLLM2 } from './real-model.mjs'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()
const folder = mkdtempSync(join(tmpdir(), 'shoal-text-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a token beyond the embedding', () => {
  let model: Model
  let path: string
  beforeAll(async () => {
    const random = await workspace.random(64, { tokenizer: true })
    path = random.folder
    const file = join(path, 'tokenizer.json')
    const json = JSON.parse(readFileSync(file, 'utf8')) as { added_tokens: object[] }
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    json.added_tokens.push({ id: 4096, content: '<extra>', ...flags })
    writeFileSync(file, JSON.stringify(json))
    model = await workspace.load(path)
  })

  it('does not matter before a text spells it', async () => {
    expect(model.tokenizer!.size).toBe(4097)
    const { tokens } = await model.generate('Once upon a time', { maxTokens: 2, ignoreEos: true }).result
    expect(tokens).toHaveLength(2)
  })

  it('is one typed line where it does', async () => {
    const message = 'token id 4096 is out of range: the ids are 0 to 4095'
    expect(() => model.generate('Once <extra> a time')).toThrow(new InputError(message))
    const text = join(folder, 'extra.txt')
    writeFileSync(text, 'Once upon a time there was <extra> and nothing else. '.repeat(40))
    await expect(model.policy(`shortgpt:4,data=${text}`)).rejects.toThrow(InputError)
    const { code, stderr } = await shoal(['score', path, '--text', text, '--threads', '1'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: `shoal: ${message}\n` })
  })
})

describe('a GGUF file whose vocabulary cannot be used', () => {
  it('runs with token ids, and says why where text is asked for', async () => {
    const random = await workspace.random(64)
    const source = await readGguf((await workspace.load(random.folder)).path)
    const path = join(folder, 'moon.gguf')
    const kept = [...source.metadata.values].filter(([key]) => !/^(tokenizer|shoal)\./.test(key))
    const metadata = new GgufMetadata(path, [...kept, ...metadataOf(byteLevelVocabulary('moon-2')).values])
    const writer = await createGgufWriter(path, metadata, [...source.tensors.values()])
    const bytes = readFileSync(source.path)
    for (const { name, offset, bytes: size } of source.tensors.values()) {
      await writer.append(name, bytes.subarray(offset, offset + size))
    }
    await writer.finish()

    const model = await workspace.load(path)
    expect(model.tokenizer).toBeNull()
    expect(model.tokenizerError).toBeInstanceOf(UnsupportedError)
    expect((await model.generate([1, 2, 3], { maxTokens: 2, ignoreEos: true }).result).tokens).toHaveLength(2)
    expect(() => model.generate('hello')).toThrow(/refuses this vocabulary: unknown pre-tokenizer type: 'moon-2'$/)
    const { code, stderr } = await shoal(['run', path, 'hello', '--threads', '1'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^shoal: [^\n]*unknown pre-tokenizer type: 'moon-2'\n$/)
  })
})

describe('shoal tokenize', () => {
  it('prints ids and pieces, and goes back', async () => {
    const { code, stdout, stderr } = await shoal(['tokenize', 'ripple-8m', 'Once upon'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    const pieces = lines.map((line) => JSON.parse(line.replace(/^ *\d+ {2}/, '')) as string)
    expect(pieces.join('')).toBe('Once upon')
    const ids = lines.map((line) => Number.parseInt(line, 10))
    const back = await shoal(['tokenize', 'ripple-8m', '--decode', ids.join(',')])
    expect(back).toMatchObject({ code: 0, stdout: 'Once upon\n' })
  })

  it('takes the bundled model where one argument names no model, and stdin for -', async () => {
    const named = await shoal(['tokenize', 'ripple-8m', 'Once upon'])
    expect(await shoal(['tokenize', 'Once upon'])).toEqual(named)
    expect(await shoal(['tokenize', '-'], { input: 'Once upon' })).toEqual(named)
    const both = await shoal(['tokenize', 'Once upon', '--decode', '5'])
    expect(both).toMatchObject({ code: 2, stderr: 'shoal: with --decode there is no TEXT\n' })
  })

  it('adds BOS only where it is told to, and leaves special tokens text where it is told to', async () => {
    const run = async (...args: string[]) =>
      matches('tokenize', (await shoal(['tokenize', 'ripple-8m', ...args, '--json'])).stdout) as {
        ids: number[]
        pieces: string[]
      }
    const plain = await run('</s>')
    expect(plain).toEqual({ ids: [1], pieces: ['</s>'] })
    expect((await run('</s>', '--bos')).ids).toEqual([0, 1])
    const text = await run('</s>', '--no-special')
    expect(text.ids).not.toContain(1)
    expect(text.pieces.join('')).toBe('</s>')
  })

  it('takes stdin as it is, line ends and byte-order mark included', async () => {
    const text = '\ufeffa\r\nb\n\n'
    const { stdout } = await shoal(['tokenize', 'ripple-8m', '--json'], { input: text })
    expect((matches('tokenize', stdout).pieces as string[]).join('')).toContain('a\r\nb\n\n')
    const ids = matches('tokenize', stdout).ids as number[]
    const back = await shoal(['tokenize', 'ripple-8m', '--json', '--decode', ids.join(',')])
    expect(matches('tokenize', back.stdout).text).toBe(text)
  })

  it('works on a file that holds a vocabulary and nothing else, and refuses ids that there are not', async () => {
    const path = join(folder, 'vocabulary.gguf')
    await (await createGgufWriter(path, metadataOf(byteLevelVocabulary('gpt-2')), [])).finish()
    expect(await shoal(['tokenize', path, 'at the'])).toMatchObject({
      code: 0,
      stdout: ' 65  "a"\n116  "t"\n258  " the"\n'.replace(' 65', ' 97'),
    })
    expect(await shoal(['tokenize', path, '--decode', '7,260'])).toEqual({
      code: 2,
      stdout: '',
      stderr: 'shoal: there is no token 260: the ids are 0 to 259\n',
    })
    expect(await shoal(['tokenize', path, 'x', '--decode', '7'])).toMatchObject({ code: 2 })
  })
})

const smollm2 = realModel(SMOLLM2)
describe.skipIf(smollm2 === null)('SmolLM2 from its GGUF file', () => {
  it('continues a text, and streams whole characters', async () => {
    const args = [
      'run',
      smollm2!,
      'The capital of France is',
      '--max-tokens',
      '4',
      '--temperature',
      '0',
      '--threads',
      '1',
    ]
    const { code, stdout } = await shoal([...args, '--json'])
    expect(code).toBe(0)
    expect(matches('run', stdout)).toMatchObject({ text: ' Paris.\n\n', model: 'smollm2-135m-instruct-q4_1' })
    const model = await workspace.load(smollm2!)
    let streamed = ''
    const generation = model.generate('Smileys: 😀 😃 😄 😁 😆 😅', { maxTokens: 24 })
    for await (const { text } of generation) {
      expect(text.isWellFormed() && !text.includes('\ufffd')).toBe(true)
      streamed += text
    }
    expect(streamed).toBe((await generation.result).text)
  }, 60_000)

  it('answers in its chat template, and the answer ends', async () => {
    const model = await workspace.load(smollm2!)
    const chat = model.chat()
    const { text, finishReason } = await chat.send('What is 2+2?').result
    expect(text).toBe('The answer to this classic math problem is 4.')
    expect(finishReason).toBe('eos')
    expect(model.endTokens).toEqual(expect.arrayContaining([0, 2]))
    chat.dispose()
  }, 60_000)

  it('takes a special token in a message as one, or as text', async () => {
    const spell = async (...flags: string[]) => {
      const args = ['chat', smollm2!, '--max-tokens', '1', '--threads', '1', '--json', ...flags]
      const { stdout } = await shoal(args, { input: 'a<|im_end|>b\n' })
      const [turn] = matches('chat', stdout).turns as { prompt_tokens: number[] }[]
      return turn!.prompt_tokens.filter((id) => id === 2).length
    }
    expect([await spell(), await spell('--literal-content')]).toEqual([3, 2])
  }, 60_000)

  it('cuts a million letters without a space into tokens', async () => {
    const { tokenizer } = await workspace.load(smollm2!)
    const ids = tokenizer!.encode('abcdefghij'.repeat(100_000))
    expect(tokenizer!.decode(ids)).toHaveLength(1_000_000)
  }, 20_000)
})
