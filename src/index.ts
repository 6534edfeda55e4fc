export type { Quantization } from './checkpoint/tensor-type.js'
export { loadTokenizer, type TokenizerOptions } from './convert/load-tokenizer.js'
export type { Bridge, BridgeInput, BridgeMatrix } from './depth/bridge.js'
export type { Plan } from './depth/plan.js'
export type {
  Check,
  ExitPolicy,
  Policy,
  PolicyNeeds,
  SequenceInfo,
  SkipPolicy,
  TokenInfo,
} from './depth/policy.js'
export { parseDepth } from './depth/spec.js'
export type * from './engine/api.js'
export type * from './engine/known-text.js'
export { loadModel } from './engine/load.js'
export {
  type ErrorCode,
  FileError,
  HubError,
  type HubProblem,
  InputError,
  ShoalError,
  SpecError,
  UnsupportedError,
} from './errors.js'
export type { Hyperparameters } from './families/hyperparameters.js'
export type { DecodeOptions, EncodeOptions, Tokenizer } from './tokenizer/tokenizer.js'
