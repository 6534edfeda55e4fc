/** Work that takes long stops after so long for whatever else the process has to do, in ms. */
const TURN_MS = 8

/** Gives the event loop its turns in long synchronous work. */
export class Pace {
  private since = performance.now()

  /** A promise where it is time to wait, so that nobody waits for nothing. */
  next(): Promise<void> | null {
    if (performance.now() - this.since < TURN_MS) return null
    return new Promise((resolve) => {
      setImmediate(() => {
        this.since = performance.now()
        resolve()
      })
    })
  }
}
