import type { Package } from '../../convert/package.js'
import type { Bridge } from '../../depth/bridge.js'
import type { Measurement, StepCosts } from '../../depth/measurement.js'
import type { Plan } from '../../depth/plan.js'
import type { PromptPass } from '../../depth/policy.js'
import type { BeamSearchOptions, BeamSearchResult, EngineStatus } from '../api.js'
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
} from '../known-text.js'
import type { HereOptions } from '../load-here.js'
import type { ModelFacts } from '../model.js'
import type { GenerationRequest } from '../schedule/generation-request.js'
import type { WirePolicy } from './wire-policy.js'

/** What a package says beside its file, which the caller reads itself. */
export type WirePackage = Omit<Package, 'gguf'>

/** A SPEC, or a user's own policy, which the runner asks the caller about. */
export type WireDepth = string | WirePolicy

/** Options that a message carries: signals and functions stay with the caller. */
type Plain<Options> = Omit<Options, 'signal' | 'progress' | 'onPass' | 'onProgress' | 'onLayer' | 'depth'>

type OfOptions = Omit<NonNullable<Parameters<PlanLosses['of']>[1]>, 'signal' | 'start'>
type RiseOptions = Omit<Parameters<PlanLosses['rise']>[0], 'signal'>

/** What is measured with the engine; files of bridges are read by who needs them. */
export type MadeMeasurement = Exclude<Measurement, { kind: 'bridges' }>

/** What a runner can be asked for. */
export interface Calls {
  load: {
    args: { readonly model: string | undefined; readonly options: Plain<HereOptions>; readonly wantsProgress: boolean }
    result: Omit<ModelFacts, 'package'>
  }
  generate: {
    args: {
      readonly request: Omit<GenerationRequest, 'depth'>
      readonly depth: WireDepth
      readonly chat: number | null
    }
    result: undefined
  }
  releaseChat: { args: number; result: undefined }
  beamSearch: {
    args: { readonly ids: readonly number[]; readonly depth: WireDepth; readonly options: Plain<BeamSearchOptions> }
    result: BeamSearchResult
  }
  trace: {
    args: { readonly ids: readonly number[]; readonly options: Plain<TraceOptions>; readonly wantsLayers: boolean }
    result: Trace
  }
  score: {
    args: {
      readonly ids: readonly number[]
      readonly depth: WireDepth
      readonly options: Plain<ScoreOptions>
      readonly wantsProgress: boolean
    }
    result: Score
  }
  predict: {
    args: { readonly ids: readonly number[]; readonly depth: WireDepth; readonly options: Plain<PredictOptions> }
    result: Prediction
  }
  measure: {
    args: { readonly measurement: MadeMeasurement; readonly anew: boolean }
    result: StepCosts | readonly number[] | number
  }
  openLosses: {
    args: { readonly losses: number; readonly texts: readonly ForcedText[]; readonly options: PlanLossOptions }
    result: undefined
  }
  lossesOf: {
    args: {
      readonly losses: number
      readonly plan: Plan
      readonly options: OfOptions
      readonly startLayer: number | null
    }
    result: Float64Array
  }
  riseLosses: { args: { readonly losses: number; readonly rise: RiseOptions }; result: undefined }
  /** While a visit of `riseLosses` lasts: events `row` tell what the head says of the rows. */
  readHead: {
    args: { readonly losses: number; readonly rows: readonly number[]; readonly lens: Bridge | null }
    result: undefined
  }
  promptLosses: { args: { readonly losses: number }; result: readonly PromptPass[] }
  closeLosses: { args: { readonly losses: number }; result: undefined }
  status: { args: undefined; result: EngineStatus }
  dispose: { args: undefined; result: undefined }
}

/** Hidden rows that a visit sees. */
export interface WireRows {
  readonly layer: number
  readonly count: number
  /** [count, H] */
  readonly hidden: Float32Array
  /** [count, H], where the visit asked for the layer's MLP. */
  readonly mlp: Float32Array | null
}

/** Rows that a visit has put in the place of others, by their index. */
export type WrittenRows = readonly (readonly [number, Float32Array])[]
