import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { InputError, printable, ShoalError, SpecError } from '../errors.js'
import { type Cli, type CommandBuilder, UsageError, unknownCommand } from './cli.js'

interface CommandEntry {
  readonly name: string
  readonly usage: string
  readonly summary: string
  /** Loads the command's own file; only the command that is asked for is loaded. */
  build(): Promise<CommandBuilder>
}

const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'run',
    usage: 'run [MODEL] PROMPT',
    summary: 'continue a prompt',
    build: async () => (await import('./run.js')).buildRun,
  },
  {
    name: 'chat',
    usage: 'chat [MODEL]',
    summary: 'talk with a model',
    build: async () => (await import('./chat.js')).buildChat,
  },
  {
    name: 'serve',
    usage: 'serve [MODEL]',
    summary: "serve a model behind OpenAI's API, with a depth for each request",
    build: async () => (await import('./serve.js')).buildServe,
  },
  {
    name: 'trace',
    usage: 'trace [MODEL] [PROMPT]',
    summary: 'run every layer and show or save what each would have said',
    build: async () => (await import('./trace.js')).buildTrace,
  },
  {
    name: 'score',
    usage: 'score [MODEL]',
    summary: 'feed a text token by token under a depth: logits, depths, perplexity',
    build: async () => (await import('./score.js')).buildScore,
  },
  {
    name: 'tokenize',
    usage: 'tokenize [MODEL] [TEXT]',
    summary: 'show the tokens of a text, or the text of tokens; needs no weights',
    build: async () => (await import('./tokenize.js')).buildTokenize,
  },
  {
    name: 'plan',
    usage: 'plan [MODEL]',
    summary: 'what a depth means in layers, parameters, FLOPs and KV bytes; needs no weights',
    build: async () => (await import('./plan.js')).buildPlan,
  },
  {
    name: 'convert',
    usage: 'convert [MODEL]',
    summary: 'write the GGUF file of a Hugging Face folder',
    build: async () => (await import('./convert.js')).buildConvert,
  },
  {
    name: 'export',
    usage: 'export [MODEL]',
    summary: 'write a checkpoint that has only the layers of a plan',
    build: async () => (await import('./export.js')).buildExport,
  },
  {
    name: 'eval',
    usage: 'eval answers|generation|matrix|tasks',
    summary: 'run tasks under several depths: quality, layers, FLOPs, time',
    build: async () => (await import('./eval.js')).buildEval,
  },
  {
    name: 'reproduce',
    usage: 'reproduce [NAME] [MODEL...]',
    summary: "run a paper's table on your models beside its published figures",
    build: async () => (await import('./reproduce.js')).buildReproduce,
  },
  {
    name: 'calibrate',
    usage: 'calibrate [MODEL]',
    summary: 'fit a policy on traces, choose its threshold, bound its harm',
    build: async () => (await import('./calibrate.js')).buildCalibrate,
  },
  {
    name: 'search',
    usage: 'search [MODEL]',
    summary: 'find the plan for a target speedup on your own data',
    build: async () => (await import('./search.js')).buildSearch,
  },
  {
    name: 'bridge',
    usage: 'bridge [MODEL]',
    summary: 'fit linear maps over the layers that a plan leaves out',
    build: async () => (await import('./bridge.js')).buildBridge,
  },
  {
    name: 'policy',
    usage: 'policy show|apply|import',
    summary: 'explain a policy file, run it over traces, import a published plan',
    build: async () => (await import('./policy.js')).buildPolicy,
  },
  {
    name: 'metrics',
    usage: 'metrics bleu|chrf|rouge',
    summary: 'score translations and summaries against references',
    build: async () => (await import('./metrics.js')).buildMetrics,
  },
  {
    name: 'bench',
    usage: 'bench [MODEL]',
    summary: 'measure prefill and decode speed by depth and batch',
    build: async () => (await import('./bench.js')).buildBench,
  },
  {
    name: 'models',
    usage: 'models [list|remove]',
    summary: 'what is cached: converted models, and models of the Hub',
    build: async () => (await import('./models.js')).buildModels,
  },
]

const EXAMPLES = `
Examples:
  $ shoal run "Once upon a time"
  $ shoal run --depth gap:0.8 --show-depth "Once upon a time"
  $ shoal run ./my-checkpoint "The sea" --quantization q8_0 --json
  $ shoal trace "The capital of France is"
  $ shoal plan ./my-checkpoint/config.json --depth unified:2x

shoal COMMAND --help tells the options of a command.`

/**
 * The command line. Returns the exit code: 0, 1 after an error, 2 after wrong usage (a wrong SPEC or value too), 130 after Ctrl-C.
 * @param args without the names of node and of the script
 * @param overrides of streams, environment and model loading, for tests
 */
export async function main(args: readonly string[], overrides: Partial<Cli> = {}): Promise<number> {
  const interrupt = overrides.signal === undefined ? listenForInterrupt() : null
  const cli: Cli = {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: interrupt?.signal ?? overrides.signal!,
    takeInterrupts: interrupt?.take ?? (() => () => undefined),
    exitCode: 0,
    loadModel: async (model, options) => (await import('../engine/load.js')).loadModel(model, options),
    ...overrides,
  }
  if (overrides.stdout === undefined) endQuietlyWithReader()
  try {
    const program = buildProgram(cli)
    // `shoal help run` is `shoal run --help`.
    const line = args[0] === 'help' ? [...args.slice(1), '--help'] : [...args]
    const name = line.find((arg) => !arg.startsWith('-'))
    const entry = COMMANDS.find((command) => command.name === name)
    if (entry === undefined) refuseUnknown(name)
    else {
      const command = (await entry.build())(cli).copyInheritedSettings(program)
      for (const child of command.commands) child.copyInheritedSettings(command)
      program.addCommand(command)
    }
    if (line.length === 0) program.outputHelp()
    else await program.parseAsync(line, { from: 'user' })
    return cli.exitCode
  } catch (error) {
    return report(cli, error, args.includes('--verbose'))
  } finally {
    interrupt?.dispose()
  }
}

function buildProgram(cli: Cli): Command {
  const width = Math.max(...COMMANDS.map(({ usage }) => usage.length))
  const list = COMMANDS.map(({ usage, summary }) => `  ${usage.padEnd(width)}  ${summary}`).join('\n')
  return new Command('shoal')
    .description('Run large language models only as deep as each token needs.')
    .usage('COMMAND [options]')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .version(version(), '-V, --version', 'show the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => cli.stdout.write(text),
      writeErr: (text) => cli.stderr.write(text),
      getOutHelpWidth: () => cli.stdout.columns || 80,
      outputError: (text, write) =>
        write(
          `shoal: ${printable(
            text
              .replace(/^error: /, '')
              .trim()
              .replaceAll('\n', ' '),
          )}${hint(text)}\n`,
        ),
    })
    .showSuggestionAfterError()
    .addHelpText('after', `\nCommands:\n${list}\n${EXAMPLES}`)
}

function refuseUnknown(command: string | undefined): void {
  if (command === undefined) return
  const known = COMMANDS.map(({ name }) => name)
  throw unknownCommand(command, known)
}

/** What commander does not know: that one of the arguments is a text. */
function hint(error: string): string {
  // No option has spaces, or a digit in front.
  if (/unknown option '-(\d|[^']*\s)/.test(error)) return '; a prompt that begins with - goes behind --'
  if (/too many arguments for '(run|trace)'/.test(error)) return ' A prompt of several words needs quotation marks.'
  return ''
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

function report(cli: Cli, error: unknown, verbose: boolean): number {
  // commander has written its own message already; help and version come this way too, with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (cli.signal.aborted || (error instanceof ShoalError && error.code === 'aborted')) return 130
  const message = error instanceof Error ? error.message : String(error)
  // An unexpected error may carry several lines; those after the first are for --verbose.
  cli.stderr.write(`shoal: ${printable(message.trim().split('\n')[0] ?? '')}\n`)
  if (verbose && error instanceof Error) {
    for (let e: unknown = error; e instanceof Error; e = e.cause) cli.stderr.write(`${e.stack ?? e.message}\n`)
  }
  return isWrongUsage(error) ? 2 : 1
}

/** Whether what was typed is to be changed. A text that is too long for the model is not: the same line may do for another one. */
function isWrongUsage(error: unknown): boolean {
  return (
    error instanceof UsageError ||
    error instanceof SpecError ||
    (error instanceof InputError && error.code === 'input_invalid')
  )
}

/** The first Ctrl-C asks the command to end, the second one ends the process. */
function listenForInterrupt(): { signal: AbortSignal; take: Cli['takeInterrupts']; dispose: () => void } {
  const controller = new AbortController()
  let taken: (() => void) | null = null
  const stop = (): void => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  const interrupt = (): void => (taken ?? stop)()
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', stop)
  return {
    signal: controller.signal,
    take(interrupt) {
      taken = interrupt
      return () => {
        taken = null
      }
    },
    dispose: () => {
      process.off('SIGINT', interrupt)
      process.off('SIGTERM', stop)
    },
  }
}

/** Where the reader of a pipe has gone (`shoal run … | head -1`) there is nobody left to tell anything. */
function endQuietlyWithReader(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(0)
      if (stream === process.stdout)
        process.stderr.write(`shoal: stdout cannot be written to (${error.code ?? error.message})\n`)
      process.exit(1)
    })
  }
}
