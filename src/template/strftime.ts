import { type Run, TemplateError } from './run.js'

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]
const DAY = 86_400_000

/** A number and how it is filled up. */
interface Field {
  readonly number: number
  readonly width: number
  readonly fill: '0' | ' '
}

/** Local time in C's format and English, whatever the machine's language is; as in Python, local time has no zone. */
export function strftime(time: Date, format: string, run: Run): string {
  run.makeString(format.length)
  let result = ''
  let at = 0
  const directive = /%([-_0^#]*)(\d{0,4})([a-zA-Z%+])/y
  for (;;) {
    const percent = format.indexOf('%', at)
    if (percent < 0) return result + format.slice(at)
    result += format.slice(at, percent)
    directive.lastIndex = percent
    const found = directive.exec(format)
    at = found === null ? percent + 1 : directive.lastIndex
    const text = found === null ? '%' : expand(time, found[1]!, Number(found[2]), found[3]!, found[0], run)
    result += text
    run.makeString(result.length, text.length)
  }
}

function expand(time: Date, flags: string, width: number, letter: string, whole: string, run: Run): string {
  const value = fieldOf(time, letter, run)
  if (value === undefined) return whole
  if (width > 1000) throw new TemplateError('a width of strftime_now is too large')
  if (typeof value === 'string') {
    const cased =
      flags.includes('#') && letter === 'p' ? value.toLowerCase() : /[\^#]/.test(flags) ? value.toUpperCase() : value
    return cased.padStart(width, flags.includes('0') ? '0' : ' ')
  }
  if (flags.includes('-') && width === 0) return String(value.number)
  const fill = flags.includes('_') ? ' ' : flags.includes('0') ? '0' : value.fill
  return String(value.number).padStart(Math.max(width, value.width), fill)
}

function fieldOf(time: Date, letter: string, run: Run): string | Field | undefined {
  const number = (value: number, width = 2, fill: '0' | ' ' = '0'): Field => ({ number: value, width, fill })
  const year = time.getFullYear()
  const yearDay = dayOfYear(time)
  const weekDay = time.getDay()
  const hour = time.getHours()
  switch (letter) {
    case 'a':
      return DAYS[weekDay]!.slice(0, 3)
    case 'A':
      return DAYS[weekDay]!
    case 'b':
    case 'h':
      return MONTHS[time.getMonth()]!.slice(0, 3)
    case 'B':
      return MONTHS[time.getMonth()]!
    case 'c':
      return strftime(time, '%a %b %e %H:%M:%S %Y', run)
    case 'C':
      return number(Math.floor(year / 100))
    case 'd':
      return number(time.getDate())
    case 'D':
    case 'x':
      return strftime(time, '%m/%d/%y', run)
    case 'e':
      return number(time.getDate(), 2, ' ')
    case 'f':
      return number(time.getMilliseconds() * 1000, 6)
    case 'F':
      return strftime(time, '%Y-%m-%d', run)
    case 'g':
      return number(isoWeek(time).year % 100)
    case 'G':
      return number(isoWeek(time).year, 4)
    case 'H':
      return number(hour)
    case 'I':
      return number(hour % 12 || 12)
    case 'j':
      return number(yearDay + 1, 3)
    case 'k':
      return number(hour, 2, ' ')
    case 'l':
      return number(hour % 12 || 12, 2, ' ')
    case 'm':
      return number(time.getMonth() + 1)
    case 'M':
      return number(time.getMinutes())
    case 'n':
      return '\n'
    case 'p':
      return hour < 12 ? 'AM' : 'PM'
    case 'P':
      return hour < 12 ? 'am' : 'pm'
    case 'r':
      return strftime(time, '%I:%M:%S %p', run)
    case 'R':
      return strftime(time, '%H:%M', run)
    case 's':
      return number(Math.floor(time.getTime() / 1000), 1)
    case 'S':
      return number(time.getSeconds())
    case 't':
      return '\t'
    case 'T':
    case 'X':
      return strftime(time, '%H:%M:%S', run)
    case 'u':
      return number(weekDay || 7, 1)
    case 'U':
      return number(Math.floor((yearDay + 7 - weekDay) / 7))
    case 'V':
      return number(isoWeek(time).week)
    case 'w':
      return number(weekDay, 1)
    case 'W':
      return number(Math.floor((yearDay + 7 - ((weekDay + 6) % 7)) / 7))
    case 'y':
      return number(year % 100)
    case 'Y':
      return number(year, 1)
    case 'z':
    case 'Z':
      return ''
    case '%':
      return '%'
    default:
      return undefined
  }
}

/** From zero. */
function dayOfYear(time: Date): number {
  return Math.round(
    (Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - Date.UTC(time.getFullYear(), 0, 1)) / DAY,
  )
}

function isoWeek(time: Date): { year: number; week: number } {
  const thursday = new Date(Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()))
  thursday.setUTCDate(thursday.getUTCDate() + 4 - (thursday.getUTCDay() || 7))
  const year = thursday.getUTCFullYear()
  return { year, week: Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / DAY / 7) + 1 }
}
