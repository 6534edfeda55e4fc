import type { Policy } from './policy.js'

/**
 * Whether two policies run the same layers, and the same bridges, for every generated token. Plans are compared, however they are spelled; what
 * the prompt runs is not. Policies without one plan for all tokens are the same where their SPEC and source are.
 */
export function runSameLayers(a: Policy, b: Policy): boolean {
  const [ours, theirs] = [everyTokenOf(a), everyTokenOf(b)]
  if (bridgesIn(a) !== bridgesIn(b)) return false
  if (ours !== null && theirs !== null) return ours.length === theirs.length && ours.every((l, i) => l === theirs[i])
  return a.kind === b.kind && a.spec === b.spec && a.source === b.source
}

/** The same for policies that run the same layers for prompt and tokens, however they are spelled: what is measured once. */
export function workOf(policy: Policy): string {
  const plan = everyTokenOf(policy)
  if (policy.kind === 'skip' && plan !== null) return `${policy.prompt} ${plan.join(',')}`
  return `${policy.spec} ${policy.source ?? ''}`
}

/** The plan of every generated token; null where a policy has no such plan. */
export function everyTokenOf(policy: Policy): readonly number[] | null {
  return policy.kind === 'skip' ? (policy.everyToken ?? null) : null
}

/** Tells bridges apart by the file that they come from; empty where there are none. */
function bridgesIn(policy: Policy): string {
  return policy.kind === 'skip' && (policy.bridges?.length ?? 0) > 0 ? (policy.source ?? policy.spec) : ''
}
