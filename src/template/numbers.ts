import { type Run, TemplateError } from './run.js'

/** Ints have at most this many bits; Python has no limit. */
const MAX_BITS = 1 << 16
/** Python prints no longer ones. */
const MAX_DIGITS = 4300

/** An integer of a template's text, such as 0x1F. */
export function pythonInteger(text: string, line?: number): bigint {
  if (text.length > MAX_DIGITS) throw new TemplateError('an integer has too many digits', line)
  return BigInt(/^0+$/.test(text) ? '0' : text)
}

/** Counts the work that an int of that size is. */
export function checkInteger(value: bigint, run: Run): bigint {
  if (value < 0x7fffffffffffffffn && value > -0x7fffffffffffffffn) return value
  const words = value.toString(16).length / 16
  if (words * 64 > MAX_BITS) throw new TemplateError('an integer becomes too large')
  run.spend(words * 4)
  return value
}

export function integerText(value: bigint, run: Run): string {
  checkInteger(value, run)
  const text = value.toString()
  if (text.length > MAX_DIGITS + 1) throw new TemplateError(`an integer has more than ${MAX_DIGITS} digits`)
  return text
}

export function integerPower(base: bigint, exponent: bigint, run: Run): bigint {
  const bits = BigInt(base.toString(2).length)
  if (base !== 0n && base !== 1n && base !== -1n && bits * exponent > BigInt(MAX_BITS)) {
    throw new TemplateError('an integer becomes too large')
  }
  return checkInteger(base ** exponent, run)
}

/** Rounded towards minus infinity. */
export function floorDivide(left: bigint, right: bigint): bigint {
  const quotient = left / right
  return left % right !== 0n && left < 0n !== right < 0n ? quotient - 1n : quotient
}

/** Python's `%`: the sign is the divisor's. */
export function modulo(left: bigint, right: bigint): bigint {
  const rest = left % right
  return rest !== 0n && rest < 0n !== right < 0n ? rest + right : rest
}

export function floatModulo(left: number, right: number): number {
  const rest = left % right
  if (rest !== 0) return rest < 0 !== right < 0 ? rest + right : rest
  return right < 0 ? -0 : 0
}

export function floatFloorDivide(left: number, right: number): number {
  const quotient = (left - floatModulo(left, right)) / right
  const floor = Math.floor(quotient)
  return quotient - floor > 0.5 ? floor + 1 : floor
}

/** Python's `repr` of a float: the fewest digits that give it back. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf'
  const [digits = '', power = ''] = value.toExponential().split('e')
  const exponent = Number(power)
  if (exponent < -4 || exponent >= 16) return `${sign(value)}${digits.replace('-', '')}e${exponentText(exponent)}`
  const text = fixedFrom(digits.replace(/[-.]/g, ''), exponent)
  return sign(value) + (text.includes('.') ? text : `${text}.0`)
}

export function sign(value: number): string {
  return value < 0 || Object.is(value, -0) ? '-' : ''
}

export function exponentText(exponent: number): string {
  return `${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`
}

/** Digits d.ddd times 10^exponent without an exponent. */
function fixedFrom(digits: string, exponent: number): string {
  if (exponent < 0) return `0.${'0'.repeat(-exponent - 1)}${digits}`
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, '0')
  const fraction = digits.slice(exponent + 1)
  return fraction === '' ? whole : `${whole}.${fraction}`
}

/** |value| · 10^places as an integer, exactly computed, halves to even. */
export function scaled(value: number, places: number): bigint {
  if (value === 0) return 0n
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, Math.abs(value))
  const bits = view.getBigUint64(0)
  const power = Number(bits >> 52n)
  const fraction = bits & 0xfffffffffffffn
  let numerator = power === 0 ? fraction : fraction | 0x10000000000000n
  let denominator = 1n
  const shift = (power === 0 ? 1 : power) - 1075
  if (shift >= 0) numerator <<= BigInt(shift)
  else denominator <<= BigInt(-shift)
  if (places >= 0) numerator *= 10n ** BigInt(places)
  else denominator *= 10n ** BigInt(-places)
  return halfEven(numerator, denominator)
}

/** Of numbers that are not negative. */
export function halfEven(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator
  const twice = 2n * (numerator % denominator)
  const up = twice > denominator || (twice === denominator && quotient % 2n === 1n)
  return up ? quotient + 1n : quotient
}

/** |value| with that many digits after the point. */
export function fixedDigits(value: number, places: number): string {
  const digits = scaled(value, places)
    .toString()
    .padStart(places + 1, '0')
  return places === 0 ? digits : `${digits.slice(0, -places)}.${digits.slice(-places)}`
}

/** |value| as d.ddd · 10^exponent with that many digits after the point. */
export function exponentDigits(value: number, places: number): { digits: string; exponent: number } {
  if (value === 0) return { digits: '0'.repeat(places + 1), exponent: 0 }
  let exponent = Number(value.toExponential().split('e')[1])
  let digits = scaled(value, places - exponent).toString()
  if (digits.length > places + 1) {
    exponent++
    digits = scaled(value, places - exponent).toString()
  }
  return { digits, exponent }
}

/** Python's `round(value, places)` of a float. */
export function roundFloat(value: number, places: number): number {
  if (!Number.isFinite(value) || places > 330) return value
  if (places < -330) return value < 0 ? -0 : 0
  return Number(`${sign(value)}${scaled(value, places)}e${-places}`)
}

/** Python's `int(value)` of a float. */
export function truncate(value: number): bigint {
  if (!Number.isFinite(value)) throw new TemplateError(`cannot make an integer of ${floatText(value)}`)
  return BigInt(Math.trunc(value))
}
