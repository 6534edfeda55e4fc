import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileError, systemCode } from '../checkpoint/file-errors.js'
import { InputError } from '../errors.js'

/** Where the Hub is, where its files are kept, and how patient one is: what huggingface_hub reads from the environment. */
export interface HubSettings {
  /** Without a slash at its end. */
  readonly endpoint: string
  /** Folder of the cache, in huggingface_hub's layout. */
  readonly cache: string
  readonly token: string | null
  /** Nothing is asked over the network. */
  readonly offline: boolean
  /** Whether snapshots may hold links to blobs. */
  readonly symlinks: boolean
  /** How long an answer may take. */
  readonly answerMs: number
  /** How long a download may stand still. */
  readonly readMs: number
  /** The first wait before an attempt is made again; each further one is twice as long. */
  readonly retryMs: number
}

const ENDPOINT = 'https://huggingface.co'
const TRUE = ['1', 'ON', 'YES', 'TRUE']

/** @throws InputError where a variable makes no sense; FileError where the token's file cannot be read */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  return {
    endpoint: hubEndpoint(env),
    cache: hubCacheFolder(env),
    token: isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN) ? null : tokenOf(env),
    // The first of the two that says anything decides.
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    symlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
    answerMs: secondsOf(env.HF_HUB_ETAG_TIMEOUT),
    readMs: secondsOf(env.HF_HUB_DOWNLOAD_TIMEOUT),
    retryMs: 500,
  }
}

/** The cache that huggingface_hub uses. */
export function hubCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return expand(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(homeOf(env), 'hub'), env)
}

function homeOf(env: NodeJS.ProcessEnv): string {
  return expand(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'), env)
}

/** `~` and variables, as Python writes them out in these paths. */
function expand(path: string, env: NodeJS.ProcessEnv): string {
  return path
    .replace(/^~(?=$|[/\\])/, homedir())
    .replace(/\$(?:(\w+)|\{([^}]*)\})/g, (whole, bare?: string, braced?: string) => env[bare ?? braced ?? ''] ?? whole)
}

function isTrue(value: string | undefined): boolean {
  return TRUE.includes((value ?? '').toUpperCase())
}

function secondsOf(value: string | undefined): number {
  const seconds = Number(value)
  // 2^31 ms is the longest time that a timer takes.
  return 1000 * (Number.isInteger(seconds) && seconds > 0 && seconds < 2e6 ? seconds : 10)
}

/** The Hub's address, or that of a mirror. Throws InputError. */
export function hubEndpoint(env: NodeJS.ProcessEnv = process.env): string {
  const text = (env.HF_ENDPOINT || ENDPOINT).replace(/\/+$/, '')
  const url = URL.canParse(text) ? new URL(text) : null
  // Neither a password nor a query may stand in it, also no empty one: paths are put behind it.
  if (
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    !/[?#]/.test(text)
  )
    return text
  throw new InputError(`HF_ENDPOINT must be an address such as ${ENDPOINT}`)
}

function tokenOf(env: NodeJS.ProcessEnv): string | null {
  const given = clean(env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN)
  if (given !== null) return given
  const path = expand(env.HF_TOKEN_PATH || join(homeOf(env), 'token'), env)
  try {
    return clean(readFileSync(path, 'utf8'))
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return null
    throw fileError(path, error)
  }
}

function clean(text: string | undefined): string | null {
  const token = (text ?? '').replaceAll(/[\r\n]/g, '').trim()
  if (token === '') return null
  if (/^[\x21-\x7e]{1,8192}$/.test(token)) return token
  throw new InputError('the token of the Hub has characters that no token has; look at HF_TOKEN or run hf auth login')
}
