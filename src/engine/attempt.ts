/** What an action gives, or what it threw: an error of one feed must not end the others. */
export function attempt<T>(action: () => T): { value: T } | { error: unknown } {
  try {
    return { value: action() }
  } catch (error) {
    return { error }
  }
}
