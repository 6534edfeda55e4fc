import { type Bridge, bridgesOf } from '../../depth/bridge.js'
import { features } from '../../depth/features.js'
import { allLayers, checkPlan, type Plan } from '../../depth/plan.js'
import type {
  Check,
  ExitPolicy,
  Policy,
  PolicyNeeds,
  PromptPass,
  SequenceInfo,
  SkipPolicy,
} from '../../depth/policy.js'
import { InputError } from '../../errors.js'

/** How deep one feed of a sequence goes. */
export type TokenDepth =
  /** These layers, known beforehand. */
  | { readonly kind: 'plan'; readonly layers: Plan; readonly bridges?: readonly Bridge[] }
  /** Up to `last`, or to the first check that says so. */
  | {
      readonly kind: 'exit'
      readonly checks: ReadonlySet<number>
      /** The ids of the check head; null for the whole vocabulary. */
      readonly checkTokens: readonly number[] | null
      /** Maps from layers to the end, which checks and what is said below the last layer are read through. */
      readonly lens?: readonly Bridge[]
      readonly last: number
      readonly needs: PolicyNeeds
      /** False for a policy that looks on and never stops: what is done so that stopping is cheap would be in vain. */
      readonly mayStop: boolean
      exits(check: Check): boolean
    }

/** A policy at work on one sequence: holds the policy's state and gives the depth of token after token. */
export interface SequenceDepth {
  readonly spec: string
  /** @param generated tokens of this sequence generated before; 0 is the prompt's own pass */
  next(position: number, generated: number): TokenDepth
  /** The same for a copy of the sequence: from here on neither knows of the other. */
  fork(): SequenceDepth
  /** Tells the policy what came out of the prompt's own pass; to be called before the first token after it. */
  observePrompt(logits: Float32Array): void
}

/** Every layer, the rows that wait included. */
export function toTheTop(layers: number): TokenDepth {
  return {
    kind: 'exit',
    checks: new Set(),
    checkTokens: null,
    last: layers - 1,
    needs: {},
    mayStop: false,
    exits: () => false,
  }
}

/** @param mayGrow true where every layer is complete before a plan changes: drafts that the full model verifies */
export function startDepth(policy: Policy, info: SequenceInfo, { mayGrow = false } = {}): SequenceDepth {
  if (policy.kind === 'skip') return startSkip(policy, info, mayGrow)
  if (policy.kind === 'exit') return startExit(policy, info)
  throw new InputError('depth must be a SPEC or a policy object of kind "exit" or "skip"')
}

function startSkip(policy: SkipPolicy, info: SequenceInfo, mayGrow: boolean): SequenceDepth {
  return runSkip(policy, info, mayGrow, policy.startSequence?.(info), null)
}

/** @param first the plan of the token before; null at the start */
function runSkip(
  policy: SkipPolicy,
  info: SequenceInfo,
  mayGrow: boolean,
  state: unknown,
  first: Plan | null,
): SequenceDepth {
  let before: ReadonlySet<number> | null = first && new Set(first)
  let plan: Plan = first ?? []
  let bridges = bridgesOf(policy.bridges ?? [], plan, info.layers)
  return {
    spec: policy.spec,
    next(position, generated) {
      if (generated === 0 && policy.prompt === 'full') return { kind: 'plan', layers: allLayers(info.layers) }
      const layers = policy.plan({ position, generated, layers: info.layers }, state)
      // By content and as a copy: a policy may use one array again and again.
      if (before === null || layers.length !== plan.length || layers.some((l, i) => l !== plan[i])) {
        checkPlan(layers, info.layers, `depth "${policy.spec}"`)
        const grown = before === null || mayGrow ? undefined : layers.find((l) => !before?.has(l))
        if (grown !== undefined) {
          throw new InputError(
            `depth "${policy.spec}" adds layer ${grown} at position ${position}: within a sequence a plan may only shrink`,
          )
        }
        plan = [...layers]
        before = new Set(layers)
        bridges = bridgesOf(policy.bridges ?? [], plan, info.layers)
      }
      return { kind: 'plan', layers: plan, bridges }
    },
    fork: () => runSkip(policy, info, mayGrow, forkState(policy, state), before && plan),
    observePrompt(logits) {
      if (policy.prompt === 'full' && policy.observe !== undefined) policy.observe(promptPass(logits), state)
    },
  }
}

function startExit(policy: ExitPolicy, info: SequenceInfo): SequenceDepth {
  const last = policy.lastLayer?.(info.layers) ?? info.layers - 1
  if (!Number.isInteger(last) || last < 0 || last >= info.layers) {
    throw new InputError(`depth "${policy.spec}" stops after layer ${last}, and the layers are 0 to ${info.layers - 1}`)
  }
  const list = policy.checkLayers(info.layers)
  const mostChecked = policy.observesLast ? last : last - 1
  const outside = policy.observesLast ? info.layers : info.layers - 1
  if (list.some((l) => !Number.isInteger(l) || l < 0 || l >= outside)) {
    throw new InputError(
      `depth "${policy.spec}" checks layers [${list.join(', ')}], and checks are 0 to ${outside - 1}`,
    )
  }
  const checks = new Set(list.filter((l) => l <= mostChecked))
  const needs = policy.needs ?? {}
  const checkTokens = policy.checkTokens ?? null
  const { lens } = policy
  if (checkTokens !== null && !isTokenList(checkTokens)) {
    throw new InputError(`depth "${policy.spec}": checkTokens must be two or more token ids, ascending`)
  }
  const run = (sequence: unknown): SequenceDepth => ({
    spec: policy.spec,
    next(position, generated) {
      const token = policy.startToken?.({ position, generated }, sequence)
      return {
        kind: 'exit',
        checks,
        checkTokens,
        ...(lens === undefined ? {} : { lens }),
        last,
        needs,
        mayStop: !policy.observesLast,
        exits(check) {
          const exits: unknown = policy.exits(check, token, sequence)
          // A promise would count as true at every check.
          if (typeof exits !== 'boolean')
            throw new InputError(`depth "${policy.spec}": exits() must return true or false`)
          return exits
        },
      }
    },
    fork: () => run(forkState(policy, sequence)),
    // An exit policy has its checks.
    observePrompt: () => undefined,
  })
  return run(policy.startSequence?.(info))
}

/** A policy's own state for a copy of its sequence. */
export function forkState(policy: Policy, state: unknown): unknown {
  if (policy.forkSequence !== undefined) return policy.forkSequence(state)
  let copy: unknown
  try {
    copy = structuredClone(state)
  } catch (cause) {
    throw new InputError(uncopied(policy), 'input_invalid', { cause })
  }
  if (className(copy) !== className(state)) throw new InputError(uncopied(policy))
  return copy
}

/** A clone has lost its class, and its methods with it. */
function className(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null
  const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: string } } | null
  return prototype?.constructor?.name ?? 'Object'
}

function uncopied({ spec }: Policy): string {
  return `depth "${spec}": what it keeps of a sequence cannot be copied for another beam; give the policy forkSequence(state)`
}

/** What a policy may know of the prompt's pass. */
export function promptPass(logits: Float32Array): PromptPass {
  const { topProb, gap, entropy } = features(logits)
  return { topProb, gap, entropy }
}

function isTokenList(ids: readonly number[]): boolean {
  return (
    ids.length >= 2 && ids.every((id, i) => Number.isInteger(id) && id >= 0 && (i === 0 || id > (ids[i - 1] as number)))
  )
}
