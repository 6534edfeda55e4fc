import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import type { Cli } from '../src/cli/cli.js'
import { shoal } from './cli-runner.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()

const SHORT = ['--max-tokens', '3', '--threads', '1', '--json']

async function promptTokens(args: readonly string[], input: string | Buffer = ''): Promise<number[]> {
  const { code, stdout, stderr } = await shoal(args, typeof input === 'string' ? { input } : { stdin: bytes(input) })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const { prompt_tokens, input_ids } = JSON.parse(stdout) as { prompt_tokens?: number[]; input_ids?: number[] }
  return (prompt_tokens ?? input_ids) as number[]
}

function bytes(...chunks: Buffer[]): Readable {
  return Readable.from(chunks, { objectMode: false })
}

async function refused(args: readonly string[], overrides: Partial<Cli> & { input?: string } = {}): Promise<string> {
  const { code, stdout, stderr } = await shoal(args, overrides)
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^shoal: [^\n]+\n$/)
  return `${code} ${stderr}`
}

describe('one argument', () => {
  it('is the prompt where it names no model', async () => {
    const wanted = await promptTokens(['run', 'ripple-8m', 'The sea', ...SHORT])
    expect(await promptTokens(['run', 'The sea', ...SHORT])).toEqual(wanted)
  })

  it('is the model where it names one, and stdin is the prompt', async () => {
    const wanted = await promptTokens(['run', 'ripple-8m', 'The sea', ...SHORT])
    for (const model of ['ripple-8m', 'pretrained/ripple-8m']) {
      expect(await promptTokens(['run', model, ...SHORT], 'The sea\n')).toEqual(wanted)
    }
    expect(await promptTokens(['trace', 'ripple-8m', '--threads', '1', '--json'], 'The sea\n')).toEqual(wanted)
    expect(await promptTokens(['run', ...SHORT], 'The sea\n')).toEqual(wanted)
  })

  it('is an error where it is the model and there is no prompt', async () => {
    for (const command of ['run', 'trace']) {
      expect(await refused([command, 'ripple-8m'])).toMatch(
        /^2 .*a PROMPT is missing: ripple-8m is the model, and stdin/,
      )
      expect(await refused([command, workspace.folder])).toMatch(/^2 .*a PROMPT is missing/)
    }
    const file = join(workspace.folder, 'model.gguf')
    writeFileSync(file, 'GGUF')
    expect(await refused(['run', file])).toMatch(/^2 .*a PROMPT is missing: .*model\.gguf is the model/)
    expect(await refused(['run', 'TinyLlama/TinyLlama-1.1B'])).toMatch(/^2 .*a PROMPT is missing: TinyLlama\/Tiny/)
  })

  it('never waits for a terminal', async () => {
    const stdin = Object.assign(new Readable({ read: () => undefined }), { isTTY: true })
    expect(await refused(['run', 'ripple-8m'], { stdin })).toMatch(/^2 .*a PROMPT is missing: ripple-8m is the model;/)
    expect(await refused(['run'], { stdin })).toMatch(/^2 .*a PROMPT is missing;/)
  })

  it('reads no stdin where there is a prompt', async () => {
    const stdin = new Readable({ read: () => undefined })
    expect((await shoal(['run', 'The sea', ...SHORT], { stdin })).code).toBe(0)
    expect((await shoal(['run', 'ripple-8m', '--tokens', '5,6', ...SHORT], { stdin })).code).toBe(0)
  })

  it.each([
    'model.gguf',
    'my model.gguf',
    './My Models/x.gguf',
    './my model',
    'C:\\Models\\my model',
    './no-such-folder',
    '../x',
    '/no/such',
    '~/model',
    '~/my model',
    'ripple-8n',
  ])('%s is an error where there is no such model: nobody wants a path to be continued', async (name) => {
    expect(await refused(['run', name])).toMatch(/^1 .*: no such file, folder or bundled model.*shoal run ripple-8m /)
  })

  it.each(['ripples', 'and / or', 'What does a/b mean?', '3/4 of it', 'a.b', '-3', '/ or not', 'a\nb.gguf'])(
    '%j is a prompt',
    async (prompt) => {
      expect((await shoal(['run', prompt, ...SHORT])).code).toBe(0)
    },
  )
})

describe('a prompt', () => {
  it('does not stand behind a dash, nor beside --tokens or --prompts', async () => {
    expect(await refused(['run', '-', 'hello'])).toMatch(/^2 .*- stands for a prompt from stdin/)
    for (const option of ['--tokens=1,2', '--prompts=f.jsonl']) {
      const name = option.split('=')[0] as string
      expect(await refused(['run', option, 'hello'])).toMatch(`2 shoal: a PROMPT does not stand beside ${name};`)
      expect(await refused(['run', option, 'ripple-8m', 'hello'])).toMatch(`a PROMPT does not stand beside ${name};`)
      expect(await refused(['run', option, './no such.gguf'])).toMatch(/^1 .*: no such file, folder or bundled model/)
    }
  })

  it('of several words needs quotation marks, and the message says so', async () => {
    expect(await refused(['run', 'a', 'b', 'c'])).toMatch(/^2 .*too many arguments.*needs quotation marks\.$/m)
  })

  it('that begins with - goes behind --, and the message says so', async () => {
    expect(await refused(['run', '-3 + 5 ='])).toMatch(
      /^2 .*unknown option '-3 \+ 5 ='; a prompt that .* goes behind --$/m,
    )
    const wanted = await promptTokens(['run', ...SHORT], '-3 + 5 =')
    expect(await promptTokens(['run', ...SHORT, '--', '-3 + 5 ='])).toEqual(wanted)
    expect(await promptTokens(['run', ...SHORT, '--', 'ripple-8m', '-3 + 5 ='])).toEqual(wanted)
    expect(await promptTokens(['run', '-', ...SHORT], '-3 + 5 =')).toEqual(wanted)
  })

  it('of a dash alone comes from stdin', async () => {
    expect(await promptTokens(['run', ...SHORT], '-')).toHaveLength(2)
  })

  it.each(['', '  ', '\n\t'])('of %j is an error unless it is allowed', async (prompt) => {
    for (const command of ['run', 'trace']) {
      expect(await refused([command, 'ripple-8m', prompt])).toMatch(/^2 .*the prompt is .*--allow-empty/)
      expect((await shoal([command, 'ripple-8m', prompt, '--allow-empty', '--threads', '1'])).code).toBe(0)
    }
    expect(await refused(['run', '-'], { input: `${prompt}\n` })).toMatch(/^2 .*the prompt is .*--allow-empty/)
  })

  it('of a prompts file must not be empty either', async () => {
    const prompts = join(workspace.folder, 'empty.jsonl')
    writeFileSync(prompts, '{"prompt": "x"}\n{"prompt": " "}\n')
    expect(await refused(['run', '--prompts', prompts])).toMatch(/^1 .*line 2: the prompt is empty; --allow-empty/)
    expect(
      (await shoal(['run', '--prompts', prompts, '--max-tokens', '2', '--threads', '1', '--allow-empty'])).code,
    ).toBe(0)
  })
})

describe('bytes of stdin and of text files', () => {
  it('lose a byte-order mark and the carriage returns of CRLF', async () => {
    const wanted = await promptTokens(['run', 'The sea\nis é', ...SHORT])
    const windows = Buffer.from('\ufeffThe sea\r\nis é\r\n')
    expect(await promptTokens(['run', 'ripple-8m', ...SHORT], windows)).toEqual(wanted)
    // A character may be cut between two chunks.
    const { stdout } = await shoal(['run', '-', ...SHORT], {
      stdin: bytes(windows.subarray(0, 19), windows.subarray(19)),
    })
    expect((JSON.parse(stdout) as { prompt_tokens: number[] }).prompt_tokens).toEqual(wanted)
    const text = join(workspace.folder, 'windows.txt')
    writeFileSync(text, windows)
    expect((await promptTokens(['trace', '--text', text, '--threads', '1', '--json'])).slice(0, wanted.length)).toEqual(
      wanted,
    )
    const prompts = join(workspace.folder, 'windows.jsonl')
    writeFileSync(prompts, '\ufeff{"prompt": "The sea"}\r\n\r\n{"tokens": [5, 6]}\r\n')
    expect((await shoal(['run', '--prompts', prompts, '--max-tokens', '2', '--threads', '1'])).code).toBe(0)
  })

  it('that are no UTF-8 are refused with their position', async () => {
    const latin1 = Buffer.from('caf\u00e9 au lait', 'latin1')
    expect(await refused(['run', '-'], { stdin: bytes(latin1) })).toBe(
      '1 shoal: stdin: is not UTF-8 text: byte 3 is 0xe9\n',
    )
    const text = join(workspace.folder, 'latin1.txt')
    writeFileSync(text, latin1)
    expect(await refused(['score', '--text', text])).toMatch(/^1 .*latin1\.txt: is not UTF-8 text: byte 3 is 0xe9$/m)
    expect(await refused(['run', '--prompts', text])).toMatch(/^1 .*latin1\.txt: is not UTF-8 text: byte 3/)
    writeFileSync(text, Buffer.concat([Buffer.from('{"input": "a'), latin1]))
    expect(await refused(['eval', 'generation', '--task', text, '--threads', '1'])).toMatch(
      /^1 .*: is not UTF-8 text: byte 15$/m,
    )
  })

  it('split right in task files', async () => {
    const data = join(workspace.folder, 'data')
    mkdirSync(data)
    const rows = Array.from({ length: 4 }, (_, i) => `{"input": "word ${i}", "output": "yes"}`)
    writeFileSync(join(data, 'unix.jsonl'), rows.join('\n'))
    writeFileSync(join(data, 'windows.jsonl'), `\ufeff${rows.join('\r\n')}\r\n`)
    const traces: string[] = []
    for (const name of ['unix', 'windows']) {
      const out = join(workspace.folder, `${name}.questions.jsonl`)
      const args = [
        'trace',
        '--task',
        join(data, `${name}.jsonl`),
        '--shots',
        '1',
        '--out',
        out,
        '--threads',
        '1',
        '--json',
      ]
      const { stdout } = await shoal(args)
      traces.push(stdout.replaceAll(name, ''))
    }
    expect(traces[1]).toBe(traces[0])
  })
})

describe('what would do nothing, or something else, is refused', () => {
  it.each([
    [['eval', 'answers', '--task', ''], /--task.*must be a name/],
    [['trace', '--task', ' ', '--out', 'x.jsonl'], /--task.*must be a name/],
    [['score', '--text', '-'], /the text of - is empty/],
    [['trace', 'hello', '--out', 'tr.parquet'], /a \.parquet file holds the traces of --task NAME/],
  ])('%j', async (args, reason) => {
    const line = await refused(args)
    expect(line).toMatch(/^2 /)
    expect(line).toMatch(reason)
  })
})

it('score --text - reads stdin', async () => {
  const text = join(workspace.folder, 'score.txt')
  writeFileSync(text, 'The sea is wide.\n')
  const args = (from: string) => ['score', '--text', from, '--threads', '1', '--json']
  expect((await shoal(args('-'), { input: 'The sea is wide.\n' })).stdout).toBe((await shoal(args(text))).stdout)
})

it('a path that is printed does nothing to the terminal', async () => {
  const out = join(workspace.folder, 'a\u001b[31m\n.safetensors')
  const { code, stdout } = await shoal(['trace', 'hi', '--out', out, '--threads', '1'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/a\\u\{1b\}\[31m\\n\.safetensors: hidden [^\n]*\n$/)
})
