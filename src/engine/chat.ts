import { allLayers } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import type { ChatMessage, ChatSession, Generation } from './api.js'
import type { Engine } from './engine.js'
import type { KeptSequence } from './generation.js'
import type { Sequence } from './sequence.js'

/**
 * Positions of a kept sequence that a new prompt can go on from: what both share, less one token that must be fed. Under
 * a skip policy also no more than every layer of the prompt's own pass has seen.
 */
export function reusable(sequence: Sequence, fed: readonly number[], prompt: readonly number[], policy: Policy): number {
  let shared = 0
  while (shared < fed.length && shared < prompt.length - 1 && fed[shared] === prompt[shared]) shared++
  const layers = sequence.cached.length
  if (policy.kind === 'exit') return sequence.waiting === sequence.length - sequence.complete ? shared : Math.min(shared, sequence.complete)
  const plan =
    policy.prompt === 'plan' ? policy.plan({ position: shared, generated: 0, layers }, undefined) : allLayers(layers)
  return plan.reduce((least, l) => Math.min(least, sequence.cached[l] as number), shared)
}

/** A conversation on one sequence of its own. */
export function createChat(
  engine: Engine,
  policy: Policy,
  start: (messages: readonly ChatMessage[], kept: KeptSequence) => Generation,
): ChatSession {
  const messages: ChatMessage[] = []
  let sequence: Sequence | null = null
  let fed: readonly number[] = []
  let last: Promise<unknown> = Promise.resolve()
  let busy = false

  const kept: KeptSequence = {
    open(prompt) {
      sequence ??= engine.createSequence()
      sequence.truncate(reusable(sequence, fed, prompt, policy))
      return sequence
    },
    close(tokens) {
      fed = tokens
      if (tokens.length > 0) return
      sequence?.dispose()
      sequence = null
    },
  }

  return {
    messages,
    send(text) {
      if (busy) throw new Error('the answer before is still being written')
      const asked: ChatMessage = { role: 'user', content: text }
      const generation = start([...messages, asked], kept)
      busy = true
      last = generation.result
        .then(
          (result) => messages.push(asked, { role: 'assistant', content: result.text.trim() }),
          () => {},
        )
        .finally(() => {
          busy = false
        })
      return generation
    },
    dispose() {
      void last.then(() => {
        sequence?.dispose()
        sequence = null
      })
    },
  }
}
