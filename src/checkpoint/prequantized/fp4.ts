import type { SafetensorsTensor, TensorSource } from '../safetensors.js'

/** E2M1 numbers by their four bits (OCP microscaling formats). */
export const E2M1: Float32Array = Float32Array.from([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6])

/**
 * Four-bit codes of a part that keeps two in a byte, the first in the lower half.
 * @param first the first code, even
 * @param into as many codes as it holds, an even number
 */
export async function readNibbles(
  weights: TensorSource,
  part: SafetensorsTensor,
  first: number,
  into: Uint8Array,
): Promise<void> {
  // The bytes go into the upper half and expand in place from the front.
  const bytes = into.subarray(into.length / 2)
  await weights.readBytes(part.name, first / 2, bytes)
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!
    into[2 * i] = byte & 15
    into[2 * i + 1] = byte >> 4
  }
}
