import { setTimeout as sleep } from 'node:timers/promises'
import { HubError, ShoalError } from '../errors.js'
import { HubFailure, networkFailure, type Subject, statusFailure } from './hub-failure.js'
import type { HubSettings } from './hub-settings.js'

export interface HubRequest<T> {
  readonly subject: Subject
  readonly signal?: AbortSignal | undefined
  /** How often it is tried; default 5. */
  readonly tries?: number
  /** How long the answer's body may stand still; default as long as the answer itself may take. */
  readonly readMs?: number
  /** Asked before every attempt. */
  readonly headers?: () => Record<string, string>
  /**
   * Reads an answer of status 200, 206 or 416. What it throws is tried again where it is a cut connection, or a `HubFailure` that says so.
   * @param alive to be called whenever something comes in, with the bytes that were not there before
   */
  readonly use: (response: Response, alive: (bytes: number) => void) => Promise<T>
}

const TRIES = 5
const MAX_REDIRECTS = 10
/** Who asks to wait longer is told to the user, who may not want to. */
const LONGEST_WAIT_MS = 60_000
/** A connection that brings so much before it is cut is worth five more. */
const PROGRESS_BYTES = 1024 * 1024

/**
 * GET of an address of the Hub. Redirects are followed here, since the token is for the Hub's own host and no other.
 * @throws HubError; ShoalError `aborted`
 */
export async function hubGet<T>(settings: HubSettings, url: string, request: HubRequest<T>): Promise<T> {
  const { subject, signal, tries = TRIES } = request
  for (let attempt = 1; ; attempt++) {
    let bytes = 0
    try {
      return await once(settings, url, request, (count) => (bytes += count))
    } catch (error) {
      if (signal?.aborted)
        throw new ShoalError('aborted', `${subject.name}: the download was stopped`, { cause: error })
      const failure = error instanceof ShoalError ? error : networkFailure(subject, new URL(url).host, error)
      if (!(failure instanceof HubFailure)) throw failure
      if (bytes >= PROGRESS_BYTES) attempt = 1
      const wait = failure.waitMs ?? settings.retryMs * 2 ** (attempt - 1)
      if (!failure.again || attempt >= tries || wait > LONGEST_WAIT_MS) throw failure
      await sleep(wait, undefined, { signal }).catch((reason: unknown) => {
        throw new ShoalError('aborted', `${subject.name}: the download was stopped`, { cause: reason })
      })
    }
  }
}

async function once<T>(
  settings: HubSettings,
  url: string,
  request: HubRequest<T>,
  received: (bytes: number) => void,
): Promise<T> {
  const { subject, signal, readMs = settings.answerMs } = request
  const controller = new AbortController()
  const stop = (): void => controller.abort(signal?.reason)
  const timedOut = (): void =>
    controller.abort(new HubFailure(subject, 'network', 'the Hub does not answer in time', { again: true }))
  signal?.throwIfAborted()
  signal?.addEventListener('abort', stop, { once: true })
  let timer = setTimeout(timedOut, settings.answerMs)
  try {
    const response = await follow(settings, url, request, controller.signal)
    clearTimeout(timer)
    timer = setTimeout(timedOut, readMs)
    return await request.use(response, (bytes) => {
      received(bytes)
      timer.refresh()
    })
  } catch (error) {
    // fetch hides the reason of an abort behind errors of its own.
    throw controller.signal.reason instanceof HubError ? controller.signal.reason : error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
    // Ends what of the answer nobody has read.
    controller.abort()
  }
}

async function follow<T>(
  settings: HubSettings,
  start: string,
  { subject, headers }: HubRequest<T>,
  signal: AbortSignal,
): Promise<Response> {
  const home = new URL(settings.endpoint)
  let url = new URL(start)
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const isHome = url.origin === home.origin
    const response = await fetch(url.href, {
      redirect: 'manual',
      signal,
      headers: {
        'user-agent': 'shoal',
        // The size and the ranges of the file itself are meant.
        'accept-encoding': 'identity',
        ...headers?.(),
        ...(isHome && settings.token !== null && { authorization: `Bearer ${settings.token}` }),
      },
    })
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || location === null) {
      if ([200, 206, 416].includes(response.status)) return response
      throw statusFailure(settings, subject, response, isHome)
    }
    await response.body?.cancel()
    const next = URL.canParse(location, url.href) ? new URL(location, url) : null
    if (next === null || !isFollowed(url, next)) {
      throw new HubFailure(subject, 'answer', 'the Hub leads to an address that cannot be followed')
    }
    url = next
  }
  throw new HubFailure(subject, 'answer', `the Hub leads from one address to the next, ${MAX_REDIRECTS} times and more`)
}

/** No other protocol, none that is less safe, and no password, which fetch refuses. */
function isFollowed(from: URL, to: URL): boolean {
  const isSafe = to.protocol === 'https:' || (to.protocol === 'http:' && from.protocol === 'http:')
  return isSafe && to.username === '' && to.password === ''
}
