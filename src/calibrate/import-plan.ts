import { readTextFile } from '../checkpoint/text-file.js'
import { allLayers, type Plan } from '../depth/plan.js'
import { FileError, InputError } from '../errors.js'
import { isJsonObject, type JsonObject, parseJson } from '../json.js'

export interface ImportOptions {
  /** L of the model; null where only the file may say it. */
  readonly layers: number | null
  /** Which entry of a file of several; null where there is one. */
  readonly entry: string | null
  /** Take the layers of which both halves are left out, and pass over those of which one is. */
  readonly wholeLayers: boolean
}

export interface ImportedPlan {
  /** The layers that stay. */
  readonly plan: Plan
  /** L */
  readonly layers: number
  /** Where the list comes from, for people. */
  readonly method: string
  /** Layers of which only the attention or only the MLP is left out in the file; they stay whole here. */
  readonly halves: readonly number[]
}

/** What a file says to leave out. */
interface Dropped {
  readonly method: string
  readonly attention: readonly number[]
  readonly mlp: readonly number[]
  readonly layers: number | null
}

/**
 * Reads a published list of layers to leave out, for whole layers:
 *
 * - skip_layers.json of SWIFT (arXiv 2410.06916): `{"MODEL_TASK": {"attention": [..], "mlp": [..]}}`;
 * - the config.json of a model by LLM-Drop (arXiv 2406.15786) with `drop_attn_list` and `drop_mlp_list`, of layers or of a
 *   flag for each layer, and the layer_mapping.json that its block drop writes, `{"OLD": NEW}` for the layers that stay.
 *
 * @throws FileError; InputError where a layer is left out by half and `wholeLayers` does not allow it
 */
export async function importPlan(path: string, options: ImportOptions): Promise<ImportedPlan> {
  const value = parse(path, await readTextFile(path))
  const dropped = readDropped(path, value, options)
  const layers = dropped.layers ?? options.layers
  if (layers === null) throw new InputError(`${path} does not say how many layers the model has: give it or --layers N`)
  if (options.layers !== null && layers !== options.layers) {
    throw new InputError(`${path} is for a model of ${layers} layers and this one has ${options.layers}`)
  }
  const beyond = [...dropped.attention, ...dropped.mlp].find((layer) => layer >= layers)
  if (beyond !== undefined) throw new FileError(path, `leaves out layer ${beyond}, and the model has ${layers} layers`)
  const [attention, mlp] = [new Set(dropped.attention), new Set(dropped.mlp)]
  const all = allLayers(layers)
  const halves = all.filter((layer) => attention.has(layer) !== mlp.has(layer))
  if (halves.length > 0 && !options.wholeLayers) {
    throw new InputError(
      `${path} leaves out half of layers ${halves.join(', ')} (attention or MLP alone), which no plan can; --whole-layers keeps those and takes the layers that are left out whole`,
    )
  }
  const plan = all.filter((layer) => !attention.has(layer) || !mlp.has(layer))
  if (plan.length === 0) throw new FileError(path, 'leaves out every layer')
  if (plan.length === layers) throw new FileError(path, 'leaves out no whole layer')
  return { plan, layers, method: dropped.method, halves }
}

function parse(path: string, text: string): JsonObject {
  const value = parseJson(path, text, '')
  if (Array.isArray(value)) {
    throw new FileError(
      path,
      "is a bare list, as LLM-Drop's reserved_layers.json, which does not say whether layers or halves of them are meant: give the config.json or layer_mapping.json beside it",
    )
  }
  if (!isJsonObject(value)) throw new FileError(path, 'is not a JSON object')
  return value
}

function readDropped(path: string, value: JsonObject, { layers, entry }: ImportOptions): Dropped {
  if ('drop_attn_list' in value || 'drop_mlp_list' in value) {
    if (entry !== null) throw new InputError(`${path} has no entries, so --entry ${entry} means nothing`)
    const count = value.num_hidden_layers
    if (count !== undefined && !(Number.isSafeInteger(count) && (count as number) >= 2)) {
      throw new FileError(path, 'num_hidden_layers must be a whole number of at least 2')
    }
    return {
      method: "LLM-Drop's drop lists",
      attention: dropList(path, value, 'drop_attn_list'),
      mlp: dropList(path, value, 'drop_mlp_list'),
      layers: (count as number | undefined) ?? null,
    }
  }
  const names = Object.keys(value)
  if (names.length > 0 && names.every((name) => /^\d+$/.test(name))) return readMapping(path, value, layers)
  const entries = names.filter((name) => {
    const item = value[name]
    return isJsonObject(item) && 'attention' in item && 'mlp' in item
  })
  if (names.length === 0 || entries.length < names.length) {
    throw new FileError(
      path,
      'is neither a skip_layers.json of SWIFT nor a config.json or layer_mapping.json of LLM-Drop',
    )
  }
  const name = entry ?? (entries.length === 1 ? entries[0] : undefined)
  if (name === undefined)
    throw new InputError(`${path} has several entries, choose one with --entry: ${entries.join(', ')}`)
  if (!entries.includes(name)) throw new InputError(`${path} has no entry ${name}; it has ${entries.join(', ')}`)
  const item = value[name] as JsonObject
  return {
    method: `SWIFT's skip_layers.json, ${name}`,
    attention: layerList(path, item.attention, `${name}.attention`),
    mlp: layerList(path, item.mlp, `${name}.mlp`),
    layers: null,
  }
}

/** `{"OLD": NEW}` for the layers that stay. How many there were is known from the model alone. */
function readMapping(path: string, value: JsonObject, layers: number | null): Dropped {
  const kept = Object.keys(value).map(Number)
  const ranks = [...kept].sort((a, b) => a - b)
  if (!ranks.every((old, rank) => value[String(old)] === rank)) {
    throw new FileError(path, 'is no layer_mapping.json: the layers that stay must be numbered anew from 0')
  }
  if (layers === null) throw new InputError(`${path} does not say how many layers the model has: give it or --layers N`)
  const beyond = ranks.find((layer) => layer >= layers)
  if (beyond !== undefined) throw new FileError(path, `keeps layer ${beyond}, and the model has ${layers} layers`)
  const dropped = allLayers(layers).filter((layer) => !ranks.includes(layer))
  return { method: "LLM-Drop's layer mapping", attention: dropped, mlp: dropped, layers }
}

/** A drop list names layers, or has a flag for each. */
function dropList(path: string, config: JsonObject, name: string): readonly number[] {
  const list = config[name] ?? []
  if (Array.isArray(list) && list.length > 0 && list.every((flag) => typeof flag === 'boolean')) {
    return list.flatMap((flag, layer) => (flag ? [layer] : []))
  }
  return layerList(path, list, name)
}

function layerList(path: string, list: unknown, name: string): readonly number[] {
  if (!Array.isArray(list) || !list.every((layer) => Number.isSafeInteger(layer) && (layer as number) >= 0)) {
    throw new FileError(path, `${name} must be a list of layers, counted from 0`)
  }
  return list as number[]
}
