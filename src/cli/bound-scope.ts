import type { BoundScope } from '../depth/bound-scope.js'
import type { Policy } from '../depth/policy.js'
import type { GenerateOptions } from '../engine/api.js'
import { DEFAULT_MAX_TOKENS } from '../engine/schedule/generation-request.js'
import { SpecError } from '../errors.js'
import { isWrittenAs, parseTemplate } from '../tasks/index.js'
import { type Cli, note } from './cli.js'
import type { ForceOption } from './made-for.js'

/** What a command is about to generate. */
export interface AskedSequences {
  /** Text of the prompts; null where they are not written by the user alone, as in a chat. */
  readonly prompts: readonly (string | readonly number[])[] | null
  readonly how: GenerateOptions
  readonly beams?: boolean
}

/**
 * Refuses to generate under a policy whose bound holds for other sequences, unless forced.
 * @throws SpecError that says what differs; what the bound holds for stands in the policy's notes
 */
export function refuseOutsideBound(cli: Cli, policy: Policy, asked: AskedSequences, options: ForceOption): void {
  if (policy.kind !== 'exit' || policy.boundScope === undefined || options.lossless) return
  const difference = differenceOf(policy.boundScope, asked)
  if (difference === null) return
  const line = `the bound of ${policy.spec} does not hold here: ${difference}`
  if (options.force !== true) throw new SpecError(`${line}; --force runs it without a bound`)
  note(cli, `note: ${line}`)
}

/** The first thing that is not as the bound has it; null where nothing is. */
function differenceOf(
  { prompts: own, measure }: BoundScope,
  { prompts, how, beams = false }: AskedSequences,
): string | null {
  if (own === null) return 'its traces do not say how they were asked for; those of shoal trace --task do'
  const { temperature = 0, repetitionPenalty = 1, noRepeatNgram = 0, maxTokens = DEFAULT_MAX_TOKENS } = how
  if (beams || temperature > 0 || repetitionPenalty !== 1 || noRepeatNgram > 0) {
    return 'tokens are chosen in another way (--temperature 0 is greedy)'
  }
  // The beginning of a sequence differs where the sequence does at most; a share of its tokens may be greater.
  const isShorter = maxTokens < own.max_tokens || (how.stop ?? []).length > 0
  if (maxTokens > own.max_tokens || how.ignoreEos || (measure === 'mean' && isShorter)) {
    return `sequences have another length (--max-tokens ${own.max_tokens})`
  }
  if (prompts === null) return 'a chat writes its prompts in another way'
  const template = parseTemplate(own.template)
  const other = prompts.findIndex((prompt) => typeof prompt !== 'string' || !isWrittenAs(prompt, template, own.shots))
  if (other < 0) return null
  return `${prompts.length === 1 ? 'this prompt' : `prompt ${other}`} is not written so`
}
