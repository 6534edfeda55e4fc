import { Command } from 'commander'
import type { Model } from '../engine/api.js'
import {
  addBeamOptions,
  type BeamOptions,
  beamsEndLine,
  beamsJson,
  beamsList,
  checkBeamOptions,
  searchBeams,
} from './beams.js'
import { refuseOutsideBound } from './bound-scope.js'
import { type Cli, note, printJson, UsageError } from './cli.js'
import {
  addGenerationOptions,
  announceDepth,
  type GenerationOptions,
  generateOptions,
  noteRecommended,
  recommendedOptions,
} from './generation-options.js'
import { addForceOption, type ForceOption, refuseOtherDepth } from './made-for.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { type AllowEmptyOption, addAllowEmptyOption, modelAndPrompt, onlyModel } from './model-or-prompt.js'
import { resultJson, summarize } from './result.js'
import { runPromptsFile } from './run-prompts.js'
import { noteWarnings, streamAnswer } from './stream-answer.js'
import { tokenIds, wholeNumber } from './values.js'

interface RunOptions extends ModelOptions, GenerationOptions, BeamOptions, ForceOption, AllowEmptyOption {
  readonly tokens?: number[]
  readonly showDepth?: boolean
  readonly explainPass?: boolean
  readonly prompts?: string
  readonly batch?: number
  readonly out?: string
}

const EXAMPLES = `
Examples:
  $ shoal run "Once upon a time"                         the bundled model, every layer
  $ shoal run ripple-8m-flex "Once upon a time" --depth gap:0.8 --show-depth
  $ shoal run ripple-8m-flex "Once upon a time" --depth exit:3 --lossless
  $ shoal run model.gguf --lossless < text.txt           drafts from the text: faster where it repeats
  $ shoal run ./checkpoint "The sea" --quantization q4_0 --temperature 0.8 --top-p 0.95 --seed 7
  $ shoal run HuggingFaceTB/SmolLM2-135M-Instruct "The sea"    from the Hub, once
  $ shoal run model.gguf --tokens 1,450,7483 --max-tokens 32 --json
  $ shoal run "The sea" --beams 4 --no-repeat-ngram 3 --verbose      all beams with their scores
  $ shoal run --prompts prompts.jsonl --batch 8 -o results.jsonl
  $ echo "Once upon a time" | shoal run ripple-8m
  $ shoal run -- "-3 + 5 ="                              a prompt that begins with -

A line of prompts.jsonl is {"prompt": "…"} or {"tokens": [2, 5, 7]}, with an "id" if you like. A line of results.jsonl
is what --json prints, with the prompt's "index". Run the same command again after a break: finished lines stay.`

export function buildRun(cli: Cli): Command {
  const command = new Command('run')
    .description(
      'Continue a prompt. Of two arguments the first is the model. One is the model where it names one, and the prompt comes from stdin; else it is the prompt, for the bundled model.',
    )
    .argument('[model]', MODEL_HELP)
    .argument('[prompt]', 'text to continue; - reads it from stdin, and one that begins with - goes behind --')
    .usage('[MODEL] PROMPT [options]')
  addAllowEmptyOption(addForceOption(addBeamOptions(addGenerationOptions(command))))
    .option('--tokens <ids>', 'token ids such as 2,5,7 instead of a prompt', tokenIds)
    .option('--show-depth', 'colour each token by the layers that it ran')
    .option('--explain-pass', 'tell on stderr what the engine runs: layers, rows, checks')
    .option('--prompts <file>', 'run the prompts of a JSONL file')
    .option('--batch <n>', 'with --prompts: sequences at once; default 8', wholeNumber(1, 1024))
    .option('-o, --out <file>', 'with --prompts: JSONL file for the results; default stdout')
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((first: string | undefined, second: string | undefined, options: RunOptions) =>
    run(cli, first, second, options),
  )
}

async function run(
  cli: Cli,
  first: string | undefined,
  second: string | undefined,
  options: RunOptions,
): Promise<void> {
  const { prompts, batch, out, tokens } = options
  checkBeamOptions(options)
  if (options.beams !== undefined && (batch !== undefined || options.showDepth)) {
    throw new UsageError(`--beams does not go with ${batch === undefined ? '--show-depth' : '--batch'}`)
  }
  if (prompts === undefined && (batch !== undefined || out !== undefined)) {
    throw new UsageError('--batch and --out go with --prompts FILE.jsonl')
  }
  if (prompts !== undefined || tokens !== undefined) {
    if (prompts !== undefined && tokens !== undefined) throw new UsageError('--prompts and --tokens exclude each other')
    onlyModel('run', first, second, prompts === undefined ? '--tokens' : '--prompts')
  }
  if (prompts !== undefined) {
    if (options.showDepth) throw new UsageError('--show-depth shows one prompt; it does not go with --prompts')
    if (options.explainPass) throw new UsageError('--explain-pass tells of one prompt; it does not go with --prompts')
    return await runPromptsFile(cli, first, { ...options, prompts })
  }
  const { model, prompt } =
    tokens === undefined ? await modelAndPrompt(cli, 'run', first, second, options) : { model: first, prompt: tokens }
  const extra = options.explainPass ? { onPass: (pass: string) => note(cli, pass) } : {}
  await withModel(cli, model, options, (loaded) => runOne(cli, loaded, prompt, options), extra)
}

async function runOne(cli: Cli, model: Model, prompt: string | number[], options: RunOptions): Promise<void> {
  const policy = await announceDepth(cli, model, options.depth, options.lossless)
  await refuseOtherDepth(cli, model, policy, options)
  const beams = options.beams !== undefined
  const how = beams ? generateOptions(cli, options) : recommendedOptions(cli, model, options)
  refuseOutsideBound(cli, policy, { prompts: [prompt], how, beams }, options)
  if (beams) {
    const result = await searchBeams(model, prompt, options, how)
    if (options.json) printJson(cli, beamsJson(model, result))
    else {
      cli.stdout.write(`${model.tokenizer === null ? result.tokens.join(' ') : result.text}\n\n`)
      if (options.verbose) cli.stdout.write(`${beamsList(model, result)}\n`)
      cli.stdout.write(`${beamsEndLine(summarize(model, result), result.beams.length)}\n`)
    }
    return
  }
  if (!options.json) noteRecommended(cli, model, options)
  const generation = model.generate(prompt, how)
  if (options.json) {
    noteWarnings(cli, generation)
    const result = await generation.result.catch((error: unknown) => {
      if (!cli.signal.aborted) throw error
      return generation.partial()
    })
    printJson(cli, resultJson(model, result))
    if (result.finishReason === 'aborted') cli.exitCode = 130
    return
  }
  const { finishReason } = await streamAnswer(cli, model, generation, options)
  if (finishReason === 'aborted') cli.exitCode = 130
}
