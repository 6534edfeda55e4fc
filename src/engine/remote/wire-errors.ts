import {
  type ErrorCode,
  FileError,
  HubError,
  InputError,
  ShoalError,
  SpecError,
  UnsupportedError,
} from '../../errors.js'

/** An error as plain data. */
export type WireError =
  | {
      readonly kind: 'shoal'
      readonly name: string
      readonly code: ErrorCode
      readonly message: string
      readonly stack: string | undefined
      /** Fields of its class. */
      readonly fields: Readonly<Record<string, unknown>>
    }
  | { readonly kind: 'other'; readonly name: string; readonly message: string; readonly stack: string | undefined }
  /** What the caller's own code threw: it knows it by this number. */
  | { readonly kind: 'caller'; readonly number: number }

const CLASSES = { ShoalError, FileError, UnsupportedError, SpecError, InputError, HubError }

/** Stands for what the caller's code threw while it was asked. */
export class CallerError extends Error {
  constructor(readonly number: number) {
    super('the caller threw')
  }
}

export function toWire(error: unknown): WireError {
  if (error instanceof CallerError) return { kind: 'caller', number: error.number }
  if (error instanceof ShoalError) {
    const { name, code, message, stack, cause: _cause, ...fields } = error
    return { kind: 'shoal', name, code, message, stack, fields: plainOf(fields) }
  }
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  return { kind: 'other', name, message, stack }
}

/** @param thrown by the caller's own code, by number */
export function fromWire(wire: WireError, thrown: readonly unknown[] = []): unknown {
  if (wire.kind === 'caller') return thrown[wire.number]
  if (wire.kind === 'other') {
    const error = new Error(wire.message)
    return Object.assign(error, { name: wire.name, stack: wire.stack })
  }
  const { name, code, message, stack, fields } = wire
  const known = CLASSES[name as keyof typeof CLASSES] ?? ShoalError
  // Constructors would make another message of this one.
  const error = Object.assign(Object.create(known.prototype) as ShoalError, fields)
  for (const [key, value] of Object.entries({ name, code, message, stack })) {
    Object.defineProperty(error, key, {
      value,
      writable: true,
      configurable: true,
      enumerable: key === 'name' || key === 'code',
    })
  }
  return error
}

function plainOf(fields: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)),
  )
}
