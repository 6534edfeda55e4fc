import { UnsupportedError } from '../../errors.js'
import { ConfigReader } from '../config-reader.js'
import type { TensorSource } from '../safetensors.js'
import { awqTensors } from './awq.js'
import { gptqModules, readSetting } from './gptq.js'
import type { QuantizedTensor } from './quantized-tensor.js'

/** Packings in the layout of GPTQ, and what is added to their zero points; `auto_round` is AutoRound's own name. */
const GPTQ_PACKINGS: Readonly<Record<string, 0 | 1>> = {
  auto: 1,
  'auto_round:gptq': 1,
  'auto_round:auto_gptq': 1,
  'auto_round:gptqmodel': 0,
  auto_round: 0,
}
const AWQ_PACKINGS = ['auto_round:awq', 'auto_round:auto_awq']

/**
 * The matrices of a checkpoint of AutoRound that are whole numbers in GPTQ's layout, which it writes without X.g_idx, or in
 * AWQ's. `extra_config` gives other bits or groups to some modules.
 */
export async function autoRoundTensors(weights: TensorSource, quantization: ConfigReader): Promise<QuantizedTensor[]> {
  quantization.only('data_type', ['int'])
  quantization.only('super_bits', [])
  const packing = quantization.string('packing_format')
  if (AWQ_PACKINGS.includes(packing)) {
    const { bits, group_size } = quantization.fields
    return awqTensors(weights, new ConfigReader(quantization.path, { bits, group_size }))
  }
  const zeroOffset = Object.hasOwn(GPTQ_PACKINGS, packing) ? GPTQ_PACKINGS[packing] : undefined
  if (zeroOffset === undefined) {
    throw new UnsupportedError(
      `${quantization.path}: AutoRound's packing_format ${JSON.stringify(packing)} is not read; ` +
        'take the unquantised checkpoint or a GGUF file of the model',
    )
  }
  const usual = readSetting(quantization)
  const settings = [usual]
  const extra = quantization.object('extra_config')
  for (const name of Object.keys(extra?.fields ?? {})) {
    const fields = extra?.object(name) ?? null
    // 16 bits and more: a module that has a plain weight.
    if (fields === null || (fields.has('bits') && fields.count('bits') >= 16)) continue
    fields.only('data_type', ['int'])
    settings.push(readSetting(fields, usual))
  }
  const symmetric = quantization.boolean('sym', { default: true })
  return gptqModules(weights, { label: 'AutoRound', settings, zeroOffset, symmetric })
}
