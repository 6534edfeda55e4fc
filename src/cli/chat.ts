import { createInterface, type Interface } from 'node:readline'
import { Readable } from 'node:stream'
import { Command, Option } from 'commander'
import { bundledModels, DEFAULT_MODEL } from '../convert/package.js'
import type { Model } from '../engine/api.js'
import { UnsupportedError } from '../errors.js'
import { refuseOutsideBound } from './bound-scope.js'
import { runChatCommand } from './chat-commands.js'
import { type Cli, note } from './cli.js'
import { addGenerationOptions, announceDepth, noteRecommended, recommendedOptions } from './generation-options.js'
import { addForceOption, refuseOtherDepth } from './made-for.js'
import { addModelOptions, MODEL_HELP, withModel } from './model-options.js'
import { type ChatOptions, TerminalChat } from './terminal-chat.js'
import { readLines } from './text-input.js'

const EXAMPLES = `
Examples:
  $ shoal chat                                           the bundled model, which only completes stories
  $ shoal chat HuggingFaceTB/SmolLM2-135M-Instruct       from the Hub, once
  $ shoal chat ./checkpoint --system "Answer in one sentence." --depth unified:1.5x
  $ printf 'Hello\\nAnd you?\\n' | shoal chat --json      every line is a turn

While it waits: /help lists the commands, /exit or Ctrl-D ends. Ctrl-C ends an answer; at an empty line it ends the chat.`

export function buildChat(cli: Cli): Command {
  const command = new Command('chat')
    .description('Talk with a model in its own chat template. The cache stays between turns.')
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] [options]')
    .option('--system <text>', 'what the model is told before the conversation')
  addForceOption(addGenerationOptions(command))
    .option('--show-depth', 'colour each token by the layers that it ran')
    .option('--literal-content', 'special tokens that a message spells stay text')
    .addOption(
      new Option(
        '--when-full <what>',
        'where the context is full: stop with an error, or drop the oldest turns; default stop, and on a terminal it asks',
      ).choices(['stop', 'drop']),
    )
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: ChatOptions) =>
    withModel(cli, name, options, (model) => chat(cli, name, model, options), { slots: 1 }),
  )
}

async function chat(cli: Cli, name: string | undefined, model: Model, options: ChatOptions): Promise<void> {
  if (model.tokenizer === null) {
    throw model.tokenizerError ?? new UnsupportedError(`${model.name} has no tokenizer; a chat needs one`)
  }
  const policy = await announceDepth(cli, model, options.depth, options.lossless)
  await refuseOtherDepth(cli, model, policy, options)
  refuseOutsideBound(cli, policy, { prompts: null, how: recommendedOptions(cli, model, options) }, options)
  const interactive = cli.stdin.isTTY === true && cli.stderr.isTTY === true && options.json !== true
  const conversation = new TerminalChat(cli, model, options, interactive)
  if (!options.json) {
    if (bundledModels().includes(name ?? DEFAULT_MODEL))
      note(
        cli,
        `note: ${model.name} only completes stories; to talk, try shoal chat HuggingFaceTB/SmolLM2-135M-Instruct, which comes from the Hub once`,
      )
    noteRecommended(cli, model, options)
  }
  if (interactive) cli.stderr.write(`${model.name} · ${model.quantization} · /help lists the commands, /exit ends\n`)
  try {
    await converse(cli, conversation, interactive)
  } finally {
    // What was said before an error is said.
    conversation.finish()
  }
}

/** Line after line until the input ends, the user leaves, or a turn fails where nobody sits at a terminal. */
async function converse(cli: Cli, conversation: TerminalChat, interactive: boolean): Promise<void> {
  const terminal =
    cli.stdin.isTTY === true
      ? createInterface({ input: cli.stdin, ...(interactive ? { output: process.stderr } : {}), prompt: '> ' })
      : null
  const interrupts = listen(cli, terminal)
  try {
    if (interactive) terminal?.prompt()
    for await (const line of terminal ?? readLines(cli.stdin)) {
      if (interrupts.leaving) break
      const turn = { ...cli, signal: interrupts.begin() }
      try {
        await take(turn, conversation, line.trim())
      } catch (error) {
        if (!interactive && !turn.signal.aborted) throw error
        if (!turn.signal.aborted) note(cli, error instanceof Error ? error.message : String(error))
      } finally {
        interrupts.end()
      }
      if (interrupts.leaving || conversation.ended) break
      if (interactive) terminal?.prompt()
    }
  } catch (error) {
    // Leaving breaks off a read that is under way.
    if (!interrupts.leaving) throw error
  } finally {
    interrupts.dispose()
    terminal?.close()
    if (interrupts.leaving) cli.exitCode = 130
    if (interactive) cli.stderr.write('\n')
  }
}

async function take(cli: Cli, conversation: TerminalChat, text: string): Promise<void> {
  if (text === '') return
  if (text.startsWith('/') && !text.startsWith('//')) await runChatCommand(cli, conversation, text)
  else await conversation.say(cli, text.startsWith('//') ? text.slice(1) : text)
}

/** Ctrl-C ends the answer that is under way; where there is none, or a second time, the chat. */
function listen(cli: Cli, terminal: Interface | null) {
  let turn: AbortController | null = null
  let leaving = false
  const leave = (): void => {
    leaving = true
    turn?.abort()
    if (terminal !== null) terminal.close()
    else if (cli.stdin instanceof Readable) cli.stdin.destroy()
  }
  const interrupt = (): void => {
    if (leaving) process.exit(130)
    if (turn !== null && !turn.signal.aborted) turn.abort()
    else if (turn === null && terminal?.terminal === true && terminal.line !== '') {
      terminal.write(null, { ctrl: true, name: 'e' })
      terminal.write(null, { ctrl: true, name: 'u' })
    } else leave()
  }
  const release = cli.takeInterrupts(interrupt)
  // On a terminal readline takes Ctrl-C for itself.
  terminal?.on('SIGINT', interrupt)
  cli.signal.addEventListener('abort', leave)
  return {
    get leaving() {
      return leaving
    },
    /** The signal of a new turn. */
    begin(): AbortSignal {
      turn = new AbortController()
      return turn.signal
    },
    end(): void {
      turn = null
    },
    dispose(): void {
      release()
      cli.signal.removeEventListener('abort', leave)
    },
  }
}
