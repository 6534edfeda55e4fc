import { HubError, type HubProblem, printable } from '../errors.js'
import type { HubSettings } from './hub-settings.js'

/** What a request is about, for messages. */
export interface Subject {
  /** As a person knows it: `org/name`, or `org/name/file.gguf`. */
  readonly name: string
  readonly repo: string
  readonly revision: string
}

/** A HubError that knows whether trying again may help. */
export class HubFailure extends HubError {
  readonly again: boolean
  /** How long the Hub wants to be left alone; null where it does not say. */
  readonly waitMs: number | null

  constructor(
    { name }: Subject,
    problem: HubProblem,
    reason: string,
    { again = false, waitMs = null, cause }: { again?: boolean; waitMs?: number | null; cause?: unknown } = {},
  ) {
    super(name, problem, reason, { cause })
    this.name = 'HubError'
    this.again = again
    this.waitMs = waitMs
  }
}

/** What a connection that failed, or was cut, comes to. */
export function networkFailure(subject: Subject, host: string, error: unknown): Error {
  const code = codeOf(error)
  // Not of the network: a fault in this program, or of the disk.
  if (code === null) return error instanceof Error ? error : new Error(String(error))
  if (/CERT|SELF_SIGNED|VERIFY|TLS|SSL/.test(code)) {
    const reason = `the certificate of ${host} is not trusted (${code}); NODE_EXTRA_CA_CERTS may name the one of a proxy`
    return new HubFailure(subject, 'network', reason, { cause: error })
  }
  return new HubFailure(subject, 'network', `${host} cannot be reached, or broke off (${code})`, {
    again: true,
    cause: error,
  })
}

/** The code of an error of fetch: it throws a TypeError whose cause is the network's. Null for other errors. */
function codeOf(error: unknown): string | null {
  if (!(error instanceof TypeError)) return null
  const { cause } = error
  if (cause instanceof Error) {
    const [first] = cause instanceof AggregateError ? (cause.errors as unknown[]) : []
    const { code } = (first instanceof Error && !('code' in cause) ? first : cause) as NodeJS.ErrnoException
    return code ?? printable(cause.message, 60)
  }
  return error.message === 'fetch failed' || error.message === 'terminated' ? error.message : null
}

/** What a status that is no success comes to. */
export function statusFailure(
  { endpoint, token }: HubSettings,
  subject: Subject,
  { status, headers }: Response,
  isHome: boolean,
): HubFailure {
  const { repo, revision } = subject
  const code = headers.get('x-error-code')
  const said = printable(headers.get('x-error-message') ?? '', 80)
  const fail = (problem: HubProblem, reason: string): HubFailure => new HubFailure(subject, problem, reason)
  // The address of a file's storage is signed for an hour or so: the Hub gives a new one.
  if (!isHome && [401, 403, 404, 410].includes(status)) {
    return new HubFailure(subject, 'network', `the Hub's storage refuses the file (${status})`, { again: true })
  }
  if (status === 429) return tooMany(subject, headers)
  if (status >= 500 || status === 408) {
    return new HubFailure(subject, 'network', `the Hub has trouble of its own (${status}); try again later`, {
      again: true,
    })
  }
  if (code === 'GatedRepo') {
    const then = token === null ? ', then set HF_TOKEN or run hf auth login' : ' with the account of your token'
    return fail('access', `is gated: accept its conditions at ${endpoint}/${repo}${then}`)
  }
  if (said === 'Access to this resource is disabled.') return fail('access', 'was taken down by the Hub')
  if (said.startsWith('Invalid credentials') || said.startsWith('Invalid username or password')) {
    return token === null
      ? fail('missing', missingReason(token))
      : fail('access', 'the Hub does not take your token; make another at https://huggingface.co/settings/tokens')
  }
  if (code === 'RevisionNotFound') return fail('revision', `there is no revision ${printable(revision, 60)}`)
  if (code === 'EntryNotFound') return fail('file', `there is no such file in revision ${printable(revision, 60)}`)
  if (code === 'RepoNotFound' || status === 401 || status === 404) return fail('missing', missingReason(token))
  if (status === 403)
    return fail('access', `the Hub refuses it${said === '' ? '' : `: ${said}`}; what may your token see?`)
  return fail('answer', `the Hub answers with status ${status}${said === '' ? '' : `: ${said}`}`)
}

function missingReason(token: string | null): string {
  return token === null
    ? 'no such folder, and no such model on the Hub, or one that is private or gated: check its name, or set HF_TOKEN'
    : 'no such folder, and no such model on the Hub, or one that your token may not see: check its name'
}

/** `ratelimit: "api";r=0;t=55` says how many seconds are to be waited. */
function tooMany(subject: Subject, headers: Headers): HubFailure {
  const told = /(?:^|;)\s*t=(\d{1,6})\b/.exec(headers.get('ratelimit') ?? '')?.[1] ?? headers.get('retry-after') ?? ''
  const seconds = Number(told)
  const known = /^\d{1,6}$/.test(told)
  const when = known ? `try again in ${seconds} s` : 'try again later'
  return new HubFailure(subject, 'limit', `too many requests to the Hub; ${when}, or set HF_TOKEN for a higher limit`, {
    again: true,
    waitMs: known ? 1000 * seconds : null,
  })
}
