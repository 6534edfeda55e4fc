/** What holds native memory. */
interface Native {
  dispose(): void
}

/** What has been made since the innermost `making` began; null outside of any. */
let made: Native[] | null = null

/** Makes something of several natives. Where that fails, those which were made for it until then are given back, the newest first. */
export function making<T>(make: () => T): T {
  const outer = made
  const own: Native[] = []
  made = own
  try {
    const whole = make()
    outer?.push(...own)
    return whole
  } catch (error) {
    for (const native of own.reverse()) native.dispose()
    throw error
  } finally {
    made = outer
  }
}

/** To be called by the constructors of natives. */
export function noteMade(native: Native): void {
  made?.push(native)
}
