import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { EngineStatus, GenerationResult } from '../engine/api.js'

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

/** What the server counts, in Prometheus' form; names and meanings are vLLM's where it has them, with `shoal:` before them. */
export class Metrics {
  private readonly registry = new Registry()
  private readonly running = this.gauge('num_requests_running', 'Generations that have a slot.')
  private readonly waiting = this.gauge('num_requests_waiting', 'Generations that wait for a slot.')
  private readonly kvUsage = this.gauge(
    'kv_cache_usage_perc',
    'Share of the KV cache that is reserved or kept, 0 to 1.',
  )
  private readonly promptTokens = this.counter('prompt_tokens_total', 'Tokens of prompts.')
  private readonly cachedTokens = this.counter('prefix_cache_hits', 'Tokens of prompts that were in the KV cache.')
  private readonly generatedTokens = this.counter('generation_tokens_total', 'Tokens that were generated.')
  private readonly rowLayers = this.counter('row_layers_total', 'Layers that ran for generated tokens.')
  private readonly savedLayers = this.counter(
    'row_layers_saved_total',
    'Layers that full depth would have run beside them.',
  )
  private readonly drafted = this.counter('draft_tokens_total', 'Tokens that were drafted and verified.')
  private readonly accepted = this.counter('accepted_draft_tokens_total', 'Drafted tokens that stood.')
  private readonly lost = this.counter(
    'runner_lost_total',
    'Requests that failed because the process of the model ended.',
  )
  private readonly ended = new Counter({
    name: 'shoal:request_success_total',
    help: 'Generations that ended, by reason.',
    labelNames: ['finished_reason'],
    registers: [this.registry],
  })
  private readonly answers = new Counter({
    name: 'shoal:http_requests_total',
    help: 'Answers, by status.',
    labelNames: ['status'],
    registers: [this.registry],
  })
  private readonly firstToken = this.histogram(
    'time_to_first_token_seconds',
    'From the request to its first token.',
    SECONDS,
  )
  private readonly between = this.histogram(
    'inter_token_latency_seconds',
    'Between two tokens of a generation.',
    SECONDS,
  )
  private readonly whole = this.histogram('e2e_request_latency_seconds', 'From the request to its last token.', SECONDS)
  private readonly depth = new Histogram({
    name: 'shoal:layers_per_token',
    help: 'Mean share of the layers that the tokens of a generation ran, by kind of policy.',
    labelNames: ['policy'],
    buckets: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1],
    registers: [this.registry],
  })

  readonly contentType = this.registry.contentType

  noteAnswer(status: number): void {
    this.answers.inc({ status: String(status) })
  }

  noteLost(): void {
    this.lost.inc()
  }

  /** @param ms since the request @param before ms between this token and the one before it; null for the first */
  noteToken(ms: number, before: number | null): void {
    if (before === null) this.firstToken.observe(ms / 1000)
    else this.between.observe(before / 1000)
  }

  /** @param ms from the request to the end */
  noteResult(result: GenerationResult, reason: string, ms: number): void {
    const { promptTokens, reusedTokens, tokens, rowLayers, layers, meanDepth, depth, lossless } = result
    this.promptTokens.inc(promptTokens.length)
    this.cachedTokens.inc(reusedTokens)
    this.generatedTokens.inc(tokens.length)
    this.rowLayers.inc(rowLayers)
    this.savedLayers.inc(Math.max(0, layers * tokens.length - rowLayers))
    this.drafted.inc(lossless?.drafted ?? 0)
    this.accepted.inc(lossless?.accepted ?? 0)
    this.ended.inc({ finished_reason: reason })
    this.whole.observe(ms / 1000)
    if (tokens.length > 0) this.depth.observe({ policy: depth.split(':', 1)[0] as string }, meanDepth / layers)
  }

  text({ running, waiting, kv }: EngineStatus): Promise<string> {
    this.running.set(running)
    this.waiting.set(waiting)
    this.kvUsage.set(kv.mostBytes === 0 ? 0 : (kv.reservedBytes + kv.idleBytes) / kv.mostBytes)
    return this.registry.metrics()
  }

  private gauge(name: string, help: string): Gauge {
    return new Gauge({ name: `shoal:${name}`, help, registers: [this.registry] })
  }

  private counter(name: string, help: string): Counter {
    return new Counter({ name: `shoal:${name}`, help, registers: [this.registry] })
  }

  private histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name: `shoal:${name}`, help, buckets, registers: [this.registry] })
  }
}
