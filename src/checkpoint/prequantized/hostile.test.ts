import { readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileError, MAX_MESSAGE, ShoalError, UnsupportedError } from '../../errors.js'
import { readConfig } from '../huggingface.js'
import { SAFETENSORS_DTYPES, type SafetensorsDtype } from '../safetensors-header.js'
import { createSafetensorsWriter } from '../safetensors-write.js'
import { openWeights } from '../sharded.js'
import { openPrequantized } from './open.js'

const FIXTURES = 'test/fixtures/prequantized'
const LAYER = 'model.layers.0.self_attn.q_proj'

interface Stored {
  dtype: SafetensorsDtype
  shape: number[]
  bytes: Uint8Array
}

/** A fixture in memory, to be changed. */
interface Checkpoint {
  config: Record<string, unknown>
  quantization: Record<string, unknown>
  tensors: Map<string, Stored>
}

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-prequantized-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function load(name: string): Promise<Checkpoint> {
  const source = join(FIXTURES, name)
  const config = JSON.parse(await readFile(join(source, 'config.json'), 'utf8')) as Record<string, unknown>
  const weights = await openWeights(source)
  const tensors = new Map<string, Stored>()
  for (const { name, dtype, shape, bytes } of weights.tensors.values()) {
    const content = new Uint8Array(bytes)
    await weights.readBytes(name, 0, content)
    tensors.set(name, { dtype, shape: [...shape], bytes: content })
  }
  await weights.close()
  return { config, quantization: (config.quantization_config ?? {}) as Record<string, unknown>, tensors }
}

/** Writes the checkpoint, opens it and reads all of it. */
async function readAll({ config, tensors }: Checkpoint): Promise<void> {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  const declarations = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }))
  const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
  for (const [name, { bytes }] of tensors) await writer.append(name, bytes)
  await writer.finish()
  const weights = await openWeights(folder)
  try {
    const view = await openPrequantized(await readConfig(folder), weights)
    for (const name of view.tensors.keys()) if (name.startsWith('model.layers')) await view.readFloats(name)
  } finally {
    await weights.close()
  }
}

async function failure(name: string, change: (checkpoint: Checkpoint) => void): Promise<ShoalError> {
  const checkpoint = await load(name)
  change(checkpoint)
  const error = await readAll(checkpoint).then(
    () => null,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(ShoalError)
  const { message } = error as ShoalError
  expect(message).not.toContain('\n')
  expect(message.length).toBeLessThanOrEqual(MAX_MESSAGE)
  return error as ShoalError
}

function part({ tensors }: Checkpoint, name: string): Stored {
  const stored = tensors.get(`${LAYER}.${name}`)
  if (stored === undefined) throw new Error(`no ${name}`)
  return stored
}

/** The part with another shape, its bytes cut or filled up with zeros. */
function reshape(stored: Stored, shape: number[]): void {
  const bytes = new Uint8Array(shape.reduce((product, n) => product * n, SAFETENSORS_DTYPES[stored.dtype]))
  bytes.set(stored.bytes.subarray(0, bytes.length))
  Object.assign(stored, { shape, bytes })
}

type Change = (checkpoint: Checkpoint) => void
const config =
  (fields: Record<string, unknown>): Change =>
  ({ quantization }) =>
    void Object.assign(quantization, fields)
const drop =
  (name: string): Change =>
  ({ tensors }) =>
    void tensors.delete(`${LAYER}.${name}`)
const resize =
  (name: string, shape: number[]): Change =>
  (checkpoint) =>
    reshape(part(checkpoint, name), shape)
const cast =
  (name: string, dtype: SafetensorsDtype, shape: number[]): Change =>
  (checkpoint) => {
    part(checkpoint, name).dtype = dtype
    reshape(part(checkpoint, name), shape)
  }
const poke =
  (name: string, at: number, ...bytes: number[]): Change =>
  (checkpoint) =>
    part(checkpoint, name).bytes.set(bytes, at)
const add =
  (name: string, dtype: SafetensorsDtype, shape: number[]): Change =>
  ({ tensors }) =>
    void tensors.set(`${LAYER}.${name}`, {
      dtype,
      shape,
      bytes: new Uint8Array(shape.reduce((a, b) => a * b, SAFETENSORS_DTYPES[dtype])),
    })
const weights =
  (fields: Record<string, unknown>): Change =>
  ({ quantization }) => {
    const groups = quantization.config_groups as { group_0: { weights: Record<string, unknown> } }
    Object.assign(groups.group_0.weights, fields)
  }
/** Other fields in the state of a 4-bit matrix, or another text in its place. */
const state =
  (change: Record<string, unknown> | string): Change =>
  (checkpoint) => {
    const stored = part(checkpoint, 'weight.quant_state.bitsandbytes__nf4')
    const fields = JSON.parse(new TextDecoder().decode(stored.bytes)) as Record<string, unknown>
    const text = typeof change === 'string' ? change : JSON.stringify({ ...fields, ...change })
    const bytes = new TextEncoder().encode(text)
    Object.assign(stored, { bytes, shape: [bytes.length] })
  }

/** A fixture, what is done to it, and what the message says. */
const DAMAGED: readonly (readonly [string, string, Change, string])[] = [
  ['gptq-4-sym', 'no scales', drop('scales'), `${LAYER}.qweight has no ${LAYER}.scales beside it`],
  ['gptq-4-asym-v2', 'no zero points', drop('qzeros'), `has no ${LAYER}.qzeros beside it`],
  ['gptq-4-sym', 'words cut', resize('qweight', [11, 32]), 'qweight is I32 [11, 32], [12, 32] was expected'],
  ['gptq-4-sym', 'other bits than config.json', config({ bits: 8 }), 'is I32 [12, 32], [24, 32] was expected'],
  ['gptq-4-sym', 'words that are none', cast('qweight', 'F32', [12, 32]), 'is F32 [12, 32], I32 was expected'],
  ['gptq-4-sym', 'no matrix', resize('qweight', [384]), 'a matrix was expected'],
  ['gptq-4-sym', 'an empty matrix', resize('qweight', [0, 32]), 'a matrix was expected'],
  ['gptq-4-sym', 'a group beyond the last', poke('g_idx', 4, 3), 'g_idx gives group 3 for column 1, there are 3'],
  ['gptq-4-sym', 'a group below the first', poke('g_idx', 4, 255, 255, 255, 255), 'gives group -1 for column 1'],
  ['gptq-4-sym', 'too few groups', resize('scales', [2, 32]), 'scales is F16 [2, 32], [3, 32] was expected'],
  ['gptq-4-sym', 'too few zero points', resize('qzeros', [3, 3]), 'qzeros is I32 [3, 3], [3, 4] was expected'],
  ['gptq-4-sym', 'a scale that is NaN', poke('scales', 0, 0, 0x7e), 'scales holds NaN: the checkpoint is damaged'],
  ['gptq-4-sym', 'columns that differ', resize('g_idx', [88]), 'was expected'],
  ['gptq-4-sym', 'a weight twice', add('weight', 'F32', [32, 96]), 'is there twice, plain and as'],
  ['gptq-4-sym', 'a stray part', add('weight_scale', 'F32', [1]), 'belongs to no matrix that is quantised'],
  [
    'gptq-dynamic',
    'no group size that fits',
    config({ group_size: 64 }),
    'scales is F16 [3, 32], [2, 32] was expected',
  ],
  [
    'auto-round-gptq',
    'bits that nothing says',
    config({ extra_config: {} }),
    'v_proj.scales is F16 [1, 32], [6, 32] was expected',
  ],
  ['awq-4', 'no zero points', drop('qzeros'), `has no ${LAYER}.qzeros beside it`],
  ['awq-4', 'other groups', config({ group_size: 48 }), 'scales is F16 [3, 32], [2, 32] was expected'],
  ['awq-4', 'zero points that there are not', config({ zero_point: false }), 'holds zero points, though'],
  ['awq-4', 'zero points of another shape', resize('qzeros', [3, 5]), '[3, 4] was expected'],
  ['ct-int4-sym', 'no scale', drop('weight_scale'), `has no ${LAYER}.weight_scale beside it`],
  ['ct-int4-sym', 'no shape', drop('weight_shape'), `has no ${LAYER}.weight_shape beside it`],
  ['ct-int4-sym', 'a shape that lies', poke('weight_shape', 8, 97), 'what weight_shape [32, 97]'],
  ['ct-int4-sym', 'a shape below zero', poke('weight_shape', 8, 160, 255, 255, 255, 255, 255, 255, 255), '[32, -96]'],
  ['ct-int4-sym', 'another group size', weights({ group_size: 64 }), "the scales' shape make it was expected"],
  ['ct-int4-sym', 'other bits', weights({ num_bits: 8 }), "the scales' shape make it was expected"],
  ['ct-int4-sym', 'words cut', resize('weight_packed', [32, 11]), 'weight_packed is I32 [32, 11]'],
  ['ct-int4-asym', 'no zero points', drop('weight_zero_point'), `has no ${LAYER}.weight_zero_point beside it`],
  ['ct-int4-asym', 'too few zero points', resize('weight_zero_point', [3, 3]), '[4, 3] was expected'],
  ['ct-int4-actorder', 'a group beyond the last', poke('weight_g_idx', 0, 9), 'gives group 9 for column 0'],
  ['ct-int8-channel', 'too few scales', resize('weight_scale', [31, 1]), 'scales of a scheme of type int'],
  ['ct-int8-channel', 'an infinite scale', poke('weight_scale', 0, 0x80, 0x7f), 'holds Infinity'],
  ['ct-int8-asym', 'no zero points', drop('weight_zero_point'), 'beside it'],
  ['ct-fp8-block', 'too few scales', resize('weight_scale', [1, 3]), 'scales of a scheme of type float'],
  ['ct-nvfp4', 'a factor of zero', poke('weight_global_scale', 0, 0, 0, 0, 0), 'weight_global_scale holds 0'],
  [
    'ct-nvfp4',
    'no factor',
    drop('weight_global_scale'),
    '4-bit floats in groups of 16 (with weight_global_scale) or 32',
  ],
  ['ct-mxfp4', 'an exponent that is NaN', poke('weight_scale', 0, 255), 'weight_scale holds NaN'],
  ['ct-int8-channel', 'floats with scales', cast('weight', 'BF16', [32, 96]), 'belongs to no matrix that is quantised'],
  ['fp8-block', 'no scale', drop('weight_scale_inv'), `has no ${LAYER}.weight_scale_inv beside it`],
  ['fp8-block', 'too few scales', resize('weight_scale_inv', [1, 2]), 'one scale for [136, 144]'],
  ['fp8-block', 'another block', config({ weight_block_size: [64, 64] }), 'each block of 64 x 64'],
  ['fp8-tensor', 'a scale that is NaN', poke('weight_scale_inv', 0, 0, 0, 0xc0, 0x7f), 'weight_scale_inv holds NaN'],
  ['bnb-int8', 'scales of another shape', resize('SCB', [31]), '[32] was expected'],
  ['bnb-int8', 'many layouts', resize('weight_format', [9]), '[1] was expected'],
  ['bnb-int8', 'another layout', poke('weight_format', 0, 2), 'only rows (0) are read'],
  ['bnb-nf4', 'a shape that lies', state({ shape: [32, 64] }), 'which takes 1024'],
  ['bnb-nf4', 'a shape beyond all', state({ shape: [2 ** 40, 2 ** 40] }), 'not that of a matrix'],
  ['bnb-nf4', 'a shape of words', state({ shape: 'all' }), 'not that of a matrix'],
  ['bnb-nf4', 'blocks of nothing', state({ blocksize: 0 }), 'blocksize must be a whole number from 1'],
  ['bnb-nf4', 'other blocks', state({ blocksize: 128 }), 'absmax is F32 [32], [16]'],
  ['bnb-nf4', 'another type', state({ quant_type: 'fp4' }), 'quant_type = "fp4" is not supported'],
  ['bnb-nf4', 'no JSON', state('{"quant_type": '), 'is not valid JSON'],
  ['bnb-nf4', 'another table', poke('weight.quant_map', 60, 0, 0, 0, 0x40), 'quant_map is not the table of nf4'],
  ['bnb-nf4', 'no state', drop('weight.quant_state.bitsandbytes__nf4'), 'quant_state.bitsandbytes__nf4 beside it'],
  ['bnb-nf4-double', 'no nested table', drop('weight.nested_quant_map'), 'nested_quant_map beside it'],
  [
    'bnb-nf4-double',
    'nested scales cut',
    resize('weight.nested_absmax', [1]),
    'nested_absmax is F32 [1], [2] was expected',
  ],
  ['bnb-nf4-double', 'no nested blocks', state({ nested_blocksize: null }), 'nested_blocksize is missing'],
  ['bnb-nf4-double', 'no offset', state({ nested_offset: null }), 'nested_offset is missing'],
]

describe('what does not fit is refused', () => {
  it.each(DAMAGED)('%s: %s', async (name, _, change, message) => {
    const error = await failure(name, change)
    expect(error.message).toContain(message)
    expect(error.message).toContain(folder)
  })

  it('experts with other scales', async () => {
    const scales = 'model.layers.0.mlp.experts.down_proj_scales'
    const short = await failure('mxfp4', ({ tensors }) => reshape(tensors.get(scales)!, [2, 16, 2]))
    expect(short.message).toContain('down_proj_scales is U8 [2, 16, 2], [2, 16, 3] was expected')
    const gone = await failure('mxfp4', ({ tensors }) => void tensors.delete(scales))
    expect(gone.message).toContain('beside it')
  })

  it('a part without a quantization_config', async () => {
    const error = await failure('gptq-4-sym', ({ config }) => void delete config.quantization_config)
    expect(error).toBeInstanceOf(FileError)
    expect(error.message).toContain('is part of a quantised matrix, but config.json has no quantization_config')
  })

  it('two schemes that one matrix could have', async () => {
    const error = await failure('ct-int4-sym', (checkpoint) => {
      const groups = checkpoint.quantization.config_groups as Record<string, { weights: Record<string, unknown> }>
      const { weights } = groups.group_0!
      groups.group_1 = { weights: { ...weights, strategy: 'block', group_size: null, block_structure: [1, 32] } }
      groups.group_2 = { weights: { ...weights, group_size: 33 } }
    })
    expect(error.message).toContain('fits several schemes')
  })
})

/** Layouts and settings that are known and not read. */
const REFUSED: readonly (readonly [string, Change, string])[] = [
  ...['hqq', 'eetq', 'torchao', 'spqr', 'quip', 'aqlm', 'vptq', 'bitnet', 'quanto', 'higgs', 'quark'].map(
    (method) => ['gptq-4-sym', config({ quant_method: method }), `quant_method "${method}"`] as const,
  ),
  ['gptq-4-sym', config({ bits: 5 }), 'bits = 5 is not supported'],
  ['gptq-4-sym', config({ checkpoint_format: 'marlin' }), 'checkpoint_format = "marlin" is not supported'],
  ['gptq-4-sym', config({ is_marlin_format: true }), 'is_marlin_format = true'],
  ['gptq-4-sym', config({ rotation: 'hadamard' }), 'rotation = "hadamard"'],
  ['gptq-4-sym', config({ group_size: 0 }), 'group_size = 0'],
  ['gptq-4-sym', config({ dynamic: { '.*': { bits: 5 } } }), 'bits = 5 is not supported'],
  ['auto-round-gptq', config({ packing_format: 'auto_round:fp8_static' }), 'packing_format "auto_round:fp8_static"'],
  ['auto-round-gptq', config({ data_type: 'mx_fp' }), 'data_type = "mx_fp"'],
  ...['gemv', 'gemv_fast', 'marlin', 'exllama', 'ipex'].map(
    (version) => ['awq-4', config({ version }), `version = "${version}" are not read, only gemm is`] as const,
  ),
  ['awq-4', config({ bits: 8 }), 'bits = 8 is not supported'],
  ['ct-int4-sym', config({ format: 'marlin-24' }), 'format = "marlin-24" is not supported'],
  ['ct-int4-sym', config({ transform_config: { config_groups: { R1: {} } } }), 'transform_config is not supported'],
  ['ct-int4-sym', config({ sparsity_config: { format: 'sparse-24-bitmask' } }), 'sparsity_config.format'],
  ['ct-int4-sym', weights({ strategy: 'token' }), 'strategy = "token" is not supported'],
  ['ct-fp8-block', weights({ block_structure: 'all' }), 'block_structure = "all"'],
  ['fp8-block', config({ weight_block_size: [0, 128] }), 'weight_block_size = [0,128]'],
  ['fp8-block', config({ expert_dtype: 'fp4' }), 'expert_dtype = "fp4"'],
  ['modelopt-fp8', config({ quant_algo: 'W4A8_AWQ' }), 'quant_algo = "W4A8_AWQ" is not supported'],
  ['bnb-nf4', config({ bnb_4bit_quant_type: 'af4' }), 'bnb_4bit_quant_type = "af4"'],
]

it.each(REFUSED)('%s: refuses by name (%#)', async (name, change, message) => {
  const error = await failure(name, change)
  expect(error).toBeInstanceOf(UnsupportedError)
  expect(error.message).toContain(message)
  expect(error.message).toContain('config.json')
})

it('refuses what MLX writes', async () => {
  for (const field of ['quantization', 'quantization_config']) {
    const error = await failure('gptq-4-sym', ({ config }) => {
      delete config.quantization_config
      config[field] = { group_size: 64, bits: 4 }
    })
    expect(error).toBeInstanceOf(UnsupportedError)
    expect(error.message).toContain(`${field} is as MLX writes it`)
  }
})

it('any damage gives values or one of our errors', async () => {
  const names = readdirSync(FIXTURES, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? entry.name : [],
  )
  const property = fc.asyncProperty(
    fc.constantFrom(...names),
    fc.nat(20),
    fc.oneof(
      fc.record({ kind: fc.constant('drop' as const) }),
      fc.record({ kind: fc.constant('shape' as const), shape: fc.array(fc.nat(40), { maxLength: 3 }) }),
      fc.record({
        kind: fc.constant('dtype' as const),
        dtype: fc.constantFrom(...(['I8', 'U8', 'I32', 'F32', 'F8_E4M3', 'I64'] as const)),
      }),
      fc.record({
        kind: fc.constant('bytes' as const),
        at: fc.nat(200),
        bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
      }),
    ),
    async (name, index, damage) => {
      const checkpoint = await load(name)
      const parts = [...checkpoint.tensors.keys()].filter((name) => name.startsWith('model.layers'))
      const chosen = parts[index % parts.length]!
      const stored = checkpoint.tensors.get(chosen)!
      if (damage.kind === 'drop') checkpoint.tensors.delete(chosen)
      else if (damage.kind === 'shape') reshape(stored, damage.shape)
      else if (damage.kind === 'dtype') {
        stored.dtype = damage.dtype
        reshape(stored, stored.shape)
      } else {
        const room = stored.bytes.subarray(Math.min(damage.at, stored.bytes.length))
        room.set(damage.bytes.subarray(0, room.length))
      }
      const error = await readAll(checkpoint).then(
        () => null,
        (error: unknown) => error,
      )
      if (error !== null) expect(error).toBeInstanceOf(ShoalError)
    },
  )
  await fc.assert(property, { numRuns: 400 })
})
