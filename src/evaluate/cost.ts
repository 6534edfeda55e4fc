import { type Bridge, bridgesOf } from '../depth/bridge.js'
import type { Plan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { InputError } from '../errors.js'
import type { Hyperparameters } from '../families/hyperparameters.js'
import type { TensorMapping } from '../families/tensor-rows.js'

/** Sizes that the cost of a token follows from. */
export interface ModelSize {
  readonly layers: number
  readonly hidden: number
  readonly vocabulary: number
  readonly layer: readonly LayerSize[]
  /** Parameters outside the layers: embeddings, final norm, LM head. */
  readonly otherParameters: number
}

/** Sizes of one layer. Of a stack of experts a token uses a share. */
export interface LayerSize {
  readonly parameters: number
  readonly activeParameters: number
  /** Of matrices, as far as a token uses them. */
  readonly matrixParameters: number
  /** Values that queries have: heads x headDim. */
  readonly queryWidth: number
  /** Values that it caches for one token: keys and values of all KV heads. */
  readonly kvWidth: number
  /** Positions that a query sees at most. */
  readonly window: number
}

/** What sizes are computed from. */
export type Sizes = Pick<Hyperparameters, 'layers' | 'hidden' | 'vocabulary' | 'headDim'> & {
  readonly layer: readonly {
    readonly heads: number
    readonly window?: number | null
    readonly state: { readonly kvHeads: number; readonly headDim: number }
  }[]
}

/** Layers and checks of one token. */
export interface TokenExtent {
  readonly layers: Plan
  readonly checks: Plan
  /** Over the gaps of the layers; default none. */
  readonly bridges?: readonly Bridge[]
  /** Rows of the check head; default the vocabulary. */
  readonly checkRows?: number
  /** What checks are read through; default none. */
  readonly checkLens?: readonly Bridge[]
}

/** Which layers generated tokens run at most under a policy, and after which of them they are checked. */
export interface DepthExtent extends TokenExtent {
  /** Every plan in turn and how many tokens run it; only the first, `layers`, unless plans shrink. */
  readonly stages: readonly { readonly layers: Plan; readonly bridges: readonly Bridge[]; readonly tokens: number }[]
  /** Mean depth over these tokens; null where exit checks decide. */
  readonly meanLayers: number | null
}

/** What one generated token costs with `context` tokens before it; a mean where plans shrink. */
export interface TokenCost {
  /** Parameters of the layers that run, of experts those that a token uses, and of everything outside the layers. */
  readonly parameters: number
  /** Layers and head; a multiply-add counts as 2. */
  readonly flops: number
  /** Layers, head and exit checks. */
  readonly flopsWithChecks: number
  /** Bytes that the layers cache for this token. */
  readonly kvBytes: number
}

/** A policy's cost beside full depth; ratios are policy / full. */
export interface DepthCost extends DepthExtent {
  readonly token: TokenCost
  readonly full: TokenCost
  readonly parameterRatio: number
  readonly flopsRatio: number
  readonly flopsRatioWithChecks: number
  readonly kvRatio: number
}

const LAYER_TENSOR = /^blk\.(\d+)\./

/** Sizes from hyperparameters and the family's tensors (`Family.tensors`): no weights are needed. */
export function modelSize(h: Sizes, tensors: readonly TensorMapping[]): ModelSize {
  const layer = h.layer.slice(0, h.layers).map(({ heads, window = null, state }) => ({
    parameters: 0,
    activeParameters: 0,
    matrixParameters: 0,
    queryWidth: heads * h.headDim,
    kvWidth: 2 * state.kvHeads * state.headDim,
    window: window ?? Number.POSITIVE_INFINITY,
  }))
  let otherParameters = 0
  for (const { name, shape, columns, share = 1 } of tensors) {
    const parameters = shape.reduce((product, length) => product * length, 1)
    const match = LAYER_TENSOR.exec(name)
    if (match === null) {
      otherParameters += parameters
      continue
    }
    const sizes = layer[Number(match[1])]
    if (sizes === undefined) throw new InputError(`tensor ${name} belongs to no layer: the model has ${h.layers}`)
    sizes.parameters += parameters
    sizes.activeParameters += parameters * share
    if (columns > 1 && shape.length > 1) sizes.matrixParameters += parameters * share
  }
  const { layers, hidden, vocabulary } = h
  return { layers, hidden, vocabulary, layer, otherParameters }
}

/** All parameters of the model. */
export function parameterCount(size: ModelSize): number {
  return size.layer.reduce((sum, { parameters }) => sum + parameters, size.otherParameters)
}

/** Parameters that one token uses: of experts those that are chosen for it. */
export function activeParameterCount(size: ModelSize): number {
  return Math.round(size.layer.reduce((sum, { activeParameters }) => sum + activeParameters, size.otherParameters))
}

/**
 * FLOPs of one layer for one token: 2 x (parameters of its matrices, of experts those that a token uses) + 4 x width of all
 * queries x positions that it sees.
 */
export function layerFlops(size: ModelSize, layer: number, context: number): number {
  const sizes = size.layer[layer]
  if (sizes === undefined) throw new InputError(`layer ${layer} does not exist; the model has ${size.layers} layers`)
  return 2 * sizes.matrixParameters + 4 * sizes.queryWidth * Math.min(context, sizes.window)
}

/** FLOPs of the LM head for one token: 2 x hidden x vocabulary. */
export function headFlops(size: ModelSize): number {
  return 2 * size.hidden * size.vocabulary
}

/**
 * FLOPs of one exit check: the final norm (4 per value: square, add, scale, weight), the head rows that it uses, and
 * what the classifier needs (none for a threshold).
 */
export function checkFlops(size: ModelSize, headRows = size.vocabulary, classifierFlops = 0): number {
  return 4 * size.hidden + 2 * size.hidden * headRows + classifierFlops
}

/** FLOPs of a bridge or a lens for one row: two for each weight. */
export function bridgeFlops({ factors }: Bridge): number {
  return 2 * factors.reduce((sum, { columns, rows }) => sum + columns * rows, 0)
}

/**
 * What generated tokens run at most: the plans of a skip policy; for an exit policy, the layers up to the last that it
 * allows, with every check. How early its tokens leave is not known before they run.
 *
 * @param maxTokens tokens that are generated, of which the first comes from the prompt's pass
 */
export function depthExtent(policy: Policy, layers: number, maxTokens = 2): DepthExtent {
  if (policy.kind === 'exit') {
    const last = policy.lastLayer?.(layers) ?? layers - 1
    const run = Array.from({ length: last + 1 }, (_, layer) => layer)
    const checks = policy.checkLayers(layers).filter((layer) => layer < last)
    const meanLayers = checks.length === 0 ? run.length : null
    const checkRows = policy.checkTokens ? { checkRows: policy.checkTokens.length } : {}
    const { lens = [] } = policy
    const checkLens = lens.filter(({ from }) => checks.includes(from))
    const bridges = lens.filter(({ from }) => from === last)
    return { layers: run, checks, checkLens, ...checkRows, stages: [{ layers: run, bridges, tokens: 1 }], meanLayers }
  }
  const sequence = policy.startSequence?.({ layers, promptTokens: 1, maxTokens })
  const stages: { layers: Plan; bridges: readonly Bridge[]; tokens: number }[] = []
  const tokens = Math.max(1, maxTokens - 1)
  for (let generated = 1; generated <= tokens; generated++) {
    const plan = policy.plan({ position: generated, generated, layers }, sequence)
    const stage = stages.at(-1)
    // Plans never grow, so those of one size are the same.
    if (stage?.layers.length === plan.length) stage.tokens++
    else stages.push({ layers: plan, bridges: bridgesOf(policy.bridges ?? [], plan, layers), tokens: 1 })
  }
  const meanLayers = stages.reduce((sum, stage) => sum + stage.tokens * stage.layers.length, 0) / tokens
  return { layers: (stages[0] as (typeof stages)[0]).layers, checks: [], stages, meanLayers }
}

/**
 * The cost of a token that runs these layers and checks.
 *
 * @param context tokens in the cache that the token attends to
 * @param cacheBytes bytes of one cached value: 4 for f32, 2 for f16
 */
export function tokenCost(size: ModelSize, extent: TokenExtent, context: number, cacheBytes: number): TokenCost {
  if (!Number.isSafeInteger(context) || context < 0) {
    throw new InputError(`context must be a whole number >= 0, not ${context}`)
  }
  let parameters = size.otherParameters
  let flops = headFlops(size)
  let kvValues = 0
  for (const layer of extent.layers) {
    flops += layerFlops(size, layer, context)
    parameters += size.layer[layer]!.activeParameters
    kvValues += size.layer[layer]!.kvWidth
  }
  for (const bridge of extent.bridges ?? []) {
    parameters += bridgeFlops(bridge) / 2 + bridge.bias.length
    flops += bridgeFlops(bridge)
  }
  const lensFlops = (extent.checkLens ?? []).reduce((sum, map) => sum + bridgeFlops(map), 0)
  return {
    parameters: Math.round(parameters),
    flops,
    flopsWithChecks: flops + lensFlops + extent.checks.length * checkFlops(size, extent.checkRows),
    kvBytes: kvValues * cacheBytes,
  }
}

/** What a policy's token costs at most, beside full depth. See `depthExtent` for `maxTokens`. */
export function depthCost(
  size: ModelSize,
  policy: Policy,
  context: number,
  cacheBytes: number,
  maxTokens?: number,
): DepthCost {
  const extent = depthExtent(policy, size.layers, maxTokens)
  const { stages } = extent
  const costs = stages.map(({ layers, bridges, tokens }) => ({
    tokens,
    cost: tokenCost(size, { ...extent, layers, bridges }, context, cacheBytes),
  }))
  const all = stages.reduce((sum, { tokens }) => sum + tokens, 0)
  const mean = (of: (cost: TokenCost) => number): number =>
    Math.round(costs.reduce((sum, { tokens, cost }) => sum + (tokens / all) * of(cost), 0))
  const token = {
    parameters: mean(({ parameters }) => parameters),
    flops: mean(({ flops }) => flops),
    flopsWithChecks: mean(({ flopsWithChecks }) => flopsWithChecks),
    kvBytes: mean(({ kvBytes }) => kvBytes),
  }
  const everything = { layers: size.layer.map((_, layer) => layer), checks: [] }
  const full = tokenCost(size, everything, context, cacheBytes)
  return {
    ...extent,
    token,
    full,
    parameterRatio: token.parameters / full.parameters,
    flopsRatio: token.flops / full.flops,
    flopsRatioWithChecks: token.flopsWithChecks / full.flops,
    kvRatio: token.kvBytes / full.kvBytes,
  }
}
