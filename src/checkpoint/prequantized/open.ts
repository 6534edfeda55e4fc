import { FileError } from '../../errors.js'
import type { ConfigReader } from '../config-reader.js'
import type { TensorSource } from '../safetensors.js'
import { autoRoundTensors } from './auto-round.js'
import { awqTensors } from './awq.js'
import { bitsandbytesTensors } from './bitsandbytes.js'
import { compressedTensors } from './compressed-tensors.js'
import { float8Tensors } from './float8-weights.js'
import { gptqTensors } from './gptq.js'
import { modeloptTensors } from './modelopt.js'
import { mxfp4Tensors } from './mxfp4.js'
import { findQuantization, type Scheme } from './quantization-config.js'
import type { QuantizedTensor } from './quantized-tensor.js'
import { type PrequantizedSource, quantizedView } from './view.js'

const READERS: Readonly<
  Record<Scheme, (weights: TensorSource, config: ConfigReader) => Promise<QuantizedTensor[]> | QuantizedTensor[]>
> = {
  gptq: gptqTensors,
  awq: awqTensors,
  'auto-round': autoRoundTensors,
  'compressed-tensors': compressedTensors,
  fp8: float8Tensors,
  modelopt: modeloptTensors,
  mxfp4: mxfp4Tensors,
  bitsandbytes: bitsandbytesTensors,
}

/** Parts that are in no checkpoint but a quantised one. */
const SURE_PART = /\.(qweight|weight_(packed|scale|scale_inv|scale_2)|qscale_weight|SCB|absmax)$/

/**
 * The tensors of a checkpoint as a model has them: where config.json says that matrices are quantised, each is one tensor in
 * the place of its parts. Sizes, dtypes, groups and scales of all of them are checked here; of the values, scales and zero
 * points are read, to see which matrices a GGUF type keeps exactly. Closing the view closes `weights`.
 * @param config config.json
 * @throws FileError for parts that do not fit each other or the configuration, UnsupportedError for what is not read
 */
export async function openPrequantized(config: ConfigReader, weights: TensorSource): Promise<PrequantizedSource> {
  const quantization = await findQuantization(config)
  if (quantization === null) {
    const part = [...weights.tensors.keys()].find((name) => SURE_PART.test(name))
    if (part === undefined) return { ...weights, summary: null, fallbackType: null }
    throw new FileError(
      weights.fileOf(part),
      `tensor ${part} is part of a quantised matrix, but config.json has no quantization_config`,
    )
  }
  return quantizedView(weights, await READERS[quantization.scheme](weights, quantization.config))
}
