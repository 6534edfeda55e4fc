import { TENSOR_TYPES } from '../../checkpoint/tensor-type.js'
import { UnsupportedError } from '../../errors.js'
import type { Hyperparameters } from '../../families/hyperparameters.js'

/** What keys and values are kept as; q8_0 takes 34 bytes for 32 elements. */
export const KV_TYPES = ['f32', 'f16', 'q8_0'] as const
export type KvType = (typeof KV_TYPES)[number]

/** Bytes of an element; of q8_0 with its share of the block's scale. */
export function kvElementBytes(type: KvType): number {
  const { blockBytes, blockSize } = TENSOR_TYPES[type]
  return blockBytes / blockSize
}

/** Throws where a model's keys cannot be kept so: what attends reads whole heads, and reads q8_0 by a kernel that knows no ALiBi beyond f16. */
export function checkKvType(type: KvType, h: Hyperparameters, name: string): void {
  const { blockSize } = TENSOR_TYPES[type]
  if (blockSize === 1) return
  const odd = h.layer.find(({ state }) => state.headDim % blockSize !== 0)
  const why =
    h.maxBias !== undefined
      ? 'it has ALiBi'
      : odd && `its heads have ${odd.state.headDim} elements, not a multiple of ${blockSize}`
  if (why) throw new UnsupportedError(`${name} cannot keep its keys and values in ${type}: ${why}`)
}
