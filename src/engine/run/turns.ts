/** How long a compute that runs in place may take, in ms. */
export const TURN_MS = 8

/** The event loop has its turn before a compute where it has waited for longer than this, in ms: both together are what it waits at most. */
const WAITED_MS = 4

/** Gives the event loop its turns in work that is mostly synchronous. */
export interface Turns {
  /** Lets the event loop in where it has waited for a while. */
  give(): void | Promise<void>
}

export function createTurns(): Turns {
  let turn = startTurn()
  return {
    give() {
      if (performance.now() - turn.started <= WAITED_MS) return
      // A long compute runs on another thread, and then the event loop has come round meanwhile.
      if (turn.over) {
        turn = startTurn()
        return
      }
      return nextTurn().then(() => {
        turn = startTurn()
      })
    },
  }
}

/** Waits for computes, and lets the event loop in after them. */
export function finishInTurns(): (running: void | Promise<void>) => Promise<void> {
  const turns = createTurns()
  return async (running) => {
    if (running) await running
    const turn = turns.give()
    if (turn) await turn
  }
}

/** Resolves when the event loop comes round. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function startTurn(): { readonly started: number; over: boolean } {
  const turn = { started: performance.now(), over: false }
  setImmediate(() => {
    turn.over = true
  })
  return turn
}
