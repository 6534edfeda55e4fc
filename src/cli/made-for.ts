import type { Command } from 'commander'
import type { Policy } from '../depth/policy.js'
import { everyTokenOf, runSameLayers } from '../depth/same-layers.js'
import { parseDepth } from '../depth/spec.js'
import type { Model } from '../engine/api.js'
import { SpecError } from '../errors.js'
import { type Cli, note } from './cli.js'
import { resolveDepth } from './generation-options.js'

export interface ForceOption {
  readonly force?: boolean
  /** The output is full depth's, whatever policy drafts. */
  readonly lossless?: boolean
}

export function addForceOption(command: Command): Command {
  return command.option('--force', 'run a depth that the checkpoint was not made for, or that no bound holds for')
}

/**
 * Refuses a depth that a checkpoint was not made for (`depth` in its shoal.json), unless forced.
 * @throws SpecError that says what it was made for
 */
export async function refuseOtherDepth(cli: Cli, model: Model, policy: Policy, options: ForceOption): Promise<void> {
  const output = options.lossless ? fullDepth(model) : policy
  const made = await madeFor(cli, model)
  if (made === null) return
  if (!runSameLayers(made, output)) {
    const wanted = options.lossless ? '--lossless, which gives the output of full depth,' : output.spec
    const line = `${model.name} was made for ${made.spec}, and ${wanted} runs other layers`
    if (options.force !== true) throw new SpecError(`${line}; --force runs it anyway`)
    note(cli, `note: ${line}`)
  } else if (
    made.kind === 'skip' &&
    output.kind === 'skip' &&
    made.prompt !== output.prompt &&
    leavesOut(model, made)
  ) {
    const prompts = { full: 'the prompt at full depth', plan: 'the plan in the prompt too' }
    note(cli, `note: ${model.name} was made for ${prompts[made.prompt]}, and this runs ${prompts[output.prompt]}`)
  }
}

/** Where something is measured, any depth may be: one line says which of them the checkpoint was not made for. */
export async function noteOtherDepths(cli: Cli, model: Model, policies: readonly Policy[]): Promise<void> {
  const made = await madeFor(cli, model)
  if (made === null) return
  const others = policies.filter((policy) => !runSameLayers(made, policy)).map(({ spec }) => spec)
  if (others.length > 0) note(cli, `note: ${model.name} was made for ${made.spec}, not for ${others.join(', ')}`)
}

/** For commands that run every layer. */
export function noteFullDepth(cli: Cli, model: Model): Promise<void> {
  return noteOtherDepths(cli, model, [fullDepth(model)])
}

async function madeFor(cli: Cli, model: Model): Promise<Policy | null> {
  const { depth } = model.settings
  return depth === undefined ? null : resolveDepth(cli, model, depth)
}

function fullDepth(model: Model): Policy {
  return parseDepth('full', { layers: model.hyperparameters.layers })
}

function leavesOut(model: Model, policy: Policy): boolean {
  return everyTokenOf(policy)?.length !== model.hyperparameters.layers
}
