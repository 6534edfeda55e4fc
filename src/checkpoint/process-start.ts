import { readFileSync } from 'node:fs'

/** When a process was started, in the system's ticks; null where the system does not tell. With its id it is a process for good. */
export function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The second of its fields is a name in parentheses, which may hold anything; this is the 22nd.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
