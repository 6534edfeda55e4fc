import { type Context, createContext, Script } from 'node:vm'

const script = new Script('work()')
let context: Context | undefined

/**
 * Runs `work`, and gives up after `milliseconds` even within a regular expression, which nothing else can stop.
 * @returns its result, or null where the time ran out
 */
export function withTimeLimit<T>(milliseconds: number, work: () => T): T | null {
  context ??= createContext({})
  context.work = work
  try {
    return script.runInContext(context, { timeout: milliseconds }) as T
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return null
    throw error
  } finally {
    context.work = undefined
  }
}
