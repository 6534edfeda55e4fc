import { InputError, SpecError } from '../errors.js'
import { didYouMean } from '../nearest-name.js'
import type { DepthModel, PolicyDefinition } from './definition.js'
import * as definitions from './index.js'
import type { Measurement } from './measurement.js'
import type { Policy } from './policy.js'
import { SpecArguments } from './spec-arguments.js'

/** All kinds of policy, by the name of their kind. */
export const POLICIES: readonly PolicyDefinition[] = Object.values(definitions)

/**
 * Reads a SPEC of `--depth`, `kind:value,key=value,...`, for a model of L layers. The policy's `spec` is canonical:
 * defaults left out, keys in a fixed order; parsing it gives the same policy. Throws SpecError.
 */
export function parseDepth(spec: string, model: DepthModel): Policy {
  const { args, definition } = split(spec, model)
  return definition.parse(args, model.layers, model)
}

/** What must be measured of a loaded model before `parseDepth` can read a SPEC for it. Throws SpecError. */
export function measurementsOf(spec: string, model: DepthModel): readonly Measurement[] {
  const { args, definition } = split(spec, model)
  return definition.needs?.(args, model.layers) ?? []
}

function split(spec: string, { layers }: DepthModel): { args: SpecArguments; definition: PolicyDefinition } {
  if (!Number.isSafeInteger(layers) || layers < 1) throw new InputError(`a model cannot have ${layers} layers`)
  const args = SpecArguments.split(spec.trim())
  const definition = POLICIES.find(({ kind }) => kind === args.kind)
  if (definition === undefined) {
    const kinds = POLICIES.map(({ kind }) => kind)
    const known = kinds.join(', ')
    throw new SpecError(
      args.kind === ''
        ? `depth ${JSON.stringify(spec)}: the kind of policy is missing; known: ${known}`
        : `depth ${JSON.stringify(spec)}: unknown kind ${JSON.stringify(args.kind)}; known: ${known}${didYouMean(args.kind, kinds)}`,
    )
  }
  args.only(Object.keys(definition.keys))
  return { args, definition }
}

/** Form and meaning of every kind of policy, for `--help`. */
export function depthHelp(): string {
  return POLICIES.map(({ usage, summary }) => `  ${usage}\n      ${summary}`).join('\n')
}
