import { describe, expect, it } from 'vitest'
import { readConfig } from '../checkpoint/huggingface.js'
import { parseDepth } from '../depth/spec.js'
import { InputError } from '../errors.js'
import { familyByModelType } from '../families/index.js'
import type { TensorMapping } from '../families/tensor-rows.js'
import {
  activeParameterCount,
  checkFlops,
  depthCost,
  depthExtent,
  headFlops,
  modelSize,
  parameterCount,
  type Sizes,
} from './cost.js'

interface Shape {
  layers: number
  hidden: number
  heads: number
  kvHeads: number
  feedForward: number
  vocabulary: number
  tied: boolean
}

function llama(shape: Shape): { h: Sizes; tensors: TensorMapping[] } {
  const { layers, hidden, heads, kvHeads, feedForward, vocabulary, tied } = shape
  const headDim = hidden / heads
  const tensor = (name: string, ...lengths: number[]): TensorMapping => ({
    name,
    sources: [],
    shape: lengths,
    columns: lengths.at(-1)!,
    quantize: lengths.length > 1,
  })
  const tensors = [tensor('token_embd.weight', vocabulary, hidden), tensor('output_norm.weight', hidden)]
  if (!tied) tensors.push(tensor('output.weight', vocabulary, hidden))
  for (let l = 0; l < layers; l++) {
    tensors.push(
      tensor(`blk.${l}.attn_norm.weight`, hidden),
      tensor(`blk.${l}.attn_q.weight`, hidden, hidden),
      tensor(`blk.${l}.attn_k.weight`, kvHeads * headDim, hidden),
      tensor(`blk.${l}.attn_v.weight`, kvHeads * headDim, hidden),
      tensor(`blk.${l}.attn_output.weight`, hidden, hidden),
      tensor(`blk.${l}.ffn_norm.weight`, hidden),
      tensor(`blk.${l}.ffn_gate.weight`, feedForward, hidden),
      tensor(`blk.${l}.ffn_up.weight`, feedForward, hidden),
      tensor(`blk.${l}.ffn_down.weight`, hidden, feedForward),
    )
  }
  const layer = Array.from({ length: layers }, () => ({ heads, state: { kvHeads, headDim } }))
  const h = { layers, hidden, vocabulary, headDim, layer }
  return { h, tensors }
}

const ripple = llama({ layers: 16, hidden: 192, heads: 6, kvHeads: 3, feedForward: 512, vocabulary: 4096, tied: true })
const ripple8m = modelSize(ripple.h, ripple.tensors)
const llama2 = { layers: 32, hidden: 4096, heads: 32, kvHeads: 32, feedForward: 11008, vocabulary: 32000, tied: false }
const llama7b = llama(llama2)
const llama27b = modelSize(llama7b.h, llama7b.tensors)

const depth = (spec: string, layers = 16) => parseDepth(spec, { layers })

describe('sizes', () => {
  it('count every parameter once', () => {
    expect(parameterCount(llama27b)).toBe(6_738_415_616)
    expect(ripple8m.layer[0]!.matrixParameters).toBe(2 * 192 * 192 + 2 * 96 * 192 + 3 * 192 * 512)
    expect(ripple8m.layer[0]!.parameters - ripple8m.layer[0]!.matrixParameters).toBe(2 * 192)
  })

  it('refuse a tensor of a layer that the model lacks', () => {
    const one = { ...ripple.h, layers: 15 }
    expect(() => modelSize(one, ripple.tensors)).toThrow(InputError)
  })

  it('one full head costs 0.65 layers of Llama-2-7B and 2.4 of Llama-3-8B', () => {
    const layer = (size: typeof llama27b) => 2 * size.layer[0]!.matrixParameters
    expect(headFlops(llama27b) / layer(llama27b)).toBeCloseTo(0.65, 2)
    const llama8b = llama({ ...llama2, kvHeads: 8, feedForward: 14336, vocabulary: 128256 })
    const size = modelSize(llama8b.h, llama8b.tensors)
    expect(headFlops(size) / layer(size)).toBeCloseTo(2.4, 1)
  })
})

describe('parameters of published models, from config.json alone', () => {
  it.each([
    ['llama-2-70b', 68_976_648_192, 68_976_648_192],
    ['mixtral-8x7b', 46_702_792_704, 12_879_925_248],
    ['qwen3-30b-a3b', 30_532_122_624, 3_353_032_704],
    ['gpt-oss-20b', 20_914_757_184, 4_187_440_704],
    ['gemma-3-27b', 27_009_346_304, 27_009_346_304],
  ])('%s', async (name, all, active) => {
    const config = await readConfig(`test/fixtures/configs/${name}.json`)
    const family = familyByModelType(config.string('model_type'), config.path)
    const h = family.fromConfig(config)
    const size = modelSize(h, family.tensors(h))
    expect([parameterCount(size), activeParameterCount(size)]).toEqual([all, active])
  })
})

describe('the layers that a policy may run', () => {
  it.each([
    ['full', 16, 0],
    ['layers:0,2,5', 3, 0],
    ['unified:2x,by=layers', 8, 0],
    ['exit:11', 12, 0],
    ['gap:0.8', 16, 15],
    ['gap:0.8,from=4,every=4', 16, 3],
  ])('%s', (spec, layers, checks) => {
    const extent = depthExtent(depth(spec), 16)
    expect(extent.layers).toHaveLength(layers)
    expect(extent.checks).toHaveLength(checks)
    expect(extent.stages).toEqual([{ layers: extent.layers, bridges: [], tokens: 1 }])
    expect(extent.meanLayers).toBe(checks > 0 ? null : layers)
  })

  it('are several plans in turn where plans shrink', () => {
    const extent = depthExtent(depth('skipdecode:2x'), 16, 121)
    expect(extent.stages.map(({ layers }) => layers.length)).toEqual([14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
    expect(extent.stages.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(120)
    expect(extent.layers).toHaveLength(14)
    expect(extent.meanLayers).toBe(8)
    expect(depthExtent(depth('skipdecode:2x'), 16, 1).stages).toHaveLength(1)
  })
})

describe('cost of a token', () => {
  it('is 2 x matrix parameters + 4 x hidden x context per layer, and the head', () => {
    const { token, full } = depthCost(ripple8m, depth('layers:0,2,5'), 100, 4)
    const layer = 2 * ripple8m.layer[0]!.matrixParameters + 4 * 192 * 100
    expect(token.flops).toBe(3 * layer + 2 * 192 * 4096)
    expect(full.flops).toBe(16 * layer + 2 * 192 * 4096)
    expect(token.flopsWithChecks).toBe(token.flops)
    expect(token.parameters).toBe(3 * ripple8m.layer[0]!.parameters + 4096 * 192 + 192)
  })

  it('counts checks apart', () => {
    const cost = depthCost(ripple8m, depth('gap:0.8,layers=3,7'), 0, 4)
    expect(cost.flopsRatio).toBe(1)
    expect(cost.token.flopsWithChecks - cost.token.flops).toBe(2 * checkFlops(ripple8m))
    expect(cost.flopsRatioWithChecks).toBeGreaterThan(1)
    expect(checkFlops(ripple8m, 100, 7)).toBe(4 * 192 + 2 * 192 * 100 + 7)
  })

  it('caches keys and values of the layers that run', () => {
    const cost = depthCost(ripple8m, depth('unified:2x,by=layers'), 0, 2)
    expect(cost.token.kvBytes).toBe(8 * 2 * 3 * 32 * 2)
    expect(cost.kvRatio).toBe(0.5)
    expect(depthCost(llama27b, depth('full', 32), 0, 2).token.kvBytes).toBe(524_288)
  })

  it('is a mean where plans shrink', () => {
    const cost = depthCost(ripple8m, depth('skipdecode:2x'), 100, 4, 121)
    const even = depthCost(ripple8m, depth('unified:2x,by=layers'), 100, 4)
    expect(cost.token).toEqual(even.token)
    expect(cost.flopsRatio).toBe(even.flopsRatio)
  })

  it('is that of full depth under full', () => {
    const cost = depthCost(ripple8m, depth('full'), 1000, 4)
    expect(cost.token).toEqual(cost.full)
    expect(cost).toMatchObject({ parameterRatio: 1, flopsRatio: 1, flopsRatioWithChecks: 1, kvRatio: 1 })
  })

  it('nearly equals mean layers / L, as in AdaInfer, where the head is small', () => {
    expect(depthCost(llama27b, depth('exit:28', 32), 100, 2).flopsRatio).toBeCloseTo(29 / 32, 2)
  })

  it('refuses a context that is no number of tokens', () => {
    for (const context of [-1, 1.5, Number.NaN]) {
      expect(() => depthCost(ripple8m, depth('full'), context, 4)).toThrow(/context/)
    }
  })
})
