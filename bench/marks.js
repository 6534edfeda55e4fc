import { readFileSync, writeFileSync } from 'node:fs'

/** Puts a page in the place of what stands between a bench's marks in a file; other text of the file stays. */
export function writeBetweenMarks(file, command, page) {
  const begin = `<!-- ${command} writes from here -->`
  const end = '<!-- to here -->'
  const text = readFileSync(file, 'utf8')
  const from = text.indexOf(begin)
  const to = text.indexOf(end, from)
  if (from < 0 || to < from) throw new Error(`${file} lacks the lines ${begin} and ${end}`)
  writeFileSync(file, `${text.slice(0, from + begin.length)}\n\n${page}\n\n${text.slice(to)}`)
}

/** What stands in a file from a bench's marks on, the marks included; null where there are none. */
export function fromMarks(text, command) {
  const from = text.indexOf(`<!-- ${command} writes from here -->`)
  return from < 0 ? null : text.slice(from).trimEnd()
}
