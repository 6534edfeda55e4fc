import { Command } from 'commander'
import { openTokenizer } from '../convert/load-tokenizer.js'
import { DEFAULT_MODEL } from '../convert/package.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import { addRevisionOption, type RevisionOption, withLoadingLine } from './loading-line.js'
import { MODEL_HELP } from './model-options.js'
import { modelAndText } from './model-or-prompt.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { readExactly } from './text-input.js'
import { tokenIds } from './values.js'

interface TokenizeOptions extends RevisionOption, OutputOptions {
  readonly bos?: boolean
  readonly special: boolean
  readonly decode?: number[]
}

const EXAMPLES = `
Examples:
  $ shoal tokenize "Once upon a time"                     by the bundled model
  $ shoal tokenize model.gguf "<|im_start|>user" --json
  $ shoal tokenize model.gguf "<|im_start|>user" --no-special    the characters, not the token
  $ shoal tokenize < chapter.txt | wc -l                 how long is it?
  $ shoal tokenize --decode 395,318,225

MODEL may be a GGUF file that holds a vocabulary and nothing else. A piece is the text that a token stands for; bytes that
are no whole character show as U+FFFD. Text from stdin is UTF-8, taken as it is: line break at its end included.`

export function buildTokenize(cli: Cli): Command {
  const command = new Command('tokenize')
    .description('Show the tokens of a text, or the text of tokens. Needs no weights.')
    .argument('[model]', MODEL_HELP)
    .argument('[text]', 'text to cut into tokens; default stdin, as - is')
    .usage('[MODEL] [TEXT] [options]')
  addRevisionOption(command)
    .option('--bos', 'add what the model puts before and after a text')
    .option('--no-special', 'take special tokens that the text spells as text')
    .option('--decode <ids>', 'the other way round: the text of token ids such as 2,5,7', tokenIds)
  addOutputOptions(command).addHelpText('after', EXAMPLES)
  return command.action((first: string | undefined, second: string | undefined, options: TokenizeOptions) =>
    tokenize(cli, first, second, options),
  )
}

async function tokenize(
  cli: Cli,
  first: string | undefined,
  second: string | undefined,
  options: TokenizeOptions,
): Promise<void> {
  const { model = DEFAULT_MODEL, text } = modelAndText('tokenize', first, second)
  if (options.decode !== undefined && text !== undefined) throw new UsageError('with --decode there is no TEXT')
  const { revision } = options
  const { tokenizer, warnings } = await withLoadingLine(cli, (progress) =>
    openTokenizer(model, { signal: cli.signal, progress, ...(revision !== undefined && { revision }) }),
  )
  for (const warning of warnings) note(cli, `warning: ${warning}`)
  try {
    if (options.decode !== undefined) decode(cli, tokenizer, options.decode, options)
    else encode(cli, tokenizer, text === undefined || text === '-' ? await readExactly(cli) : text, options)
  } finally {
    tokenizer.dispose()
  }
}

function encode(cli: Cli, tokenizer: Tokenizer, text: string, { bos = false, special, json }: TokenizeOptions): void {
  const ids = tokenizer.encode(text, { addSpecialTokens: bos, parseSpecial: special })
  const pieces = ids.map((id) => tokenizer.decode([id], { continues: true }))
  if (json) {
    printJson(cli, { ids, pieces })
    return
  }
  const width = String(ids.reduce((most, id) => Math.max(most, id), 0)).length
  for (const [i, id] of ids.entries()) {
    cli.stdout.write(`${String(id).padStart(width)}  ${JSON.stringify(pieces[i])}\n`)
  }
}

function decode(cli: Cli, tokenizer: Tokenizer, ids: readonly number[], { json }: TokenizeOptions): void {
  const unknown = ids.find((id) => tokenizer.piece(id) === null)
  if (unknown !== undefined)
    throw new UsageError(`there is no token ${unknown}: the ids are 0 to ${tokenizer.size - 1}`)
  const text = tokenizer.decode(ids)
  if (json) printJson(cli, { ids, text })
  else cli.stdout.write(`${text}\n`)
}
