import type { Bridge } from '../../depth/bridge.js'
import type { Plan } from '../../depth/plan.js'
import type {
  Check,
  ExitPolicy,
  Policy,
  PolicyNeeds,
  PromptPass,
  SequenceInfo,
  SkipPolicy,
  TargetSpeedup,
  TokenInfo,
} from '../../depth/policy.js'
import { forkState } from '../plan/token-depth.js'
import { type CheckNumbers, type CheckRows, exitCheck } from '../run/exit-check.js'

/** A user's own policy as the runner has it: what it says of itself, and the names of what it must be asked for. */
export interface WirePolicy {
  readonly kind: 'exit' | 'skip'
  readonly spec: string
  readonly needs?: PolicyNeeds
  readonly checkTokens?: readonly number[]
  readonly lens?: readonly Bridge[]
  readonly observesLast?: boolean
  readonly prompt?: SkipPolicy['prompt']
  readonly everyToken?: Plan
  readonly bridges?: readonly Bridge[]
  readonly speedup?: TargetSpeedup
  /** Methods that a policy may lack and that this one has. */
  readonly has: readonly ('lastLayer' | 'startToken' | 'observe')[]
}

/** A state that a policy keeps of a sequence, by number: it never leaves the caller. */
type State = number

/** What the runner asks of a policy; answers are what the policy's method gives. */
export type PolicyInquiry =
  | { readonly of: 'checkLayers' | 'lastLayer'; readonly layers: number }
  /** Gives the number of the sequence's state. */
  | { readonly of: 'startSequence'; readonly info: SequenceInfo }
  | { readonly of: 'forkSequence'; readonly state: State }
  | { readonly of: 'startToken'; readonly info: TokenInfo; readonly state: State }
  | { readonly of: 'exits'; readonly check: CheckNumbers & CheckRows; readonly state: State }
  | { readonly of: 'observe'; readonly pass: PromptPass; readonly state: State }
  | { readonly of: 'plan'; readonly info: TokenInfo & { readonly layers: number }; readonly state: State }

export function wirePolicy(policy: Policy): WirePolicy {
  const { kind, spec } = policy
  if (policy.kind === 'exit') {
    const { needs, checkTokens, lens, observesLast } = policy
    const has = (['lastLayer', 'startToken'] as const).filter((name) => policy[name] !== undefined)
    return { kind, spec, ...defined({ needs, checkTokens, lens, observesLast }), has }
  }
  const { prompt, everyToken, bridges, speedup } = policy
  const has = policy.observe === undefined ? [] : (['observe'] as const)
  return { kind, spec, ...defined({ prompt, everyToken, bridges, speedup }), has }
}

/** The policy in the runner: every decision is asked for. */
export function policyOfWire(wire: WirePolicy, ask: (inquiry: PolicyInquiry) => unknown): Policy {
  const { kind, has, ...told } = wire
  const states = {
    startSequence: (info: SequenceInfo) => ask({ of: 'startSequence', info }),
    forkSequence: (state: unknown) => ask({ of: 'forkSequence', state: state as State }),
  }
  if (kind === 'skip') {
    const policy: SkipPolicy = {
      ...told,
      ...states,
      kind,
      prompt: wire.prompt as SkipPolicy['prompt'],
      plan: (info, state) => ask({ of: 'plan', info, state: state as State }) as Plan,
    }
    if (!has.includes('observe')) return policy
    return { ...policy, observe: (pass, state) => void ask({ of: 'observe', pass, state: state as State }) }
  }
  const policy: ExitPolicy = {
    ...told,
    ...states,
    kind,
    checkLayers: (layers) => ask({ of: 'checkLayers', layers }) as Plan,
    // The state of a token stays with its sequence's: a sequence decides on one token at a time.
    startToken: (info, state) => {
      if (has.includes('startToken')) ask({ of: 'startToken', info, state: state as State })
    },
    exits: (check, _, state) =>
      ask({ of: 'exits', check: rowsOf(check, wire.needs), state: state as State }) as boolean,
  }
  if (!has.includes('lastLayer')) return policy
  return { ...policy, lastLayer: (layers) => ask({ of: 'lastLayer', layers }) as number }
}

/** Answers for a policy, and keeps what it knows of the sequences of one call. */
export function policyAnswers(policy: Policy): (inquiry: PolicyInquiry) => unknown {
  const states: { readonly sequence: unknown; token: unknown }[] = []
  const add = (sequence: unknown): State => states.push({ sequence, token: undefined }) - 1
  const of = (state: State): { readonly sequence: unknown; token: unknown } =>
    states[state] as { readonly sequence: unknown; token: unknown }
  return (inquiry) => {
    switch (inquiry.of) {
      case 'startSequence':
        return add(policy.startSequence?.(inquiry.info))
      case 'forkSequence':
        return add(forkState(policy, of(inquiry.state).sequence))
    }
    if (policy.kind === 'skip') {
      if (inquiry.of === 'observe') return policy.observe?.(inquiry.pass, of(inquiry.state).sequence)
      if (inquiry.of === 'plan') return policy.plan(inquiry.info, of(inquiry.state).sequence)
    } else {
      if (inquiry.of === 'checkLayers') return policy.checkLayers(inquiry.layers)
      if (inquiry.of === 'lastLayer') return policy.lastLayer?.(inquiry.layers)
      if (inquiry.of === 'startToken') {
        const known = of(inquiry.state)
        known.token = policy.startToken?.(inquiry.info, known.sequence)
        return undefined
      }
      if (inquiry.of === 'exits') {
        const { logits, hidden, input, attention, mlp, ...numbers } = inquiry.check
        const rows = defined({ logits, hidden, input, attention, mlp })
        const { sequence, token } = of(inquiry.state)
        const exits: unknown = policy.exits(exitCheck(numbers, rows), token, sequence)
        // A promise cannot cross, and is refused where it would be asked for.
        return typeof exits === 'boolean' ? exits : null
      }
    }
    throw new Error(`a policy of kind ${policy.kind} has no ${inquiry.of}`)
  }
}

function rowsOf(check: Check, needs: PolicyNeeds = {}): CheckNumbers & CheckRows {
  const { layer, top, second, topProb, gap } = check
  return {
    layer,
    top,
    second,
    topProb,
    gap,
    ...(needs.logits ? { logits: check.logits } : {}),
    ...(needs.hidden ? { hidden: check.hidden, input: check.input } : {}),
    ...(needs.sublayers ? { attention: check.attention, mlp: check.mlp } : {}),
  }
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>
}
