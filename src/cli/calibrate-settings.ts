import { InvalidArgumentError } from 'commander'
import type { Settings } from '../calibrate/settings.js'
import type { Target } from '../calibrate/threshold.js'
import { FEATURE_NAMES } from '../depth/exit-features.js'
import { LABELS, SCORES, TARGETS } from '../depth/policy-file.js'
import { UsageError } from './cli.js'

export { DEFAULT_TARGET } from '../calibrate/settings.js'

/** Tokens that the check head is cut down to where nothing is set. */
export const CHECK_TOKENS = 64

export interface GivenSettings extends Settings {
  /** Tokens that the check head is cut down to; 0 for the whole vocabulary. */
  readonly checkTokens?: number
}

type Reader = (value: string, wrong: (expected: string) => UsageError) => Partial<GivenSettings>

/** What `--set key=value` takes. Whether a key goes with the kind of policy is said by the fit. */
const SETTINGS: Readonly<Record<string, Reader>> = {
  kernel: (value, wrong) => ({ kernel: oneOf(value, ['linear', 'rbf'], wrong) }),
  C: (value, wrong) => ({ C: numberOf(value, wrong) }),
  gamma: (value, wrong) => ({ gamma: numberOf(value, wrong) }),
  c2: (value, wrong) => ({ c2: numberOf(value, wrong) }),
  label: (value, wrong) => ({ label: oneOf(value, LABELS, wrong) }),
  'per-layer': (value, wrong) => ({ perLayer: oneOf(value, ['true', 'false'], wrong) === 'true' }),
  'class-weight': (value, wrong) => {
    if (value === 'none' || value === 'balanced') return { classWeight: value }
    const weights = value.split(',')
    if (weights.length !== 2) throw wrong('none, balanced or two weights such as 1,3')
    return { classWeight: [numberOf(weights[0]!, wrong), numberOf(weights[1]!, wrong)] }
  },
  features: (value, wrong) => ({
    // The traces' own word for it in JSON is `top`.
    features: value.split(',').map((name) => oneOf(name === 'top' ? 'top_prob' : name, FEATURE_NAMES, wrong)),
  }),
  tokens: (value, wrong) => ({ tokens: numberOf(value, wrong) }),
  'check-tokens': (value, wrong) => {
    const checkTokens = numberOf(value, wrong)
    if (!Number.isSafeInteger(checkTokens) || checkTokens < 0 || checkTokens === 1) {
      throw wrong('0 for the whole vocabulary, or how many tokens, 2 at least')
    }
    return { checkTokens }
  },
  scores: (value, wrong) => ({ scores: oneOf(value, SCORES, wrong) }),
  layers: (value, wrong) => ({
    layers: value.split(',').map((layer) => {
      if (!/^\d+$/.test(layer)) throw wrong('layers such as 8,10,12')
      return Number(layer)
    }),
  }),
  threshold: (value, wrong) => ({ threshold: numberOf(value, wrong) }),
}

/** Reads `key=value` settings; unknown keys, repeated keys and impossible values are wrong usage. */
export function parseSettings(items: readonly string[]): GivenSettings {
  const seen = new Set<string>()
  let settings: GivenSettings = {}
  for (const item of items) {
    const equals = item.indexOf('=')
    const key = equals < 0 ? item : item.slice(0, equals)
    const read = Object.hasOwn(SETTINGS, key) ? SETTINGS[key] : undefined
    if (read === undefined)
      throw new UsageError(`--set ${item}: unknown setting; known: ${Object.keys(SETTINGS).join(', ')}`)
    if (equals < 0) throw new UsageError(`--set ${item}: a value is missing, as in ${key}=VALUE`)
    if (seen.has(key)) throw new UsageError(`--set ${key} stands twice`)
    seen.add(key)
    const wrong = (expected: string): UsageError => new UsageError(`--set ${item}: it must be ${expected}`)
    settings = { ...settings, ...read(item.slice(equals + 1), wrong) }
  }
  return settings
}

function oneOf<T extends string>(value: string, choices: readonly T[], wrong: (expected: string) => UsageError): T {
  const found = choices.find((choice) => choice === value)
  if (found === undefined) throw wrong(choices.join(' or '))
  return found
}

function numberOf(value: string, wrong: (expected: string) => UsageError): number {
  if (!/^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value)) throw wrong('a number')
  return Number(value)
}

/** The value of `--target`. */
export function parseTarget(text: string): Target {
  const [, name, number] = /^([a-z-]+)=(\d*\.?\d+)$/.exec(text) ?? []
  const kind = TARGETS.find((t) => t === name)
  const value = Number(number)
  if (kind === undefined || (kind !== 'mean-layers' && value > 1)) {
    throw new InvalidArgumentError('It must be accuracy-loss=0.01, agreement=0.98 or mean-layers=12, with a number.')
  }
  return { kind, value }
}
