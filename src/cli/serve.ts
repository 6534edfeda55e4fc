import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { FileError } from '../errors.js'
import { FREE_KINDS } from '../serve/depth-request.js'
import { checkHost, listen } from '../serve/server.js'
import { type Cli, note, UsageError } from './cli.js'
import { addDepthOption, addModelOptions, MODEL_HELP, type ModelOptions, openModel } from './model-options.js'
import { wholeNumber } from './values.js'

interface ServeCommandOptions extends ModelOptions {
  readonly depth?: string
  readonly host: string
  readonly port: number
  readonly name?: string
  readonly maxBatch: number
  readonly maxQueue?: number
  readonly prefixCache: number
  readonly allowDepth?: readonly string[]
  readonly apiKeyFile?: string
  readonly corsOrigin?: readonly string[]
  readonly shutdownTimeout: number
}

/** Bytes of a request's body at most. */
const MOST_BYTES = 8 << 20

/** Texts that may wait for each one that is written. */
const WAITING_PER_SLOT = 8

const EXAMPLES = `
Examples:
  $ shoal serve                                          the bundled model at http://127.0.0.1:8080/v1
  $ shoal serve HuggingFaceTB/SmolLM2-135M-Instruct --depth unified:1.5x --max-batch 16
  $ shoal serve model.gguf --host 0.0.0.0 --api-key-file keys.txt
  $ curl http://127.0.0.1:8080/v1/completions -H 'content-type: application/json' \\
      -d '{"prompt": "Once upon a time", "max_tokens": 20, "depth": "gap:0.8"}'

Ctrl-C lets the texts that are being written end; a second one ends at once.`

export function buildServe(cli: Cli): Command {
  const command = new Command('serve')
    .description("Serve a model behind OpenAI's API, with a depth for each request.")
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] [options]')
    .option('--host <address>', 'address to listen at; others than loopback need --api-key-file', '127.0.0.1')
    .option('--port <n>', 'port to listen at; 0 for any that is free', wholeNumber(0, 65_535), 8080)
    .option('--name <name>', "how clients name the model; default the model's own name")
    .option('--max-batch <n>', 'texts that are written at once', wholeNumber(1, 1024), 8)
    .option(
      '--max-queue <n>',
      'texts that wait at most, others are told to come later; default 8 for each of --max-batch',
      wholeNumber(0),
    )
    .option(
      '--prefix-cache <n>',
      'ended texts that stay in the KV cache for prompts that begin alike',
      wholeNumber(0, 1024),
      8,
    )
    .option(
      '--allow-depth <spec...>',
      `kinds of policies and SPECs that requests may ask for; default ${FREE_KINDS.join(' ')}`,
    )
    .option('--api-key-file <file>', 'keys that requests may have, one a line; SHOAL_API_KEY is another')
    .option('--cors-origin <origin...>', 'origins that browsers may ask from, such as https://example.org')
    .option(
      '--shutdown-timeout <s>',
      'seconds that texts have to end after Ctrl-C or SIGTERM',
      wholeNumber(0, 86_400),
      30,
    )
  addModelOptions(addDepthOption(command)).addHelpText('after', EXAMPLES)
  return command.action((model: string | undefined, options: ServeCommandOptions) => serve(cli, model, options))
}

async function serve(cli: Cli, name: string | undefined, options: ServeCommandOptions): Promise<void> {
  const { host, port, maxBatch, maxQueue = WAITING_PER_SLOT * maxBatch, prefixCache, depth } = options
  const apiKeys = keysOf(cli, options.apiKeyFile)
  checkHost(host, apiKeys)
  const model = await openModel(cli, name, options, { slots: maxBatch, prefixCache, process: true, thread: true })
  try {
    // What is wrong with it is said now, and what must be measured for it is.
    const policy = await model.policy(depth, { signal: cli.signal })
    const server = await listen(model, {
      host,
      port,
      name: options.name ?? model.name,
      ...(depth === undefined ? {} : { depth: policy.spec }),
      allowDepth: options.allowDepth ?? FREE_KINDS,
      mostTexts: maxBatch + maxQueue,
      mostBytes: MOST_BYTES,
      apiKeys,
      origins: options.corsOrigin ?? [],
      onFault: (thrown) =>
        note(cli, `fault: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`),
      ...(options.verbose ? { log: (line) => cli.stderr.write(`${JSON.stringify(line)}\n`) } : {}),
    })
    note(cli, `${model.name} is served at ${server.url}/v1, depth ${policy.spec}`)
    await stopped(cli)
    note(cli, 'stopping: texts that are being written may end; stop again to end at once')
    await server.close(options.shutdownTimeout * 1000)
  } finally {
    await model.dispose()
  }
}

/** Resolves at Ctrl-C or SIGTERM. A second one ends the process. */
function stopped(cli: Cli): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    cli.takeInterrupts(() => {
      if (asked) process.exit(130)
      asked = true
      resolve()
    })
    if (cli.signal.aborted) resolve()
    cli.signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

function keysOf(cli: Cli, file: string | undefined): string[] {
  const own = cli.env.SHOAL_API_KEY
  const keys = own === undefined || own === '' ? [] : [own]
  if (file === undefined) return keys
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new FileError(file, 'cannot be read', 'file_missing', { cause })
  }
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (lines.length === 0) throw new UsageError(`${file} has no key: one a line`)
  return [...keys, ...lines]
}
