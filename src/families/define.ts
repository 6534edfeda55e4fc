import type { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { FileError, UnsupportedError } from '../errors.js'
import { embed, head, headMatrix } from './blocks/ends.js'
import { FACTS, type FactName, type Facts, type FactUses, withDefaults } from './facts.js'
import { factsOfConfig, fieldOf } from './facts-config.js'
import { factKeys, factsOfMetadata, factsToMetadata } from './facts-metadata.js'
import type { Family, FamilyTable } from './family.js'
import type { Hyperparameters, LayerFacts } from './hyperparameters.js'
import { MOST_HEAD_DIMENSIONS } from './limits.js'
import { type Ropes, ropeTensors } from './rope.js'
import { ropesFromConfig } from './rope-config.js'
import { ropesFromMetadata, ropesToMetadata } from './rope-metadata.js'
import { scalarFacts } from './scalars.js'
import { layersAt, tensorsOf } from './tensors.js'

const PATTERN = 'attention.sliding_window_pattern'

/** What a table says, as the functions that the other folders call. */
export function defineFamily(table: FamilyTable): Family {
  const { architecture, rope } = table
  const own = withDefaults(table.facts, table.defaults)
  const uses: FactUses = {
    ...own,
    epsilon: { ...own.epsilon, key: `attention.layer_norm_${table.norm === 'rms' ? 'rms_' : ''}epsilon` },
  }
  return {
    architecture,
    modelTypes: table.modelTypes,
    layersAt: layersAt(table),
    inLlamaCpp: table.inLlamaCpp !== false,

    fromConfig(config) {
      for (const [field, values] of Object.entries(table.accepts)) config.only(field, values)
      const facts = factsOfConfig(config, uses)
      const refuse = (...names: FactName[]): Error =>
        config.unsupported(
          names.map((name) => fieldOf(config, uses, name)).find((field) => field !== '') ?? 'model_type',
        )
      checkHeads(facts, fieldOf(config, uses, 'headDim') !== '', refuse)
      checkNumbers(facts, refuse)
      const ropes = rope === null ? null : ropesFromConfig(config, rope, facts)
      return hyperparameters(table, facts, ropes, localLayersOfConfig(config, table, facts))
    },

    fromMetadata(metadata, tensorNames) {
      refuseOthers(metadata, architecture, uses)
      const facts = withDenseLayers(factsOfMetadata(metadata, architecture, uses, tensorNames), tensorNames)
      checkHeads(facts, metadata.has(`${architecture}.attention.key_length`), () => misfit(metadata.path, facts))
      checkNumbers(facts, (name) => misfitOf(metadata, architecture, uses, name))
      const ropes =
        rope === null || facts.rotary === false
          ? null
          : ropesFromMetadata(metadata, architecture, rope, facts, tensorNames)
      const valueLength = `${architecture}.attention.value_length`
      if (metadata.has(valueLength) && metadata.count(valueLength) !== facts.headDim) {
        throw new UnsupportedError(`${metadata.path}: ${valueLength} is not the ${facts.headDim} of keys`)
      }
      return hyperparameters(table, facts, ropes, localLayersOfMetadata(metadata, table, facts))
    },

    toMetadata(h) {
      const entries = factsToMetadata(architecture, uses, h.facts)
      if (rope !== null && h.ropes !== null) entries.push(...ropesToMetadata(architecture, rope, h.ropes))
      entries.push(...patternEntry(table, h))
      return new GgufMetadata('', entries)
    },

    async withScalars(h, weights) {
      const facts = await scalarFacts(table, h, weights)
      return { ...h, facts: { ...h.facts, ...facts } }
    },

    tensors: (h) => tensorsOf(table, h),
    computedTensors: (h) => (h.ropes === null ? [] : ropeTensors(h.ropes)),
    embed: (g, h, weights, ids, positions) => embed({ g, h, weights, family: table }, ids, positions),
    layer: (x, c) => table.layer({ ...c, family: table, facts: c.h.layer[c.layer] as LayerFacts }, x),
    headMatrix,
    head: (g, h, weights, x) => head({ g, h, weights, family: table }, x),
  }
}

/** Layers of a model of experts that have none are told by the tensors. */
function withDenseLayers(facts: Facts, tensors: ReadonlySet<string>): Facts {
  if (facts.experts === undefined) return facts
  const denseLayers = Array.from({ length: facts.layers }, (_, l) => l).filter(
    (l) => !tensors.has(`blk.${l}.ffn_gate_inp.weight`),
  )
  return denseLayers.length === 0 ? facts : { ...facts, denseLayers }
}

/** @param given true where the file says how long a head is */
function checkHeads(facts: Facts, given: boolean, refuse: (fact: FactName) => Error): void {
  const { hidden, heads, kvHeads, headDim } = facts
  const { layerHeads, layerKvHeads } = facts
  const pairs = (layerHeads ?? layerKvHeads ?? [heads]).map(
    (_, l) => [layerHeads?.[l] ?? heads, layerKvHeads?.[l] ?? kvHeads] as const,
  )
  if (pairs.some(([queries, keys]) => queries % keys !== 0)) throw refuse('kvHeads')
  if (!given && hidden % heads !== 0) throw refuse('heads')
  if (headDim > MOST_HEAD_DIMENSIONS) throw refuse(given ? 'headDim' : 'heads')
}

/** Numbers that a graph could not be built with, or that no model means. */
function checkNumbers(facts: Facts, refuse: (...facts: [FactName, ...FactName[]]) => Error): void {
  const { experts, expertsUsed, expertWidth, clampQkv } = facts
  if (experts !== undefined) {
    if (expertsUsed === undefined || expertsUsed > experts) throw refuse('expertsUsed', 'experts')
    if (expertWidth === undefined) throw refuse('expertWidth', 'experts')
  }
  if (clampQkv !== undefined && clampQkv < 0) throw refuse('clampQkv')
  for (const divisor of ['attentionSoftcap', 'logitSoftcap', 'logitDivisor'] as const) {
    if (facts[divisor] === 0) throw refuse(divisor)
  }
}

function misfitOf(metadata: GgufMetadata, architecture: string, uses: FactUses, fact: FactName): FileError {
  const key = `${architecture}.${uses[fact]?.key ?? FACTS[fact].key}`
  const what = metadata.has(key) ? `= ${metadata.number(key)} does not fit` : 'is missing'
  return new FileError(metadata.path, `metadata key ${key} ${what}`)
}

function misfit(path: string, { heads, kvHeads, headDim }: Facts): FileError {
  return new FileError(path, `${heads} heads, ${kvHeads} KV heads of ${headDim} dimensions do not fit`)
}

function hyperparameters(
  table: FamilyTable,
  facts: Facts,
  ropes: Ropes | null,
  local: readonly boolean[],
): Hyperparameters {
  const { layers, hidden, heads, kvHeads, headDim, feedForward, vocabulary, context, epsilon } = facts
  const { learnedPositions, experts, expertsUsed } = facts
  const { window, ...others } = facts
  const kept: Facts = local.includes(true) ? facts : others
  const layer = local.map((isLocal, l): LayerFacts => {
    const ownKvHeads = facts.layerKvHeads?.[l] ?? kvHeads
    return {
      heads: facts.layerHeads?.[l] ?? heads,
      kvHeads: ownKvHeads,
      feedForward: facts.layerFeedForward?.[l] ?? feedForward,
      window: isLocal ? (window ?? null) : null,
      rope: ropes === null ? null : table.ropeOf === undefined ? 'full' : table.ropeOf(l, isLocal, kept),
      routed: experts !== undefined && facts.denseLayers?.includes(l) !== true,
      state: { kind: 'keys and values', kvHeads: ownKvHeads, headDim },
    }
  })
  return {
    architecture: table.architecture,
    layers,
    hidden,
    heads,
    kvHeads,
    headDim,
    feedForward,
    vocabulary,
    context,
    normEpsilon: epsilon,
    ...(learnedPositions !== undefined && { learnedPositions }),
    ...(table.maxBias !== undefined && { maxBias: table.maxBias }),
    tiedEmbeddings: facts.tied === true,
    experts: experts === undefined || expertsUsed === undefined ? null : { count: experts, used: expertsUsed },
    ropes,
    layer,
    facts: kept,
  }
}

/** Which layers have a window: by `layer_types`, or by the family's rule. */
function localLayersOfConfig(config: ConfigReader, table: FamilyTable, facts: Facts): boolean[] {
  const all = Array.from({ length: facts.layers }, (_, l) => l)
  if (table.isLocal === undefined) return all.map(() => false)
  const { isLocal } = table
  if (!config.has('layer_types')) return all.map((l) => facts.window !== undefined && isLocal(l, facts))
  const types = config.fields.layer_types
  const known = ['full_attention', 'sliding_attention']
  if (
    !Array.isArray(types) ||
    types.length !== facts.layers ||
    !types.every((type) => known.includes(type as string))
  ) {
    throw config.unsupported('layer_types')
  }
  if (types.includes('sliding_attention') && facts.window === undefined) throw config.unsupported('layer_types')
  return types.map((type) => type === 'sliding_attention')
}

function localLayersOfMetadata(metadata: GgufMetadata, table: FamilyTable, facts: Facts): boolean[] {
  const all = Array.from({ length: facts.layers }, (_, l) => l)
  const { isLocal } = table
  if (isLocal === undefined || facts.window === undefined) return all.map(() => false)
  const key = `${table.architecture}.${PATTERN}`
  if (!metadata.has(key)) return all.map((l) => isLocal(l, facts))
  if (metadata.isList(key)) return metadata.flags(key, facts.layers)
  const period = metadata.count(key)
  return all.map((l) => inPeriod(l, period))
}

/** As a period where the layers have one, which llama.cpp reads; layer by layer where not. */
function patternEntry({ architecture }: FamilyTable, { layer }: Hyperparameters): [string, GgufValue][] {
  const local = layer.map(({ window }) => window !== null)
  if (!local.includes(true)) return []
  const period = [...local.keys(), local.length + 1].find((p) => local.every((is, l) => is === inPeriod(l, p)))
  const value: GgufValue =
    period === undefined ? { type: 'array', of: 'bool', value: local.map(Number) } : { type: 'uint32', value: period }
  return [[`${architecture}.${PATTERN}`, value]]
}

/** The last layer of every period sees everything; without a period none does. */
function inPeriod(layer: number, period: number): boolean {
  return period === 0 || layer % period < period - 1
}

/** Keys that change what a model computes, and the values that change nothing. */
const CHANGES: Readonly<Record<string, (metadata: GgufMetadata, key: string) => boolean>> = {
  expert_count: isZero,
  expert_group_count: (m, key) => m.count(key) <= 1,
  expert_weights_scale: (m, key) => [0, 1].includes(m.number(key)),
  expert_shared_count: isZero,
  leading_dense_block_count: isZero,
  interleave_moe_layer_step: (m, key) => m.count(key) <= 1,
  'attention.sliding_window': isZero,
  'attention.clamp_kqv': isZero,
  'attention.scale': isZero,
  'attention.temperature_scale': isZero,
  'attention.shared_kv_layers': isZero,
  'attention.causal': (m, key) => m.boolean(key),
  attn_logit_softcapping: isZero,
  final_logit_softcapping: isZero,
  logit_scale: isZero,
  residual_scale: isZero,
  embedding_scale: isZero,
  use_parallel_residual: (m, key) => m.boolean(key),
}

function isZero(metadata: GgufMetadata, key: string): boolean {
  return metadata.number(key) === 0
}

/** Nothing that changes the result is ignored. */
function refuseOthers(metadata: GgufMetadata, architecture: string, uses: FactUses): void {
  const read = new Set(factKeys(architecture, uses))
  for (const [name, changesNothing] of Object.entries(CHANGES)) {
    const key = `${architecture}.${name}`
    if (!metadata.has(key) || read.has(key) || changesNothing(metadata, key)) continue
    throw new UnsupportedError(`${metadata.path}: metadata key ${key} is not supported`)
  }
}
