import { endOfString } from '../json.js'

/**
 * Puts other values into fields of the outermost object of a JSON text. Everything else stays as it is written: numbers
 * such as 1e-05 and 10000.0 would not survive parsing and printing. The text must have parsed before; a field that it
 * lacks is not added.
 */
export function replaceFields(text: string, values: ReadonlyMap<string, unknown>): string {
  let out = ''
  let copied = 0
  let depth = 0
  let expectsKey = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '"') {
      const end = endOfString(text, i)
      if (depth === 1 && expectsKey) {
        const key: string = JSON.parse(text.slice(i, end + 1))
        expectsKey = false
        if (values.has(key)) {
          const from = text.indexOf(':', end) + 1
          const start = from + (/^\s*/.exec(text.slice(from, from + 1000))?.[0].length ?? 0)
          const after = endOfValue(text, start)
          out += text.slice(copied, start) + JSON.stringify(values.get(key))
          copied = after
          i = after - 1
          continue
        }
      }
      i = end
    } else if (c === '{' || c === '[') {
      depth++
      expectsKey = depth === 1
    } else if (c === '}' || c === ']') depth--
    else if (c === ',') expectsKey = depth === 1
  }
  return out + text.slice(copied)
}

/** Position behind the value that starts here. */
function endOfValue(text: string, start: number): number {
  if (text[start] === '"') return endOfString(text, start) + 1
  let depth = 0
  for (let i = start; i < text.length; i++) {
    const c = text[i] as string
    if (c === '"') i = endOfString(text, i)
    else if (c === '{' || c === '[') depth++
    else if (depth > 0 && (c === '}' || c === ']')) {
      depth--
      if (depth === 0) return i + 1
    } else if (depth === 0 && /[\s,}]/.test(c)) return i
  }
  return text.length
}
