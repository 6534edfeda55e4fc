import { cpus } from 'node:os'

/** What measured, for reports: times of different machines are not to be compared. */
export function machineName(): string {
  return `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}`
}
