import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { beforeAll, describe, expect, it } from 'vitest'
import { runChatCommand } from '../src/cli/chat-commands.js'
import type { Cli } from '../src/cli/cli.js'
import { TerminalChat } from '../src/cli/terminal-chat.js'
import { InputError, loadModel } from '../src/index.js'
import { speakChatml } from './chatml-checkpoint.js'
import { shoal } from './cli-runner.js'
import { writeRandomCheckpoint } from './random-checkpoint.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()
let model: string

beforeAll(async () => {
  model = join(workspace.folder, 'talker')
  await writeRandomCheckpoint(model, 62, { tokenizer: true, layers: 6 })
  await speakChatml(model)
})

const SHORT = ['--max-tokens', '6', '--ignore-eos', '--threads', '1']

interface Turn {
  user: string
  text: string
  depth: string
  finish_reason: string
  tokens: number[]
  seed: number
  sampling: Record<string, number>
}
interface Chat {
  context: number
  context_used: number
  forgotten: number
  turns: Turn[]
  messages: { role: string; content: string }[]
}

/** What lines of input come to under --json. */
async function chat(lines: readonly string[], args: readonly string[] = [], overrides: Partial<Cli> = {}) {
  const ended = await shoal(['chat', model, ...SHORT, '--json', ...args], {
    input: `${lines.join('\n')}\n`,
    ...overrides,
  })
  return { ...ended, document: matches('chat', ended.stdout) as unknown as Chat }
}

describe('commands of a chat', () => {
  it('take turns back and answer anew', async () => {
    const { code, stderr, document } = await chat([
      'One',
      'Two',
      '/undo',
      'Three',
      '/retry',
      '/reset',
      '/undo',
      '/retry',
    ])
    expect(document.turns.map(({ user }) => user)).toEqual(['One', 'Two', 'Three', 'Three'])
    const [, , third, again] = document.turns
    expect(again!.tokens).toEqual(third!.tokens)
    expect(document.messages).toEqual([])
    expect(stderr).toMatch(
      /took back "Two" · \d+ of 4096 tokens\n.*forgot the conversation\n.*no turn to take back\n.*no answer to give anew\n$/s,
    )
    expect(code).toBe(0)
  })

  it('save at home, and replace no file but a saved chat', async () => {
    const home = { HOME: process.env.HOME, USERPROFILE: process.env.USERPROFILE }
    Object.assign(process.env, { HOME: workspace.folder, USERPROFILE: workspace.folder })
    const weights = join(model, 'model.safetensors')
    const before = readFileSync(weights)
    const config = join(model, 'config.json')
    try {
      const { code, stderr, document } = await chat([
        'One',
        '/save ~/home.json',
        'Two',
        '/save ~/home.json',
        `/save ${weights}`,
        `/save ${config}`,
      ])
      expect(code).toBe(0)
      expect(JSON.parse(readFileSync(join(workspace.folder, 'home.json'), 'utf8'))).toEqual({
        messages: document.messages,
      })
      expect(stderr.match(/exists and is no saved chat/g)).toHaveLength(2)
      expect(readFileSync(weights).equals(before)).toBe(true)
      expect(JSON.parse(readFileSync(config, 'utf8'))).not.toHaveProperty('messages')
    } finally {
      for (const [name, value] of Object.entries(home)) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
  })

  it('forget what they are told to, or say that there is nothing', async () => {
    const { code, stderr, document } = await chat(['One', '/drop', '/drop', '/reset'])
    expect({ code, forgotten: document.forgotten }).toEqual({ code: 0, forgotten: 1 })
    expect(stderr).toBe(
      'shoal: forgot the oldest turn · 0 of 4096 tokens\nshoal: there is no turn to forget\nshoal: forgot the conversation\n',
    )
  })

  it('that cannot be done say so, and the chat goes on', async () => {
    const nowhere = join(workspace.folder, 'nowhere', 'x.json')
    const { code, stderr, document } = await chat(['/retry', '/depth gapp', `/save ${nowhere}`, '/save', 'One'])
    expect(code).toBe(0)
    expect(stderr.split('\n')).toHaveLength(5)
    expect(stderr).toMatch(/no answer to give anew\n.*gapp.*\n.*folder does not exist\n.*needs the name of a file\n$/)
    expect(document.turns.map(({ user }) => user)).toEqual(['One'])
  })

  it('that come after a message which did not fit do not send it: /undo takes it back alone', async () => {
    const loaded = await loadModel(model, { thread: false, context: 64 })
    try {
      const options = { maxTokens: 6, ignoreEos: true, json: true, device: 'cpu' } as const
      for (const command of ['/undo', '/retry', '/system Be brief.', '/reset']) {
        let said = ''
        const output = { write: (text: string) => (said += text) }
        const cli = { stdout: output, stderr: output, signal: new AbortController().signal } as unknown as Cli
        const terminal = new TerminalChat(cli, loaded, options, true)
        await terminal.say(cli, 'One')
        await terminal.say(cli, 'Two')
        const unsent = 'a '.repeat(28).trim()
        await expect(terminal.say(cli, unsent)).rejects.toThrow(/\/drop forgets the oldest turns and sends it/)
        await runChatCommand(cli, terminal, command)
        const before = terminal.session.messages.filter(({ role }) => role === 'user')
        expect(before).toHaveLength(command === '/reset' ? 0 : 2)
        if (command === '/undo') expect(said).toContain(`took back "${unsent}", which was not sent`)
        await runChatCommand(cli, terminal, '/drop')
        expect(JSON.stringify(terminal.session.messages)).not.toContain(unsent)
        terminal.session.dispose()
      }
    } finally {
      await loaded.dispose()
    }
  })

  it('draw another answer at a retry, also with a seed', async () => {
    for (const seed of [[], ['--seed', '7']]) {
      const { document } = await chat(['One', '/retry', '/retry'], ['--temperature', '2', ...seed])
      expect(new Set(document.turns.map(({ tokens }) => String(tokens))).size).toBe(3)
      if (seed.length > 0) expect(document.turns.map((turn) => turn.seed)).toEqual([7, 8, 9])
      expect(document.messages).toHaveLength(2)
    }
  })

  it('change the depth and the system message on the way', async () => {
    const { code, stderr, document } = await chat(
      ['One', '/depth exit:2', 'Two', '/depth', '/system Be loud.', 'Three', '/system', 'Four'],
      ['--system', 'Be brief.'],
    )
    expect(code).toBe(0)
    expect(document.turns.map(({ depth }) => depth)).toEqual(['full', 'exit:2', 'exit:2', 'exit:2'])
    expect(document.messages.map(({ role }) => role)).toEqual(Array(4).fill(['user', 'assistant']).flat())
    expect(stderr).toMatch(/depth exit:2\n.*depth exit:2\n.*system message is set\n.*no system message\n$/s)
    const { document: told } = await chat(['One'], ['--system', 'Be brief.'])
    expect(told.messages[0]).toEqual({ role: 'system', content: 'Be brief.' })
  })

  it('save the conversation', async () => {
    const file = join(workspace.folder, 'saved.json')
    const { document } = await chat(['One', `/save ${file}`])
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({ messages: document.messages })
  })

  it('that are unknown are named and not sent; two slashes send text', async () => {
    const { code, stderr, document } = await chat(['/udno', '/xyzzy', '/undo it', '//undo', '/help', '/exit', 'never'])
    expect(code).toBe(0)
    expect(stderr).toMatch(/unknown command "\/udno"; did you mean \/undo\? .*unknown command "\/xyzzy"; \/help/s)
    expect(stderr).toMatch(/\/undo takes nothing behind it/)
    expect(stderr).toContain('\n  /save FILE ')
    expect(document.turns.map(({ user }) => user)).toEqual(['/undo'])
  })
})

describe('lines of a pipe', () => {
  const piped = (...chunks: Buffer[]) => ({ stdin: Readable.from(chunks, { objectMode: false }) })

  it('lose a byte-order mark and carriage returns, wherever the chunks are cut', async () => {
    const bytes = Buffer.from('\ufeffHall\u00e9\r\n\r\nOne\r\nTwo')
    const chunks = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))
    const { code, document } = await chat([], [], piped(...chunks))
    expect(code).toBe(0)
    expect(document.turns.map(({ user }) => user)).toEqual(['Hall\u00e9', 'One', 'Two'])
  })

  it('that are no UTF-8 end the chat, with their position', async () => {
    const { code, stderr, document } = await chat([], [], piped(Buffer.from('One\ncaf\xe9\n', 'latin1')))
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'shoal: stdin: is not UTF-8 text: byte 7 is 0xe9\n' })
    expect(document.turns.map(({ user }) => user)).toEqual(['One'])
  })

  it('may not be without an end', async () => {
    const zeros = function* () {
      for (;;) yield Buffer.alloc(65536)
    }
    const { code, stderr } = await chat([], [], { stdin: Readable.from(zeros(), { objectMode: false }) })
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'shoal: stdin: a line has more than 1048576 bytes\n' })
  })

  it('that never come are not waited for after Ctrl-C', async () => {
    let interrupt = (): void => undefined
    const takeInterrupts = (given: () => void) => {
      interrupt = given
      setTimeout(() => interrupt(), 50)
      return () => undefined
    }
    const { code } = await chat([], [], { stdin: new Readable({ read: () => undefined }), takeInterrupts })
    expect(code).toBe(130)
  })
})

it('a chat drafts under --lossless and shows depths, also after another depth was chosen', async () => {
  const { document } = await chat(['One', '/depth exit:3', 'Two'], ['--lossless', '--depth', 'exit:2'])
  const { document: full } = await chat(['One', 'Two'])
  expect(document.turns.map(({ tokens }) => tokens)).toEqual(full.turns.map(({ tokens }) => tokens))
  expect(document.turns.map(({ depth }) => depth)).toEqual(['exit:2', 'exit:3'])
  const { stdout } = await shoal(['chat', model, ...SHORT, '--show-depth', '--depth', 'exit:2'], { input: 'One\n' })
  expect(stdout).toMatch(/[\u2080-\u2089]|[\u2070-\u2079\u00b2\u00b3]/)
})

it('a session refuses a message that is no text', async () => {
  const loaded = await loadModel(model, { thread: false })
  try {
    const session = loaded.chat()
    const wrong = 5 as unknown as string
    for (const act of [() => session.send(wrong), () => session.setSystem(wrong), () => session.countTokens(wrong)]) {
      expect(act).toThrow(new InputError('a message must be a text'))
    }
    expect(session.messages).toEqual([])
    session.dispose()
  } finally {
    await loaded.dispose()
  }
})

describe('a full context', () => {
  const LINES = ['One is a long message', 'Two is as long as that', 'Three is not shorter', 'Four']

  it('prints the turns before it and then the error', async () => {
    const { code, stderr, document } = await chat(LINES, ['--context', '64'])
    expect(code).toBe(1)
    expect(document.turns).toHaveLength(2)
    expect(document.messages).toHaveLength(4)
    expect(stderr).toMatch(/^shoal: the context is full: .* of 64 tokens, and it was not sent; --when-full drop .*\n$/)
    const { stdout } = await shoal(['chat', model, ...SHORT, '--context', '64'], { input: `${LINES.join('\n')}\n` })
    expect(stdout.match(/\d+ of 64 tokens\n/g)).toHaveLength(2)
  })

  it('lets the oldest turns go where it is told to, and says so', async () => {
    const args = ['--context', '64', '--when-full', 'drop', '--system', 'Be brief.']
    const { code, stderr, document } = await chat(LINES, args)
    expect(code).toBe(0)
    expect(document.turns).toHaveLength(4)
    expect(document.forgotten).toBeGreaterThan(0)
    expect(document.messages[0]!.role).toBe('system')
    expect(document.messages).toHaveLength(1 + 2 * (4 - document.forgotten))
    expect(stderr).toMatch(/^shoal: forgot the oldest turn/)
  })

  it('keeps every turn where one message is too long by itself', async () => {
    const args = ['--context', '64', '--when-full', 'drop']
    const { code, stderr, document } = await chat(['One', 'word '.repeat(100)], args)
    expect({ code, forgotten: document.forgotten, turns: document.turns.length }).toEqual({
      code: 1,
      forgotten: 0,
      turns: 1,
    })
    expect(stderr).toMatch(/too long for the context of 64 tokens/)
  })

  it('keeps every turn where the system text leaves no room for the message, and names it', async () => {
    const args = ['--context', '64', '--when-full', 'drop', '--system', 'Be very brief. '.repeat(6)]
    const { code, stderr, document } = await chat(['a', 'b '.repeat(18)], args)
    expect(code).toBe(1)
    expect(document).toMatchObject({ forgotten: 0, turns: [{ user: 'a' }] })
    expect(stderr).toMatch(/^shoal: the system text and the message together are too long .* of 64 tokens: .*\n$/)
  })

  it('is told of where it cuts an answer', async () => {
    const { stderr, document } = await chat(['One'], ['--context', '32', '--max-tokens', '200'])
    expect(document.turns[0]!.finish_reason).toBe('length')
    expect(stderr).toMatch(/^shoal: the context is full, so the answer ends here; --when-full drop /)
    expect(document.context_used).toBe(32)
  })

  it('is never more than full, and nobody is told to do what is done', async () => {
    const args = ['--max-tokens', '200', '--ignore-eos', '--context', '32', '--when-full', 'drop']
    const { stdout, stderr } = await shoal(['chat', model, ...args], { input: 'One\n' })
    expect(stdout).toMatch(/ 32 of 32 tokens, full\n$/)
    expect(stderr).toMatch(/^shoal: the context is full, so the answer ends here; the next message [^\n]*\n$/)
    expect(stderr).not.toContain('--when-full')
  })
})

describe('Ctrl-C', () => {
  /** Interrupts as soon as a model has begun to say something for the n-th time, for each n. */
  function interrupting(at: readonly number[]) {
    let interrupt = (): void => undefined
    let steps = 0
    const takeInterrupts = (given: () => void) => {
      interrupt = given
      return () => undefined
    }
    const stdout = {
      text: '',
      write(text: string) {
        this.text += text
        if (at.includes(++steps)) interrupt()
      },
    }
    return { takeInterrupts, stdout }
  }

  it('ends the answer, which stays as far as it was said, and not the chat', async () => {
    const hands = interrupting([3])
    const { code } = await shoal(['chat', model, ...SHORT, '--max-tokens', '500'], {
      input: `One\n/save ${join(workspace.folder, 'cut.json')}\n`,
      ...hands,
    })
    expect(code).toBe(0)
    expect(hands.stdout.text).toMatch(/ of 4096 tokens · stopped\n$/)
    const { messages } = JSON.parse(readFileSync(join(workspace.folder, 'cut.json'), 'utf8')) as Chat
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
    expect(hands.stdout.text.split('\n\n')[0]!.trim()).toBe(messages[1]!.content)
  })

  it('a second time ends the chat with 130', async () => {
    const hands = interrupting([3, 4])
    const { code } = await shoal(['chat', model, ...SHORT, '--max-tokens', '500'], { input: 'One\nTwo\n', ...hands })
    expect(code).toBe(130)
    expect(hands.stdout.text.match(/stopped/g)).toHaveLength(1)
  })
})

describe('what a chat says at its start', () => {
  it('is that the bundled model completes stories, and which model to try', async () => {
    const { stderr } = await shoal(['chat', '--max-tokens', '2'], { input: 'Hello\n' })
    expect(stderr).toMatch(
      /^shoal: note: ripple-8m only completes stories; .*HuggingFaceTB\/SmolLM2-135M-Instruct[^\n]*\n$/,
    )
    expect((await shoal(['chat', model, ...SHORT], { input: 'Hello\n' })).stderr).toBe('')
  })

  it('is that a model without a chat template cannot chat', async () => {
    const bare = join(workspace.folder, 'bare')
    await writeRandomCheckpoint(bare, 63, { tokenizer: true })
    writeFileSync(join(bare, 'tokenizer_config.json'), '{}')
    const { code, stdout, stderr } = await shoal(['chat', bare], { input: 'Hello\n' })
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^shoal: bare has no chat template: .*\n$/)
  })

  it('is how tokens are drawn, where the model recommends it; options win', async () => {
    const warm = join(workspace.folder, 'warm')
    await writeRandomCheckpoint(warm, 64, { tokenizer: true })
    await speakChatml(warm)
    const sampling = { do_sample: true, temperature: 0.6, top_p: 0.9, top_k: 40 }
    writeFileSync(join(warm, 'generation_config.json'), JSON.stringify(sampling))
    const { stderr } = await shoal(['chat', warm, ...SHORT, '--top-p', '0.5'], { input: 'Hello\n' })
    expect(stderr).toBe(
      'shoal: note: as the model recommends: --temperature 0.6 --top-k 40 (--temperature 0 is greedy)\n',
    )
    const used = async (command: 'run' | 'chat', ...args: string[]) => {
      const prompt = command === 'run' ? ['Hello'] : []
      const ended = await shoal([command, warm, ...prompt, ...SHORT, '--json', ...args], { input: 'Hello\n' })
      expect(ended).toMatchObject({ code: 0, stderr: '' })
      const document = matches(command, ended.stdout)
      return (command === 'run' ? document : (document.turns as object[])[0]) as unknown as Turn
    }
    for (const command of ['run', 'chat'] as const) {
      expect((await used(command, '--top-p', '0.5')).sampling).toMatchObject({
        temperature: 0.6,
        top_k: 40,
        top_p: 0.5,
      })
      expect((await used(command, '--temperature', '0')).sampling).toMatchObject({ temperature: 0, top_k: 0, top_p: 1 })
    }
  })
})

it('a prompt that spells the token which the tokenizer adds has it once, with a warning', async () => {
  const run = async (prompt: string) => {
    const { code, stdout, stderr } = await shoal(['run', 'ripple-8m', prompt, '--max-tokens', '2', '--json'])
    expect(code).toBe(0)
    return { tokens: (JSON.parse(stdout) as { prompt_tokens: number[] }).prompt_tokens, stderr }
  }
  const plain = await run('Once')
  const doubled = await run('<s>Once')
  expect(plain.stderr).toBe('')
  expect(doubled.tokens).toEqual(plain.tokens)
  expect(doubled.stderr).toMatch(/^shoal: warning: the prompt begins with <s>, .*\n$/)
})
