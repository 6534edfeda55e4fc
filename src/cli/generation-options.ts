import type { Command } from 'commander'
import type { Policy } from '../depth/policy.js'
import type { GenerateOptions, Model, PolicyOptions } from '../engine/api.js'
import { type Cli, note, noteOnce, UsageError } from './cli.js'
import { addDepthOption } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { decimal, repeatable, wholeNumber } from './values.js'

/** Options that say how tokens are chosen. */
export interface GenerationOptions {
  readonly depth?: string
  readonly lossless?: boolean
  readonly drafts?: number
  readonly maxTokens?: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly minP?: number
  readonly repetitionPenalty?: number
  /** `--no-repeat-ngram`: commander takes a leading `no-` off the name, and gives true where there is no option. */
  readonly repeatNgram?: number | true
  readonly seed?: number
  readonly stop?: string[]
  readonly ignoreEos?: boolean
}

/** Stands for a seed that nobody has chosen. */
const NEW_SEED = -1

function seedOf(text: string): number {
  return text === String(NEW_SEED) ? NEW_SEED : wholeNumber(0)(text)
}

export function addGenerationOptions(command: Command): Command {
  return addDepthOption(command)
    .option(
      '--lossless',
      'draft by the depth and from the text itself: every layer verifies, and the output is that of full depth',
    )
    .option(
      '--drafts <n>',
      'with --lossless: tokens to draft before each pass; default: as many as pay',
      wholeNumber(1, 15),
    )
    .option('--max-tokens <n>', 'new tokens at most; default 128', wholeNumber(1))
    .option(
      '--temperature <t>',
      '0 takes the most probable token; default what the model recommends, else 0',
      decimal(0),
    )
    .option('--top-k <k>', 'draw from the k most probable tokens only; 0 is off, the default', wholeNumber(0))
    .option('--top-p <p>', 'draw from the fewest tokens that have this probability together', decimal(0, 1))
    .option('--min-p <p>', 'leave out tokens below this share of the best probability', decimal(0, 1))
    .option('--repetition-penalty <x>', 'make tokens that occurred less probable; 1 is none', decimal(0))
    .option(
      '--no-repeat-ngram <n>',
      'no n tokens in a row come twice, those of the prompt counted; 0 is off, the default',
      wholeNumber(0),
    )
    .option('--seed <n>', 'of the random draws; -1 is a new one, the default', seedOf)
    .addOption(
      repeatable('--stop <text>', 'end before this text, where \\n is a line break', (text) =>
        text.replaceAll('\\n', '\n'),
      ),
    )
    .option('--ignore-eos', 'go on past the end-of-text token')
}

export function generateOptions(cli: Cli, options: GenerationOptions): GenerateOptions {
  if (options.drafts !== undefined && !options.lossless) throw new UsageError('--drafts goes with --lossless')
  const {
    depth,
    lossless,
    drafts,
    maxTokens,
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    repeatNgram,
    seed,
    stop,
    ignoreEos,
  } = options
  return {
    ...(depth === undefined ? {} : { depth }),
    ...(lossless === undefined ? {} : { lossless: drafts === undefined ? lossless : { drafts } }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topK === undefined ? {} : { topK }),
    ...(topP === undefined ? {} : { topP }),
    ...(minP === undefined ? {} : { minP }),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
    ...(typeof repeatNgram === 'number' ? { noRepeatNgram: repeatNgram } : {}),
    ...(seed === undefined || seed === NEW_SEED ? {} : { seed }),
    ...(stop === undefined ? {} : { stop }),
    ...(ignoreEos === undefined ? {} : { ignoreEos }),
    signal: cli.signal,
  }
}

/**
 * The same on top of what the model recommends, option by option. `--temperature 0` is greedy, and nothing recommended
 * changes that.
 */
export function recommendedOptions(cli: Cli, model: Model, options: GenerationOptions): GenerateOptions {
  const own = generateOptions(cli, options)
  return own.temperature === 0 ? own : { ...model.settings.sampling, ...own }
}

const SAMPLING_FLAGS = {
  temperature: '--temperature',
  topK: '--top-k',
  topP: '--top-p',
  minP: '--min-p',
  repetitionPenalty: '--repetition-penalty',
} as const

/** `--temperature 0.6 --top-p 0.9`: what the model recommends and no option overrides; null where that is nothing. */
function recommendedFlags(model: Model, options: GenerationOptions): string | null {
  if (options.temperature === 0) return null
  const names = Object.keys(SAMPLING_FLAGS) as (keyof typeof SAMPLING_FLAGS)[]
  const flags = names
    .filter((name) => options[name] === undefined && model.settings.sampling[name] !== undefined)
    .map((name) => `${SAMPLING_FLAGS[name]} ${model.settings.sampling[name]}`)
  return flags.length === 0 ? null : flags.join(' ')
}

/** Says how tokens are drawn where the model decides that and no option. */
export function noteRecommended(cli: Cli, model: Model, options: GenerationOptions): void {
  const flags = recommendedFlags(model, options)
  if (flags !== null) note(cli, `note: as the model recommends: ${flags} (--temperature 0 is greedy)`)
}

/**
 * The policy that a command runs under. What it needs to know of the model is measured now; what it has to say about the
 * model goes to stderr.
 */
export async function announceDepth(
  cli: Cli,
  model: Model,
  depth: string | undefined,
  lossless = false,
): Promise<Policy> {
  const policy = await resolveDepth(cli, model, depth)
  const forGeneration = policy.kind === 'exit' && !lossless ? policy.generationNotes : undefined
  for (const line of [...(policy.notes ?? []), ...(forGeneration ?? [])]) noteOnce(cli, `note: ${line}`)
  return policy
}

/** The policy of a SPEC, with progress where something must be measured for it. */
export function resolveDepth(cli: Cli, model: Model, depth: string | undefined): Promise<Policy> {
  return withMeasuring(cli, (options) => model.policy(depth, options))
}

/** Shows how far a measurement is, if one is made. */
export async function withMeasuring<T>(cli: Cli, ask: (options: PolicyOptions) => Promise<T>): Promise<T> {
  const line = createProgressLine(cli)
  try {
    return await ask({
      signal: cli.signal,
      onMeasure: ({ what, done }) => line.show(`measuring ${what}, once on this machine ${bar(done)}`),
    })
  } finally {
    line.clear()
  }
}
