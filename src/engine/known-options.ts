import { InputError } from '../errors.js'
import { didYouMean } from '../nearest-name.js'
import type {
  BeamSearchOptions,
  ChatOptions,
  CostsOptions,
  GenerateOptions,
  LoadOptions,
  PolicyOptions,
  RenderChatOptions,
} from './api.js'
import type { PlanLossOptions, PredictOptions, ScoreOptions, TraceOptions } from './known-text.js'

type Names<Options> = Readonly<Record<keyof Options, true>>

const GENERATE: Names<GenerateOptions> = {
  temperature: true,
  topK: true,
  topP: true,
  minP: true,
  repetitionPenalty: true,
  noRepeatNgram: true,
  seed: true,
  depth: true,
  lossless: true,
  maxTokens: true,
  stop: true,
  ignoreEos: true,
  literalContent: true,
  priority: true,
  client: true,
  signal: true,
}

const CHAT: Names<ChatOptions> = { ...GENERATE, system: true }

const LOAD: Names<LoadOptions> = {
  quantization: true,
  kvType: true,
  threads: true,
  device: true,
  thread: true,
  process: true,
  context: true,
  slots: true,
  kvMemory: true,
  prefixCache: true,
  cacheDir: true,
  revision: true,
  progress: true,
  onPass: true,
  signal: true,
}

const BEAM_SEARCH: Names<BeamSearchOptions> = {
  depth: true,
  beams: true,
  noRepeatNgram: true,
  lengthPenalty: true,
  maxTokens: true,
  ignoreEos: true,
  signal: true,
}

const SCORE: Names<ScoreOptions> = {
  promptLength: true,
  depth: true,
  stride: true,
  logits: true,
  signal: true,
  onProgress: true,
}

const LOSSLESS: Names<Exclude<GenerateOptions['lossless'], boolean | undefined>> = { drafts: true }
const POLICY: Names<PolicyOptions> = { signal: true, onMeasure: true }
const COSTS: Names<CostsOptions> = { signal: true, onMeasure: true, anew: true }
const PREDICT: Names<PredictOptions> = { depth: true, continuation: true, signal: true }
const TRACE: Names<TraceOptions> = { lens: true, onLayer: true, signal: true }
const PLAN_LOSSES: Names<PlanLossOptions> = { prompt: true }

const RENDER_CHAT: Names<RenderChatOptions> = {
  addGenerationPrompt: true,
  tools: true,
  documents: true,
  variables: true,
}

/** The options of every call, by its name. */
const KNOWN = {
  loadModel: LOAD,
  generate: GENERATE,
  chat: CHAT,
  lossless: LOSSLESS,
  beamSearch: BEAM_SEARCH,
  score: SCORE,
  predict: PREDICT,
  trace: TRACE,
  policy: POLICY,
  costs: COSTS,
  planLosses: PLAN_LOSSES,
  renderChat: RENDER_CHAT,
}

/** @throws InputError for an option that a call does not have: it would be ignored without a word */
export function refuseUnknownOptions(call: keyof typeof KNOWN, options: object): void {
  if (typeof options !== 'object' || options === null)
    throw new InputError(`the options of ${call} must be an object, not ${String(options)}`)
  const known = Object.keys(KNOWN[call])
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if ('signal' in options) checkSignal(call, options.signal)
  if ('depth' in options) checkDepth(call, options.depth)
  if (unknown === undefined) return
  throw new InputError(
    `${call} has no option ${JSON.stringify(unknown.slice(0, 60))}; it has ${known.join(', ')}${didYouMean(unknown, known)}`,
  )
}

function checkSignal(call: string, signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw new InputError(`the signal of ${call} must be an AbortSignal`)
}

function checkDepth(call: string, depth: unknown): void {
  if (depth === undefined || typeof depth === 'string') return
  if (typeof depth !== 'object' || depth === null || !('kind' in depth))
    throw new InputError(`the depth of ${call} must be a SPEC or a policy object, such as "gap:0.8"`)
}
