import { z } from 'zod'
import { ApiError, refused } from './api-error.js'

// What clients send. A field that would change the answer and is not named here is refused by name; those of `IGNORED` are not.

/** Fields of OpenAI's API that say nothing of the answer. */
const IGNORED = [
  'user',
  'metadata',
  'store',
  'service_tier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'safety_identifier',
]

/** Fields that mean nothing where they have one of these values, and are refused otherwise. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  best_of: [1],
  suffix: ['', null],
  presence_penalty: [0, null],
  frequency_penalty: [0, null],
  parallel_tool_calls: [true, false, null],
  tool_choice: ['none', 'auto', null],
  modalities: [null],
  reasoning_effort: ['none', null],
  verbosity: ['medium', null],
}

/** Choices of one request at most. */
export const MOST_CHOICES = 32

const optional = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined)
const ids = z.array(z.int().min(0)).min(1)

export const depthField = z.union(
  [z.string().min(1).max(1000), z.strictObject({ target: z.number().min(1).max(100) })],
  'must be a SPEC such as "gap:0.8", or {"target": 1.5}',
)

const common = {
  model: optional(z.string()),
  stream: optional(z.boolean()),
  stream_options: optional(
    z.strictObject({ include_usage: optional(z.boolean()), include_obfuscation: optional(z.boolean()) }),
  ),
  temperature: optional(z.number().min(0).max(2)),
  top_p: optional(z.number().gt(0).max(1)),
  top_k: optional(z.int().min(0)),
  min_p: optional(z.number().min(0).max(1)),
  repetition_penalty: optional(z.number().gt(0).max(100)),
  seed: optional(z.int()),
  n: optional(z.int().min(1).max(MOST_CHOICES)),
  stop: optional(z.union([z.string(), z.array(z.string()).max(64)], 'must be a text or at most 64 of them')),
  logit_bias: optional(z.record(z.string(), z.number())),
  ignore_eos: optional(z.boolean()),
  /** How deep: a SPEC of `--depth`, or a target speedup. */
  depth: optional(depthField),
  depth_details: optional(z.boolean()),
  priority: optional(z.number().min(-1000).max(1000)),
  deadline_ms: optional(z.int().min(1).max(86_400_000)),
}

export const completionRequest = z.strictObject({
  ...common,
  prompt: optional(
    z.union(
      [z.string(), z.array(z.string()).min(1), ids, z.array(ids).min(1)],
      'must be a text, token ids, or a list of either',
    ),
  ),
  max_tokens: optional(z.int().min(0)),
  echo: optional(z.boolean()),
  logprobs: optional(z.int().min(0)),
})

const part = z.strictObject({ type: z.literal('text'), text: z.string() })
const message = z.looseObject({
  role: z.string().min(1),
  content: z
    .union([z.string(), z.array(part)], 'must be a text, or a list of parts {"type": "text", "text": ..}')
    .nullish()
    .transform((content) => (Array.isArray(content) ? content.map(({ text }) => text).join('') : (content ?? ''))),
})

export const chatRequest = z.strictObject({
  ...common,
  messages: z.array(message).min(1),
  max_tokens: optional(z.int().min(1)),
  max_completion_tokens: optional(z.int().min(1)),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0)),
  response_format: optional(z.looseObject({ type: z.string() })),
})

export const tokenizeRequest = z.strictObject({
  model: optional(z.string()),
  prompt: z.string(),
  add_special_tokens: optional(z.boolean()),
})

export const detokenizeRequest = z.strictObject({ model: optional(z.string()), tokens: z.array(z.int().min(0)) })

export type CompletionRequest = z.infer<typeof completionRequest>
export type ChatRequest = z.infer<typeof chatRequest>
/** What both have. */
export type CommonRequest = Omit<CompletionRequest, 'prompt' | 'max_tokens' | 'echo' | 'logprobs'>

/** @throws ApiError that names the field */
export function parseRequest<T extends z.ZodType>(schema: T, body: unknown): z.infer<T> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ApiError(400, 'the body must be a JSON object')
  }
  const known = Object.entries(body).filter(([name, value]) => {
    if (IGNORED.includes(name)) return false
    const neutral = NEUTRAL[name]
    if (neutral === undefined) return true
    if (!neutral.includes(value)) throw refused(name, `only ${neutral.map((one) => JSON.stringify(one)).join(' or ')}`)
    return false
  })
  const parsed = schema.safeParse(Object.fromEntries(known))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0] as z.core.$ZodIssue
  const [unknown] = issue.code === 'unrecognized_keys' ? issue.keys : []
  const param = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join('.')
  if (unknown !== undefined) throw refused(param, 'the server does not know this field')
  const missing = issue.code === 'invalid_type' && issue.input === undefined
  throw new ApiError(
    400,
    `${param === '' ? 'the request' : param}: ${missing ? 'is missing' : issue.message}`,
    param === '' ? {} : { param },
  )
}
