import { dirname, join } from 'node:path'
import { FileError, UnsupportedError } from '../../errors.js'
import { CONFIG_LIMITS, isJsonObject } from '../../json.js'
import { ConfigReader } from '../config-reader.js'
import { readOptionalJsonFile } from '../text-file.js'

/** Ways of quantising whose folders are read. */
export type Scheme =
  | 'gptq'
  | 'awq'
  | 'auto-round'
  | 'compressed-tensors'
  | 'fp8'
  | 'modelopt'
  | 'mxfp4'
  | 'bitsandbytes'

export interface Quantization {
  readonly scheme: Scheme
  readonly config: ConfigReader
}

/** What `quant_method` may say, and which scheme reads it. */
const METHODS: Readonly<Record<string, Scheme>> = {
  gptq: 'gptq',
  awq: 'awq',
  'auto-round': 'auto-round',
  'intel/auto-round': 'auto-round',
  'compressed-tensors': 'compressed-tensors',
  fp8: 'fp8',
  fbgemm_fp8: 'fp8',
  mxfp8: 'fp8',
  modelopt: 'modelopt',
  modelopt_fp4: 'modelopt',
  mxfp4: 'mxfp4',
  bitsandbytes: 'bitsandbytes',
}

/**
 * How a checkpoint says that it is quantised: `quantization_config` or `compression_config` of config.json or of its
 * text_config, or hf_quant_config.json (ModelOpt) or quantize_config.json (AutoGPTQ) beside it; null where it does not.
 * @throws UnsupportedError naming a way of quantising that is not read
 */
export async function findQuantization(config: ConfigReader): Promise<Quantization | null> {
  const found = [config, config.object('text_config')]
    .flatMap((reader) => [reader?.object('quantization_config') ?? null, reader?.object('compression_config') ?? null])
    .find((reader) => reader !== null && Object.keys(reader.fields).length > 0)
  if (found !== undefined && found !== null) return { scheme: schemeOf(found), config: found }
  if (config.object('quantization')?.has('bits')) throw mlx(config, 'quantization')
  return (await modeloptFile(dirname(config.path))) ?? autogptqFile(dirname(config.path))
}

async function modeloptFile(folder: string): Promise<Quantization | null> {
  const path = join(folder, 'hf_quant_config.json')
  const file = await readOptionalJsonFile(path, CONFIG_LIMITS)
  if (file === null) return null
  const quantization = new ConfigReader(path, file).object('quantization')
  const { producer } = file
  if (quantization === null || !isJsonObject(producer) || producer.name !== 'modelopt') {
    throw new FileError(path, 'names no quantization of the producer modelopt')
  }
  return quantization.has('quant_algo') ? { scheme: 'modelopt', config: quantization } : null
}

/** What AutoGPTQ wrote before transformers had a place for it. */
async function autogptqFile(folder: string): Promise<Quantization | null> {
  const path = join(folder, 'quantize_config.json')
  const file = await readOptionalJsonFile(path, CONFIG_LIMITS)
  if (file === null) return null
  const config = new ConfigReader(path, file)
  return { scheme: config.has('quant_method') ? schemeOf(config) : 'gptq', config }
}

function schemeOf(quantization: ConfigReader): Scheme {
  if (!quantization.has('quant_method')) {
    if (quantization.fields.load_in_4bit === true || quantization.fields.load_in_8bit === true) return 'bitsandbytes'
    if (quantization.has('config_groups') && quantization.has('format')) return 'compressed-tensors'
  }
  if (!quantization.has('quant_method') && quantization.has('bits')) throw mlx(quantization, 'quantization_config')
  const method = quantization.string('quant_method')
  const scheme = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined
  if (scheme !== undefined) return scheme
  throw new UnsupportedError(
    `${quantization.path}: quant_method ${JSON.stringify(method)} of quantization_config is not read; ` +
      'take the unquantised checkpoint or a GGUF file of the model',
  )
}

/** MLX names no method, only bits and group size; its codes lie in other words. */
function mlx({ path }: ConfigReader, field: string): UnsupportedError {
  return new UnsupportedError(
    `${path}: ${field} is as MLX writes it, whose layout is not read; take the unquantised checkpoint or a GGUF file of the model`,
  )
}
