import { type CrfClassifier, decide, startDecision } from '../depth/classifier.js'
import type { PolicyFile } from '../depth/policy-file.js'
import { FileError } from '../errors.js'
import { crfMarginals } from './crf.js'
import { inputsOf } from './samples.js'
import { type TraceInstance, type TraceSet, wholeHead } from './traces.js'

/** What a policy says of one traced instance, as it would online. */
export interface Applied {
  /** Online value at each checked layer: an SVM's signed value, otherwise a probability. [checks] */
  readonly decision: Float64Array
  /** For a CRF: marginals of label 1 over the whole sequence of checks. [checks] */
  readonly smoothed: Float64Array | null
  /** Layer of the exit; L - 1 where none fires. */
  readonly exit: number
}

/**
 * Runs a policy over traces.
 * @throws FileError where they are of another number of layers, lack a feature, or have not the features of its check head
 */
export function applyPolicy(file: PolicyFile, given: TraceSet): Applied[] {
  const traces = file.check_tokens === null ? wholeHead(given) : given
  if (traces.layers !== file.model.layers) {
    throw new FileError(
      traces.path,
      `the traces have ${traces.layers} layers and the policy is for ${file.model.layers}`,
    )
  }
  if (String(traces.checkTokens ?? '') !== String(file.check_tokens ?? '')) {
    throw new FileError(
      traces.path,
      `the traces lack what the policy looks at, a check head of its own ${file.check_tokens?.length} tokens; shoal eval with --depth adainfer:FILE runs the policy on the model`,
    )
  }
  if ((file.lens?.sha256 ?? null) !== traces.lens) {
    throw new FileError(
      traces.path,
      file.lens === null
        ? 'the traces were read through a lens, and the policy reads layers as they are'
        : `the traces were not read through the policy's lens; shoal trace --task NAME --lens ${file.lens.file} writes such`,
    )
  }
  return traces.instances.map((instance) => applyToInstance(file, traces, instance))
}

function applyToInstance(file: PolicyFile, traces: TraceSet, instance: TraceInstance): Applied {
  const { classifiers, kind, checked_layers: checked } = file
  const rows = inputsOf(traces, instance, file)
  const state = startDecision()
  const decision = Float64Array.from(rows, (row) => decide(classifiers, kind === 'adainfer-logistic', row, state))
  return {
    decision,
    smoothed: kind === 'adainfer-crf' ? crfMarginals(classifiers as readonly CrfClassifier[], rows) : null,
    exit: exitLayer(decision, file.threshold, checked, traces.layers),
  }
}

/** The first checked layer whose value is greater than the threshold, else the last layer. */
export function exitLayer(
  decision: ArrayLike<number>,
  threshold: number | null,
  checked: readonly number[],
  layers: number,
): number {
  if (threshold === null) return layers - 1
  const check = checked.findIndex((_, i) => decision[i]! > threshold)
  return check < 0 ? layers - 1 : checked[check]!
}
