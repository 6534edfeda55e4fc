import type { GeneratedToken } from '../api.js'
import type { GenerationProgress, GenerationSink, GenerationStart } from '../schedule/generation-stream.js'

/**
 * Tokens of a generation cross to the caller at most once in so many ms: waking its thread takes a core from those that compute. Nobody
 * reads faster.
 */
const SPACE_MS = 20

/** Hands on what comes of a generation, tokens that come fast in groups. */
export class SpacedSink implements GenerationSink {
  private tokens: GeneratedToken[] = []
  private progress: GenerationProgress | null = null
  private timer: NodeJS.Timeout | null = null
  private last = Number.NEGATIVE_INFINITY

  constructor(private readonly to: GenerationSink) {}

  begun(start: GenerationStart): void {
    this.to.begun(start)
  }

  said(tokens: readonly GeneratedToken[], progress: GenerationProgress): void {
    this.tokens.push(...tokens)
    this.progress = progress
    if (this.timer !== null) return
    const rest = this.last + SPACE_MS - performance.now()
    if (rest <= 0) this.flush()
    else this.timer = setTimeout(() => this.flush(), rest)
  }

  ended(error?: unknown): void {
    this.flush()
    this.to.ended(error)
  }

  private flush(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
    if (this.progress === null) return
    this.to.said(this.tokens, this.progress)
    this.tokens = []
    this.progress = null
    this.last = performance.now()
  }
}
