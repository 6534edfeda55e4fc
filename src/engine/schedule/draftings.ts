import type { Policy } from '../../depth/policy.js'
import { AdaptiveDrafting } from './adaptive-drafting.js'
import { type Drafting, fixedDrafting } from './drafting.js'

/** SPECs whose drafts are remembered: a server may be asked for any number of them. */
const MOST = 32

/** What is learned of a policy's drafts outlives a generation. */
export class Draftings {
  /** Who was not asked for the longest comes first. */
  private readonly known = new Map<string, AdaptiveDrafting>()

  /**
   * @param drafts before every pass; null for as many as pay
   * @param layers L
   */
  of(policy: Policy, drafts: number | null, layers: number): Drafting {
    const byDepth = policy.kind !== 'skip' || policy.everyToken?.length !== layers
    if (drafts !== null) return fixedDrafting(drafts, { byDepth })
    const drafting = this.known.get(policy.spec) ?? new AdaptiveDrafting({ byDepth })
    this.known.delete(policy.spec)
    this.known.set(policy.spec, drafting)
    const [oldest] = this.known.keys()
    if (this.known.size > MOST && oldest !== undefined) this.known.delete(oldest)
    return drafting
  }
}
