import type { Label } from '../depth/policy-file.js'
import { InputError } from '../errors.js'
import type { TraceInstance } from './traces.js'

/** Labels of every layer of one instance, [L] of 0 and 1. Throws InputError where the answer that they need is unknown. */
export function labelsOf(label: Label, { agree, correct, task }: TraceInstance): Uint8Array {
  switch (label) {
    case 'agreement':
      return agree
    case 'stable':
      // 1 from the first layer from which the argmax stays the last layer's.
      return new Uint8Array(agree.length).fill(1, agree.lastIndexOf(0) + 1)
    case 'first-match':
      // The last layer agrees with itself, so there is a first.
      return new Uint8Array(agree.length).fill(1, agree.indexOf(1))
    case 'correctness':
      if (correct === null)
        throw new InputError(`label=correctness needs traces with the gold answer; task ${task} lacks it`)
      return correct
  }
}
