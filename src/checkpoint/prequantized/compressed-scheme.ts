import { FileError, UnsupportedError } from '../../errors.js'
import type { ConfigReader } from '../config-reader.js'
import { blockGrid, channelGrid, type ScaleGrid, tensorGrid } from './grid.js'

/** How the weights of a group of modules are quantised, as compressed-tensors writes it down. */
export interface WeightScheme {
  readonly type: 'int' | 'float'
  readonly bits: number
  readonly symmetric: boolean
  readonly strategy: 'tensor' | 'channel' | 'group' | 'block' | 'tensor_group'
  /** Columns per group; 0 where the strategy has none. */
  readonly groupSize: number
  /** Rows and columns of a block; [0, 0] where the strategy has none. */
  readonly block: readonly [number, number]
}

const FORMATS = [
  'dense',
  'pack-quantized',
  'int-quantized',
  'float-quantized',
  'naive-quantized',
  'mixed-precision',
  'nvfp4-pack-quantized',
  'mxfp4-pack-quantized',
  'mxfp8-quantized',
]

/**
 * The weight schemes of a `quantization_config` of compressed-tensors, each once. Which modules a scheme is for is not read:
 * what is stored tells it. Errors: UnsupportedError for layouts and transforms that are not read, FileError.
 */
export function weightSchemes(quantization: ConfigReader): WeightScheme[] {
  quantization.only('format', FORMATS)
  refuseUnlessEmpty(quantization, 'transform_config')
  refuseUnlessEmpty(quantization, 'moe_sparsity_config')
  const sparsity = quantization.object('sparsity_config')
  if (sparsity !== null) sparsity.only('format', ['dense'])
  const groups = quantization.object('config_groups')
  if (groups === null) throw new FileError(quantization.path, 'quantization_config has no config_groups')
  const schemes = new Map<string, WeightScheme>()
  for (const name of Object.keys(groups.fields)) {
    const group = groups.object(name)
    group?.only('format', FORMATS)
    const weights = group?.object('weights') ?? null
    if (weights === null) continue
    const scheme = readScheme(weights)
    schemes.set(JSON.stringify(scheme), scheme)
  }
  return [...schemes.values()]
}

function readScheme(weights: ConfigReader): WeightScheme {
  weights.only('dynamic', [false])
  weights.only('type', ['int', 'float'])
  weights.only('strategy', ['tensor', 'channel', 'group', 'block', 'tensor_group'])
  const type = weights.string('type', { default: 'int' }) as WeightScheme['type']
  const bits = weights.count('num_bits', { default: 8, max: 16 })
  if (type === 'int' ? bits > 8 : bits !== 8 && bits !== 4) throw weights.unsupported('num_bits')
  const size = weights.count('group_size', { default: 0, min: -1 })
  const implied = size > 0 ? 'group' : size === -1 ? 'channel' : 'tensor'
  const strategy = weights.string('strategy', { default: implied }) as WeightScheme['strategy']
  const grouped = strategy === 'group' || strategy === 'tensor_group'
  if (grouped && size <= 0)
    throw new FileError(weights.path, `strategy ${strategy} of quantization_config has no group_size`)
  return {
    type,
    bits,
    symmetric: weights.boolean('symmetric', { default: true }),
    strategy,
    groupSize: grouped ? size : 0,
    block: strategy === 'block' ? readBlock(weights) : [0, 0],
  }
}

/** `[128, 128]`, or `128x128` as older versions write it. */
function readBlock(weights: ConfigReader): readonly [number, number] {
  const stored = weights.fields.block_structure
  const text = typeof stored === 'string' ? stored : Array.isArray(stored) ? stored.join('x') : ''
  const match = /^([1-9]\d{0,5})x([1-9]\d{0,5})$/.exec(text)
  if (match === null) throw weights.unsupported('block_structure')
  return [Number(match[1]), Number(match[2])]
}

/** Rotations change what a matrix is multiplied with, and experts that are pruned what is there at all. */
function refuseUnlessEmpty(quantization: ConfigReader, field: string): void {
  const value = quantization.fields[field]
  if (value === undefined || value === null) return
  if (typeof value === 'object' && Object.keys(value).length === 0) return
  throw new UnsupportedError(
    `${quantization.path}: quantization_config.${field} is not supported; take the unquantised checkpoint or a GGUF file of the model`,
  )
}

/** How the scales of a matrix lie under a scheme. */
export function gridOf({ strategy, groupSize, block }: WeightScheme, rows: number, columns: number): ScaleGrid {
  if (strategy === 'tensor') return tensorGrid(rows, columns)
  if (strategy === 'channel') return channelGrid(columns)
  return strategy === 'block' ? blockGrid(columns, block[0], block[1]) : blockGrid(columns, 1, groupSize)
}
