import { ShoalError } from '../errors.js'

/** What a client of OpenAI's API takes an error by. */
export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'server_error'

/** An error with a status, in the form of OpenAI's API. */
export class ApiError extends Error {
  readonly type: ErrorType
  readonly code: string | null
  /** The field of the request that is wrong. */
  readonly param: string | null
  /** Seconds after which another try may succeed; null where it never will. */
  readonly retryAfter: number | null

  constructor(
    readonly status: 400 | 401 | 403 | 404 | 408 | 413 | 429 | 500 | 503,
    message: string,
    details: { type?: ErrorType; code?: string; param?: string; retryAfter?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: details.cause })
    this.type = details.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error')
    this.code = details.code ?? null
    this.param = details.param ?? null
    this.retryAfter = details.retryAfter ?? null
  }

  get body(): { readonly error: { message: string; type: ErrorType; param: string | null; code: string | null } } {
    const { message, type, param, code } = this
    return { error: { message, type, param, code } }
  }

  get headers(): Record<string, string> {
    if (this.retryAfter === null) return { 'x-should-retry': 'false' }
    return { 'retry-after': String(this.retryAfter), 'x-should-retry': 'true' }
  }
}

/** A field that would change the answer and that Shoal does not know what to do with. */
export function refused(param: string, why: string): ApiError {
  return new ApiError(400, `${param} is not supported: ${why}`, { code: 'unsupported_parameter', param })
}

/** Whatever was thrown, as what a client is told; nothing of the inside of the server is. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (!(error instanceof ShoalError)) return new ApiError(500, 'the server made a mistake', { cause: error })
  const { code, message } = error
  switch (code) {
    case 'context_exceeded':
      return new ApiError(400, message, { code: 'context_length_exceeded', param: 'prompt', cause: error })
    case 'spec_invalid':
      return new ApiError(400, message, { code: 'invalid_depth', param: 'depth', cause: error })
    case 'input_invalid':
    case 'unsupported':
    case 'kv_memory':
      return new ApiError(400, message, { code, cause: error })
    case 'runner_lost':
      return new ApiError(503, 'the process that ran the model has ended; it starts anew', {
        code,
        retryAfter: 1,
        cause: error,
      })
    case 'aborted':
      return new ApiError(408, 'the request took longer than its deadline', { code: 'deadline_exceeded', cause: error })
    case 'disposed':
      return new ApiError(503, 'the server is shutting down', { code: 'shutting_down', retryAfter: 1, cause: error })
    default:
      return new ApiError(500, 'the server made a mistake', { cause: error })
  }
}
