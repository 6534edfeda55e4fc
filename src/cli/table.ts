import type { Cli } from './cli.js'

/** Prints rows in columns; the first row is the header. Columns of numbers are set to the right. */
export function printTable(cli: Cli, rows: readonly (readonly string[])[]): void {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((row) => (row[c] ?? '').length)))
  const numeric = widths.map((_, c) => rows.slice(1).every((row) => /^[\d.,%x×–-]*$/.test(row[c] ?? '')))
  for (const row of rows) {
    const cells = widths.map((width, c) => (numeric[c] ? (row[c] ?? '').padStart(width) : (row[c] ?? '').padEnd(width)))
    cli.stdout.write(`${cells.join('  ').trimEnd()}\n`)
  }
}
