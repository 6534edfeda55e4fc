/** What an action gives, or what it threw. */
export type Attempt<T> = { value: T } | { error: unknown }

/** Runs an action for one feed of many: its error must not end the others. */
export function attempt<T>(action: () => T): Attempt<T> {
  try {
    return { value: action() }
  } catch (error) {
    return { error: thrown(error) }
  }
}

/** What was thrown, as something that says that it failed: callers' code may throw undefined. */
export function thrown(error: unknown): unknown {
  return error ?? new Error(`${String(error)} was thrown`)
}
