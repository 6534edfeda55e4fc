import { createInterface } from 'node:readline'
import { Command } from 'commander'
import type { ChatSession, GenerationResult, Model } from '../engine/api.js'
import { UnsupportedError } from '../errors.js'
import { type Cli, printJson } from './cli.js'
import { addGenerationOptions, announceDepth, type GenerationOptions, generateOptions } from './generation-options.js'
import { addForceOption, type ForceOption, refuseOtherDepth } from './made-for.js'
import { addModelOptions, type ModelOptions, withModel } from './model-options.js'
import { resultJson } from './result.js'
import { streamAnswer } from './run.js'

interface ChatOptions extends ModelOptions, GenerationOptions, ForceOption {
  readonly showDepth?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal chat                                           the bundled model
  $ shoal chat ./checkpoint --depth unified:1.5x --temperature 0.7
  $ printf 'Hello\\nAnd you?\\n' | shoal chat --json      every line is a turn

While it waits: /reset forgets the conversation, /exit or Ctrl-D ends, and so does Ctrl-C.`

export function buildChat(cli: Cli): Command {
  const command = new Command('chat')
    .description('Talk with a model in its own chat template. The cache stays between turns.')
    .argument('[model]', 'folder with a Hugging Face checkpoint, GGUF file, or name of a bundled model')
    .usage('[MODEL] [options]')
  addForceOption(addGenerationOptions(command)).option('--show-depth', 'colour each token by the layers that it ran')
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: ChatOptions) =>
    withModel(cli, name, options, (model) => chat(cli, model, options), { slots: 1 }),
  )
}

async function chat(cli: Cli, model: Model, options: ChatOptions): Promise<void> {
  if (model.tokenizer === null) throw new UnsupportedError(`${model.name} has no tokenizer; a chat needs one`)
  const policy = await announceDepth(cli, model, options.depth, options.lossless)
  await refuseOtherDepth(cli, model, policy, options)
  const interactive = cli.stdin.isTTY === true && cli.stderr.isTTY === true && options.json !== true
  const turns: object[] = []
  let session: ChatSession = model.chat(generateOptions(cli, options))
  const lines = createInterface({ input: cli.stdin, ...(interactive ? { output: process.stderr } : {}), prompt: '> ' })
  const stop = (): void => lines.close()
  cli.signal.addEventListener('abort', stop)
  // On a terminal readline takes Ctrl-C for itself.
  lines.on('SIGINT', () => process.emit('SIGINT'))
  try {
    if (interactive) {
      cli.stderr.write(`${model.name} · ${model.quantization} · /exit ends, /reset forgets\n`)
      lines.prompt()
    }
    for await (const line of lines) {
      const text = line.trim()
      if (text === '/exit') break
      if (text === '/reset') {
        session.dispose()
        session = model.chat(generateOptions(cli, options))
      } else if (text !== '') {
        const generation = session.send(text)
        if (options.json) turns.push(turnJson(model, text, await generation.result))
        else await streamAnswer(cli, model, generation, options.showDepth === true)
      }
      if (cli.signal.aborted) break
      if (interactive) lines.prompt()
    }
    if (options.json)
      printJson(cli, { model: model.name, quantization: model.quantization, turns, messages: session.messages })
    else if (interactive) cli.stderr.write('\n')
  } finally {
    cli.signal.removeEventListener('abort', stop)
    lines.close()
    session.dispose()
  }
}

function turnJson(model: Model, user: string, result: GenerationResult): object {
  return { user, ...resultJson(model, result) }
}
