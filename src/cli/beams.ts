import type { Command } from 'commander'
import type { BeamSearchResult, GenerateOptions, Model } from '../engine/api.js'
import { UsageError } from './cli.js'
import type { GenerationOptions } from './generation-options.js'
import { endLine, resultJson, type Summary } from './result.js'
import { decimal, wholeNumber } from './values.js'

/** Options of beam search. */
export interface BeamOptions {
  readonly beams?: number
  readonly lengthPenalty?: number
}

export function addBeamOptions(command: Command): Command {
  return command
    .option('--beams <n>', 'follow the n most probable texts (beam search)', wholeNumber(1, 128))
    .option(
      '--length-penalty <p>',
      'with --beams: a score is log-probability / length^p; default 1, more favours longer texts',
      decimal(Number.NEGATIVE_INFINITY),
    )
}

/** Refuses what beam search has no use for, before a model is loaded. */
export function checkBeamOptions(options: BeamOptions & GenerationOptions): void {
  if (options.beams === undefined) {
    if (options.lengthPenalty !== undefined) throw new UsageError('--length-penalty goes with --beams N')
    return
  }
  const against = [
    ...((options.temperature ?? 0) > 0 ? ['--temperature'] : []),
    ...((options.repetitionPenalty ?? 1) === 1 ? [] : ['--repetition-penalty']),
    ...(options.stop === undefined ? [] : ['--stop']),
    ...(options.lossless ? ['--lossless'] : []),
  ]
  if (against.length > 0) {
    throw new UsageError(`--beams takes the most probable text; it does not go with ${against.join(' and ')}`)
  }
}

/** A prompt's most probable text under these options. */
export function searchBeams(
  model: Model,
  prompt: string | readonly number[],
  { beams, lengthPenalty }: BeamOptions,
  { depth, noRepeatNgram, maxTokens, ignoreEos, signal }: GenerateOptions,
): Promise<BeamSearchResult> {
  return model.beamSearch(prompt, {
    ...(depth === undefined ? {} : { depth }),
    ...(noRepeatNgram === undefined ? {} : { noRepeatNgram }),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(ignoreEos === undefined ? {} : { ignoreEos }),
    ...(signal === undefined ? {} : { signal }),
    ...(beams === undefined ? {} : { beams }),
    ...(lengthPenalty === undefined ? {} : { lengthPenalty }),
  })
}

/** What `resultJson` tells of the best beam, and all beams; docs/json/run.schema.json describes it. */
export function beamsJson(model: Pick<Model, 'name' | 'quantization'>, result: BeamSearchResult): object {
  return { ...resultJson(model, result), beams: result.beams }
}

/** `24 tokens · mean depth 16.0 of 16 · 210 tok/s · f32 · 4 beams, 61.3 layers computed for a token of the best` */
export function beamsEndLine(summary: Summary, beams: number): string {
  const ofBest = endLine({ ...summary, computedDepth: summary.meanDepth })
  const cost = `${summary.computedDepth.toFixed(1)} layers computed for a token of the best`
  return `${ofBest} · ${beams === 1 ? '1 beam' : `${beams} beams`}, ${cost}`
}

/** One line for each beam: its score and its text, or its ids where there is no tokenizer. */
export function beamsList(model: Pick<Model, 'tokenizer'>, { beams }: BeamSearchResult): string {
  return beams
    .map(({ text, tokens, score }) => {
      const shown = model.tokenizer === null ? tokens.join(' ') : JSON.stringify(text)
      return `${score.toFixed(4).padStart(9)}  ${shown}\n`
    })
    .join('')
}
