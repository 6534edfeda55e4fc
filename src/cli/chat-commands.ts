import { readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { writeAtomicFile } from '../checkpoint/atomic-file.js'
import { FileError, InputError, ShoalError } from '../errors.js'
import { didYouMean } from '../nearest-name.js'
import { type Cli, note, UsageError } from './cli.js'
import type { TerminalChat } from './terminal-chat.js'

/** Bytes that are read to see whether a file is a saved chat. */
const LONGEST_SAVED = 64 * 2 ** 20

interface ChatCommand {
  readonly name: string
  /** What stands behind the name; null where nothing may. */
  readonly argument: string | null
  readonly summary: string
  /** Whether it sends a message: then its errors are that message's. */
  readonly sends?: true
  run(cli: Cli, conversation: TerminalChat, argument: string): Promise<void> | void
}

const COMMANDS: readonly ChatCommand[] = [
  {
    name: '/system',
    argument: 'TEXT',
    summary: 'tell the model something before the conversation; without TEXT nothing any more',
    run(cli, conversation, text) {
      conversation.session.setSystem(text === '' ? null : text)
      conversation.withdraw()
      note(cli, text === '' ? 'no system message' : 'the system message is set')
    },
  },
  {
    name: '/depth',
    argument: 'SPEC',
    summary: 'run the next answers at another depth; without SPEC say which',
    async run(cli, conversation, spec) {
      if (spec === '') note(cli, `depth ${(await conversation.model.policy(conversation.depth)).spec}`)
      else await conversation.chooseDepth(cli, spec)
    },
  },
  {
    name: '/undo',
    argument: null,
    summary: 'take back the last message and its answer, or the message that did not fit',
    run(cli, conversation) {
      const unsent = conversation.withdraw()
      if (unsent !== null) {
        note(cli, `took back ${shortened(unsent)}, which was not sent · ${conversation.used}`)
        return
      }
      const undone = conversation.session.undo()
      note(
        cli,
        undone === null ? 'there is no turn to take back' : `took back ${shortened(undone)} · ${conversation.used}`,
      )
    },
  },
  {
    name: '/retry',
    argument: null,
    summary: 'answer the last message anew',
    sends: true,
    run: (cli, conversation) => conversation.retry(cli),
  },
  {
    name: '/drop',
    argument: null,
    summary: 'forget the oldest turn, or as many as a message needs that did not fit',
    sends: true,
    run: (cli, conversation) => conversation.drop(cli),
  },
  {
    name: '/save',
    argument: 'FILE',
    summary: 'write the conversation as JSON',
    async run(cli, { session }, name) {
      if (name === '') throw new InputError('/save needs the name of a file')
      const path = name.replace(/^~(?=$|[/\\])/, () => homedir())
      await saveMessages(path, session.messages)
      note(cli, `saved ${session.messages.length} messages as ${path}`)
    },
  },
  {
    name: '/reset',
    argument: null,
    summary: 'forget the conversation; the system message stays',
    run(cli, conversation) {
      conversation.withdraw()
      conversation.session.forget()
      note(cli, 'forgot the conversation')
    },
  },
  {
    name: '/help',
    argument: null,
    summary: 'show this',
    run(cli) {
      const usage = ({ name, argument }: ChatCommand): string => (argument === null ? name : `${name} ${argument}`)
      const lines = COMMANDS.map((command) => `  ${usage(command).padEnd(14)}  ${command.summary}\n`)
      cli.stderr.write(`${lines.join('')}  ${'//TEXT'.padEnd(14)}  send a message that begins with a slash\n`)
    },
  },
  {
    name: '/exit',
    argument: null,
    summary: 'end the chat',
    run(_, conversation) {
      conversation.ended = true
    },
  },
]

/**
 * Runs a line that begins with a slash. Nothing of it goes to the model. A command that cannot be done says so, and the
 * chat goes on.
 * @throws what a message's answer throws
 */
export async function runChatCommand(cli: Cli, conversation: TerminalChat, line: string): Promise<void> {
  const [name = ''] = line.split(/\s/, 1)
  const argument = line.slice(name.length).trim()
  const command = COMMANDS.find((known) => known.name === name)
  if (command === undefined) {
    const names = COMMANDS.map((known) => known.name)
    note(cli, `unknown command ${shortened(name)}${didYouMean(name, names) || ';'} /help lists them, //TEXT sends text`)
    return
  }
  if (command.argument === null && argument !== '') {
    note(cli, `${name} takes nothing behind it; nothing was done`)
    return
  }
  try {
    await command.run(cli, conversation, argument)
  } catch (error) {
    const refused = error instanceof ShoalError || error instanceof UsageError
    if (command.sends || cli.signal.aborted || !refused) throw error
    note(cli, error.message)
  }
}

/** Replaces a saved chat and no other file: a name is soon mistaken, and the model's is on the same command line. */
async function saveMessages(path: string, messages: readonly object[]): Promise<void> {
  if (!(await mayReplace(path)))
    throw new FileError(path, 'exists and is no saved chat, so it stays; give another name')
  await writeAtomicFile(path, `${JSON.stringify({ messages }, null, 2)}\n`)
}

async function mayReplace(path: string): Promise<boolean> {
  const target = await stat(path).catch(() => null)
  // Nothing there, or what `writeAtomicFile` refuses.
  if (target === null || !target.isFile()) return true
  if (target.size > LONGEST_SAVED) return false
  try {
    const saved = JSON.parse(await readFile(path, 'utf8')) as { messages?: unknown } | null
    return Array.isArray(saved?.messages)
  } catch {
    return false
  }
}

/** In quotes, on one line. */
function shortened(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}
