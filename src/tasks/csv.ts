import { FileError } from '../errors.js'

/** A record of a CSV file and the line that it begins on, from 1. */
export interface CsvRecord {
  readonly line: number
  readonly fields: readonly string[]
}

const UNQUOTED = /[^,\n]*/y

/**
 * CSV as RFC 4180 has it: commas, double quotes that are doubled inside quotes, LF or CRLF. Stricter than most readers:
 * a quote inside an unquoted field and text after a closing quote are errors.
 */
export function parseCsv(path: string, text: string): CsvRecord[] {
  const records: CsvRecord[] = []
  let fields: string[] = []
  let line = 1
  let start = 1
  let i = 0
  const fail = (reason: string) => new FileError(path, `line ${line} ${reason}`)
  while (i < text.length) {
    let field = ''
    if (text[i] === '"') {
      for (;;) {
        const end = text.indexOf('"', i + 1)
        if (end < 0) throw fail('begins a quoted field that never ends')
        field += text.slice(i + 1, end)
        i = end + 1
        if (text[i] !== '"') break
        field += '"'
      }
      if (i < text.length && !/^(,|\r?\n)/.test(text.slice(i, i + 2))) throw fail('has text after a closing quote')
    } else {
      UNQUOTED.lastIndex = i
      field = UNQUOTED.exec(text)?.[0] ?? ''
      i += field.length
      if (field.endsWith('\r') && text[i] !== ',') {
        field = field.slice(0, -1)
        i--
      }
      if (field.includes('"')) throw fail('has a quote inside an unquoted field')
    }
    line += field.split('\n').length - 1
    fields.push(field)
    if (text[i] === ',') {
      i++
      if (i < text.length) continue
      fields.push('')
    } else i += text[i] === '\r' ? 2 : 1
    // An empty line is no record.
    if (fields.length > 1 || fields[0] !== '') records.push({ line: start, fields })
    fields = []
    line++
    start = line
  }
  return records
}
