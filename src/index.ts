export type { Quantization } from './checkpoint/tensor-type.js'
export type { Tokenizer } from './checkpoint/tokenizer.js'
export type {
  Check,
  ExitPolicy,
  Plan,
  Policy,
  PolicyNeeds,
  SequenceInfo,
  SkipPolicy,
  TokenInfo,
} from './depth/policy.js'
export { parseDepth } from './depth/spec.js'
export type * from './engine/api.js'
export { loadModel } from './engine/load.js'
export { type ErrorCode, FileError, InputError, ShoalError, SpecError, UnsupportedError } from './errors.js'
export type { Hyperparameters } from './families/family.js'
