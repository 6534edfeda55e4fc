import { ShoalError } from '../../errors.js'

const listening = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls an action when a signal is aborted; the result stops that. A signal has one listener, however many wait for it: Node warns
 * of more than ten.
 */
export function onAbort(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal === undefined) return () => undefined
  const known = listening.get(signal)
  const actions = known ?? new Set()
  if (known === undefined) {
    listening.set(signal, actions)
    const act = (): void => {
      for (const one of actions) one()
    }
    signal.addEventListener('abort', act, { once: true })
  }
  // Two that wait with the same function are two.
  const own = (): void => action()
  actions.add(own)
  return () => actions.delete(own)
}

/** Throws where a signal is aborted already. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal.reason)
}

/** What a run ends with that its caller stopped. */
export function abortedError(reason: unknown): ShoalError {
  return new ShoalError('aborted', 'the run was aborted', { cause: reason })
}
