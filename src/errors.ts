/** What went wrong, in one word that programs can test; `message` is one line that a person can act on. */
export type ErrorCode =
  | 'file_missing'
  | 'file_invalid'
  | 'disk_full'
  | 'unsupported'
  | 'spec_invalid'
  | 'input_invalid'
  | 'context_exceeded'
  | 'library_missing'
  | 'library_version'
  | 'aborted'
  | 'disposed'

/** Every error that Shoal throws on purpose. */
export class ShoalError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A file that is missing, damaged or says what cannot be true. The message starts with its path. */
export class FileError extends ShoalError {
  readonly path: string

  constructor(
    path: string,
    reason: string,
    code: 'file_missing' | 'file_invalid' | 'disk_full' = 'file_invalid',
    options?: ErrorOptions,
  ) {
    super(code, `${path}: ${reason}`, options)
    this.path = path
  }
}

/** A model, field, value or device that Shoal knows of but does not implement; never silently ignored. */
export class UnsupportedError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported', message, options)
  }
}

/** A `--depth` SPEC that does not parse or does not fit the model. */
export class SpecError extends ShoalError {
  constructor(message: string, options?: ErrorOptions) {
    super('spec_invalid', message, options)
  }
}

/** An argument of the caller that is out of range or of the wrong kind. */
export class InputError extends ShoalError {
  constructor(message: string, code: 'input_invalid' | 'context_exceeded' = 'input_invalid', options?: ErrorOptions) {
    super(code, message, options)
  }
}
