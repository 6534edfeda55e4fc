import { formatValue } from './format-spec.js'
import { escapeHtml } from './html.js'
import { asciiText, represent, toText } from './represent.js'
import { type Run, TemplateError } from './run.js'
import { Dict, type Keywords, Markup, NativeFunction, type Value } from './values.js'

/** How a field such as `{user.name[0]}` goes on from a value. */
interface Lookups {
  attributeOf(value: Value, name: string, run: Run): Value
  itemOf(value: Value, key: Value, run: Run): Value
}

/** A string's methods `format` and `format_map`, bound to it; undefined for any other name. */
export function formatMethod(self: string | Markup, name: string, lookups: Lookups): Value | undefined {
  if (name !== 'format' && name !== 'format_map') return undefined
  return new NativeFunction(name, (args, keywords, run) => callFormat(self, name, args, keywords, lookups, run))
}

function callFormat(
  self: string | Markup,
  name: string,
  args: readonly Value[],
  keywords: Keywords,
  lookups: Lookups,
  run: Run,
): Value {
  if (name === 'format') return formatString(self, args, keywords, lookups, run)
  const mapping = args[0]
  if (!(mapping instanceof Dict) || args.length !== 1 || keywords.size > 0) {
    throw new TemplateError('format_map takes one dict')
  }
  const fields = new Map<string, Value>()
  for (const [key, value] of mapping.pairs()) if (typeof key === 'string') fields.set(key, value)
  return formatString(self, [], fields, lookups, run)
}

/** Python's `text.format(…)`; of HTML, what is put in is escaped. */
function formatString(
  self: string | Markup,
  args: readonly Value[],
  keywords: Keywords,
  lookups: Lookups,
  run: Run,
): Value {
  const fields = new Fields(lookups)
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

/** Which fields there are: `{}` counts up, unless fields are numbered. */
class Fields {
  private next: number | null = 0
  private numbered = false

  constructor(readonly lookups: Lookups) {}

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
  fields: Fields,
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
    const value = fieldValue(bracket, args, keywords, fields, run)
    const inner = formatText(spec, args, keywords, fields, levels - 1, false, run)
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

function fieldValue(name: string, args: readonly Value[], keywords: Keywords, fields: Fields, run: Run): Value {
  const first = /^[^.[]*/.exec(name)![0]
  let value: Value | undefined
  if (first === '') value = args[fields.automatic()]
  else if (/^\d{1,9}$/.test(first)) {
    fields.manual()
    value = args[Number(first)]
  } else value = keywords.get(first)
  if (value === undefined) throw new TemplateError(`the format has no value for the field '${first}'`)
  const path = /\.([^.[]*)|\[([^\]]*)\]/gy
  path.lastIndex = first.length
  for (let part = path.exec(name); part !== null; part = path.exec(name)) {
    if (part[1] !== undefined) value = fields.lookups.attributeOf(value, part[1], run)
    else value = fields.lookups.itemOf(value, /^\d{1,9}$/.test(part[2]!) ? BigInt(part[2]!) : part[2]!, run)
    if (path.lastIndex === name.length) return value
  }
  if (first.length !== name.length) throw new TemplateError(`the format field '${name}' is not valid`)
  return value
}
