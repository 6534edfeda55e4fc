import type { Generation, GenerationResult, Model } from '../engine/api.js'
import { type Cli, note } from './cli.js'
import { createDepthPaint } from './depth-colors.js'
import { endLine, summarize } from './result.js'

export interface AnswerOptions {
  /** Colour each token by the layers that it ran. */
  readonly showDepth?: boolean | undefined
  /** Asked at the end: what the line of figures says besides. */
  readonly figures?: () => string
}

/** Writes tokens as they come and ends with the line of figures, also where Ctrl-C stops it. */
export async function streamAnswer(
  cli: Cli,
  model: Model,
  generation: Generation,
  { showDepth = false, figures }: AnswerOptions = {},
): Promise<GenerationResult> {
  noteWarnings(cli, generation)
  const paint = showDepth ? createDepthPaint(cli, model.hyperparameters.layers) : null
  // A rejected result is reported by the loop below; without a listener it would end the process.
  const end = generation.result.catch(() => undefined)
  let stopped = ''
  try {
    for await (const token of generation) {
      const text = model.tokenizer === null ? `${token.id} ` : token.text
      if (text !== '') cli.stdout.write(paint === null ? text : paint.token(text, token.depth))
    }
  } catch (error) {
    if (!cli.signal.aborted) throw error
    stopped = ' · stopped'
  }
  const result = (await end) ?? generation.partial()
  cli.stdout.write('\n\n')
  if (paint !== null) cli.stdout.write(`${paint.legend()}\n`)
  const more = figures === undefined ? '' : ` · ${figures()}`
  cli.stdout.write(`${endLine(summarize(model, result))}${more}${stopped}\n`)
  return result
}

/** What a generation has to say about its prompt. */
export function noteWarnings(cli: Cli, { warnings }: Generation): void {
  for (const line of warnings) note(cli, `warning: ${line}`)
}
