import { attributeOf, itemOf } from './access.js'
import { formatValue } from './format-spec.js'
import { escapeHtml } from './html.js'
import { asciiText, represent, toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { type Keywords, Markup, type Value } from './values.js'

/** Python's `text.format(…)`; of HTML, what is put in is escaped. */
export function formatString(self: string | Markup, args: readonly Value[], keywords: Keywords, run: Run): Value {
  const fields = new FieldNumbers()
  const text = formatText(
    self instanceof Markup ? self.text : self,
    args,
    keywords,
    fields,
    2,
    self instanceof Markup,
    run,
  )
  return self instanceof Markup ? new Markup(text) : text
}

/** `{}` counts up, unless fields are numbered. */
class FieldNumbers {
  private next: number | null = 0
  private numbered = false

  automatic(): number {
    if (this.numbered || this.next === null) throw new TemplateError('fields are either all numbered or none is')
    return this.next++
  }

  manual(): void {
    if (this.next !== null && this.next > 0) throw new TemplateError('fields are either all numbered or none is')
    this.numbered = true
  }
}

function formatText(
  text: string,
  args: readonly Value[],
  keywords: Keywords,
  numbers: FieldNumbers,
  levels: number,
  isMarkup: boolean,
  run: Run,
): string {
  if (levels < 0) throw new TemplateError('format fields are nested too deeply')
  let result = ''
  let at = 0
  while (at < text.length) {
    const character = text[at]!
    if (character !== '{' && character !== '}') {
      const end = text.slice(at).search(/[{}]/)
      const plain = end < 0 ? text.slice(at) : text.slice(at, at + end)
      run.read(text.length)
      result += plain
      at += plain.length
      continue
    }
    if (text[at + 1] === character) {
      result += character
      at += 2
      continue
    }
    if (character === '}') throw new TemplateError("a '}' stands alone in a format")
    const end = fieldEnd(text, at)
    const field = text.slice(at + 1, end)
    at = end + 1
    const bracket = /^[^[:!]*(?:\[[^\]]*\][^[:!]*)*/.exec(field)![0]
    const [, conversion, , spec = ''] = /^(?:!([^:]*))?(:(.*))?$/s.exec(field.slice(bracket.length)) ?? []
    if (conversion !== undefined && !/^[rsa]$/.test(conversion)) throw new TemplateError('a conversion is !r, !s or !a')
    const value = fieldValue(bracket, args, keywords, numbers, run)
    const inner = formatText(spec, args, keywords, numbers, levels - 1, false, run)
    const converted =
      conversion === 'r'
        ? represent(value, run)
        : conversion === 'a'
          ? asciiText(value, run)
          : conversion === 's'
            ? toText(value, run)
            : value
    const formatted = isMarkup && inner === '' ? escapeHtml(converted, run) : formatValue(converted, inner, run)
    result += isMarkup && inner !== '' ? escapeHtml(formatted, run) : formatted
    run.makeString(result.length, formatted.length)
  }
  return result
}

function fieldEnd(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    if (text[at] === '[') {
      const close = text.indexOf(']', at)
      if (close >= 0) at = close
    } else if (text[at] === '{') depth++
    else if (text[at] === '}' && --depth === 0) return at
  }
  throw new TemplateError("a '{' of a format has no end")
}

function fieldValue(name: string, args: readonly Value[], keywords: Keywords, numbers: FieldNumbers, run: Run): Value {
  const first = /^[^.[]*/.exec(name)![0]
  let value: Value | undefined
  if (first === '') value = args[numbers.automatic()]
  else if (/^\d{1,9}$/.test(first)) {
    numbers.manual()
    value = args[Number(first)]
  } else value = keywords.get(first)
  if (value === undefined) throw new TemplateError(`the format has no value for the field '${first}'`)
  const path = /\.([^.[]*)|\[([^\]]*)\]/gy
  path.lastIndex = first.length
  for (let part = path.exec(name); part !== null; part = path.exec(name)) {
    if (part[1] !== undefined) value = attributeOf(value, part[1], run)
    else value = itemOf(value, /^\d{1,9}$/.test(part[2]!) ? BigInt(part[2]!) : part[2]!, run)
    if (path.lastIndex === name.length) return value
  }
  if (first.length !== name.length) throw new TemplateError(`the format field '${name}' is not valid`)
  return value
}
