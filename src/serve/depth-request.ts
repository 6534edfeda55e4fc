import { ApiError } from './api-error.js'

/** Kinds of policies that a request may ask for where the operator says nothing: those that read no file and need no calibration. */
export const FREE_KINDS = ['full', 'layers', 'exit', 'gap', 'entropy', 'patience', 'calm', 'unified', 'skipdecode']

/** What is the operator's to choose: files of the server, and a batch size that would have to be measured first. */
const OPERATORS_KEY = /[:,]\s*(data|bridge|lens|batch)\s*=/

/** Which depths requests may ask for. */
export class DepthRequests {
  /** @param allowed kinds of policies and whole SPECs; a SPEC that names a file has to be named as a whole */
  constructor(
    private readonly allowed: readonly string[],
    private readonly usual: string | undefined,
  ) {}

  /**
   * The SPEC of a request.
   * @param field `depth` of the body @param header `x-shoal-depth`, where the body says nothing
   * @throws ApiError for one that is not allowed
   */
  spec(field: string | { readonly target: number } | undefined, header: string | undefined): string | undefined {
    const asked = field ?? header
    if (asked === undefined) return this.usual
    const spec = typeof asked === 'string' ? asked : `unified:${asked.target}x`
    if (spec === this.usual || this.allowed.includes(spec)) return spec
    const [kind = ''] = spec.split(':', 1)
    const key = OPERATORS_KEY.exec(spec)?.[1]
    if (this.allowed.includes(kind) && key === undefined) return spec
    const may = [...this.allowed, ...(this.usual === undefined ? [] : [this.usual])].join(', ')
    const why =
      key !== undefined && this.allowed.includes(kind)
        ? `${key} is the server's to choose`
        : `this server allows ${may}`
    throw new ApiError(400, `depth ${JSON.stringify(spec)} is not allowed: ${why}`, {
      type: 'permission_error',
      code: 'depth_not_allowed',
      param: 'depth',
    })
  }
}
