import { InputError } from '../errors.js'
import type { DecodeOptions, EncodeOptions } from './tokenizer.js'

type Names<Options> = Readonly<Record<keyof Options, true>>

const ENCODE: Names<EncodeOptions> = { addSpecialTokens: true, parseSpecial: true }
const DECODE: Names<DecodeOptions> = { skipSpecialTokens: true, continues: true }

/** @throws InputError for what is no text, and for an option that `encode` does not have */
export function checkEncode(text: string, options: EncodeOptions): void {
  if (typeof text !== 'string') throw new InputError(`encode takes a text, not ${nameOf(text)}`)
  checkOptions('encode', options, ENCODE)
}

/** @throws InputError for what is no list of ids, and for an option that `decode` does not have */
export function checkDecode(ids: readonly number[], options: DecodeOptions): void {
  if (!Array.isArray(ids)) throw new InputError(`decode takes a list of token ids, not ${nameOf(ids)}`)
  for (const id of ids as readonly unknown[]) {
    if (typeof id !== 'number') throw new InputError(`decode takes a list of token ids; ${nameOf(id)} is none`)
  }
  checkOptions('decode', options, DECODE)
}

function checkOptions(call: string, options: object, names: Readonly<Record<string, true>>): void {
  if (typeof options !== 'object' || options === null) {
    throw new InputError(`the options of ${call} are an object, not ${nameOf(options)}`)
  }
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    if (!Object.hasOwn(names, name)) {
      throw new InputError(
        `${call} has no option ${JSON.stringify(name.slice(0, 60))}; it has ${Object.keys(names).join(', ')}`,
      )
    }
    if (value !== undefined && typeof value !== 'boolean') {
      throw new InputError(`option ${name} of ${call} is true or false, not ${nameOf(value)}`)
    }
  }
}

function nameOf(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 60))
  return Array.isArray(value) ? 'a list' : typeof value === 'object' && value !== null ? 'an object' : String(value)
}
