import { ConfigReader } from '../../checkpoint/config-reader.js'
import { replaceFields } from '../../checkpoint/json-edit.js'
import type { Plan } from '../../depth/plan.js'
import { FileError, UnsupportedError } from '../../errors.js'
import { isJsonObject, parseJsonObject } from '../../json.js'

/** Fields of a config.json that say how many layers there are. */
const COUNTS = ['num_hidden_layers', 'n_layer', 'n_layers', 'num_layers']
/** Fields with one entry for each layer. */
const PER_LAYER = ['layer_types', 'mlp_layer_types', 'layers_block_type', 'no_rope_layers', 'attention_layers']

/** The text of a config.json for the layers of a plan: counts and lists of layers are cut, all else stays as it is written. */
export function reduceConfig(config: ConfigReader, text: string, layers: number, plan: Plan): string {
  if (isJsonObject(parseJsonObject(config.path, text).text_config)) {
    throw new UnsupportedError(
      `${config.path}: is of a multimodal model, which export does not write; shoal convert makes a GGUF file of its language model, which it cuts`,
    )
  }
  const values = new Map<string, unknown>()
  for (const field of COUNTS) {
    if (!config.has(field)) continue
    const count = config.count(field)
    if (count !== layers)
      throw new FileError(config.path, `field ${field} is ${count}, and the model has ${layers} layers`)
    values.set(field, plan.length)
  }
  if (values.size === 0) throw new FileError(config.path, 'has no field for the number of layers')
  for (const field of PER_LAYER) {
    if (!config.has(field)) continue
    const list = config.fields[field]
    if (!Array.isArray(list) || list.length !== layers) {
      throw new FileError(config.path, `field ${field} must be a list of ${layers} entries, one for each layer`)
    }
    values.set(
      field,
      plan.map((layer) => list[layer] as unknown),
    )
  }
  return replaceFields(text, values)
}

/** The same for a reader of a text that is known to be an object. */
export function readerOf(config: ConfigReader, text: string): ConfigReader {
  return new ConfigReader(config.path, parseJsonObject(config.path, text))
}
