import { InputError, ShoalError } from '../errors.js'
import type { ChatMessage, ChatSession, Generation } from './api.js'
import type { Engine } from './engine.js'
import type { KeptSequence } from './generation.js'
import type { Sequence } from './sequence.js'
import type { TokenDepth } from './token-depth.js'

/**
 * Positions of a kept sequence that a new prompt can go on from: what both share, less one token that must be fed. Under
 * a plan also no more than every layer of the prompt's own pass has seen.
 */
export function reusable(
  sequence: Sequence,
  fed: readonly number[],
  prompt: readonly number[],
  depth: TokenDepth,
): number {
  let shared = 0
  while (shared < fed.length && shared < prompt.length - 1 && fed[shared] === prompt[shared]) shared++
  if (depth.kind === 'plan')
    return depth.layers.reduce((least, l) => Math.min(least, sequence.cached[l] as number), shared)
  return sequence.waiting === sequence.length - sequence.complete ? shared : Math.min(shared, sequence.complete)
}

/** A conversation on one sequence of its own. */
export function createChat(
  engine: Engine,
  start: (messages: readonly ChatMessage[], kept: KeptSequence) => Generation,
): ChatSession {
  const messages: ChatMessage[] = []
  let sequence: Sequence | null = null
  let fed: readonly number[] = []
  let last: Promise<unknown> = Promise.resolve()
  let busy = false
  let disposed = false

  const kept: KeptSequence = {
    open(prompt, depth) {
      sequence ??= engine.createSequence()
      sequence.truncate(reusable(sequence, fed, prompt, depth))
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
      if (disposed) throw new ShoalError('disposed', 'the chat was disposed')
      if (busy) throw new InputError('the answer before is still being written')
      const asked: ChatMessage = { role: 'user', content: text }
      const generation = start([...messages, asked], kept)
      busy = true
      // In one reaction, so that whoever awaits the result finds the chat ready for the next message.
      last = generation.result.then(
        (result) => {
          messages.push(asked, { role: 'assistant', content: result.text.trim() })
          busy = false
        },
        () => {
          busy = false
        },
      )
      return generation
    },
    dispose() {
      disposed = true
      void last.then(() => {
        sequence?.dispose()
        sequence = null
      })
    },
  }
}
