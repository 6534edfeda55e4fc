import type { StepCosts } from '../depth/measurement.js'
import type { Depth, Policy } from '../depth/policy.js'
import type { BeamSearchOptions, BeamSearchResult, CostsOptions, EngineStatus, PolicyOptions } from './api.js'
import type {
  ForcedText,
  PlanLosses,
  PlanLossOptions,
  Prediction,
  PredictOptions,
  Score,
  ScoreOptions,
  Trace,
  TraceOptions,
} from './known-text.js'
import type { GenerationRequest } from './schedule/generation-request.js'
import type { GenerationSink } from './schedule/generation-stream.js'

/** Options of a call whose depth is known: the caller's, or the model's own. */
export type WithDepth<Options> = Options & { readonly depth: Depth }

/**
 * What a model asks of those who compute: token ids in, which its vocabulary has and which fit the context, and tokens, logits and
 * measurements out. It may live in this thread, in another, or in another process.
 */
export interface ModelService {
  /**
   * Throws SpecError at once where a SPEC is wrong; all else the sink is told.
   * @param chat continues that chat's sequence, begun where there is none
   */
  generate(request: GenerationRequest, sink: GenerationSink, signal: AbortSignal, chat: number | null): void
  /** Throws SpecError at once where a SPEC is wrong; begins to measure what it needs. */
  prepare(depth: Depth): void
  /** Gives back what a chat keeps in the KV cache. */
  releaseChat(chat: number): void
  beamSearch(ids: readonly number[], options: WithDepth<BeamSearchOptions>): Promise<BeamSearchResult>
  trace(ids: readonly number[], options: TraceOptions): Promise<Trace>
  score(ids: readonly number[], options: WithDepth<ScoreOptions>): Promise<Score>
  predict(ids: readonly number[], options: WithDepth<PredictOptions>): Promise<Prediction>
  planLosses(texts: readonly ForcedText[], options: PlanLossOptions): PlanLosses
  policy(depth: Depth, options: PolicyOptions): Promise<Policy>
  costs(batch: number, options: CostsOptions): Promise<StepCosts>
  status(): Promise<EngineStatus>
  dispose(): Promise<void>
}
