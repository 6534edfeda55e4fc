import type { ConfigReader } from '../config-reader.js'
import type { TensorSource } from '../safetensors.js'
import { float8Tensors } from './float8-weights.js'
import { nvfp4Tensor } from './nvfp4.js'
import type { QuantizedTensor } from './quantized-tensor.js'

const ALGORITHMS = ['FP8', 'FP8_PER_CHANNEL_PER_TOKEN', 'NVFP4', 'W4A16_NVFP4', 'MIXED_PRECISION']

/**
 * The matrices of a checkpoint of NVIDIA's ModelOpt: X.weight F8_E4M3 with X.weight_scale, or X.weight U8 with two E2M1
 * numbers in a byte, X.weight_scale for each 16 and X.weight_scale_2 for all.
 */
export async function modeloptTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  quantization.only('quant_algo', ALGORITHMS)
  const tensors = await float8Tensors(weights, quantization)
  for (const part of weights.tensors.values()) {
    if (!part.name.endsWith('.weight') || part.dtype !== 'U8') continue
    const module = part.name.slice(0, -'.weight'.length)
    tensors.push(await nvfp4Tensor(weights, module, part, { name: `${part.name}_scale_2`, reciprocal: false }))
  }
  return tensors
}
