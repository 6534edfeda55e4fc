// A copy of a checkpoint folder with another config.json and, where wanted, other tensors.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * @param change.config changes the fields of config.json in place
 * @param change.layers repeats the layers up to so many
 * @param change.rows `(name, tensor, config) => tensor` of {dtype, shape, bytes}, for tensors that must fit the new config
 */
export function writeVariation(from, to, { config: changeConfig, layers, rows = (_, tensor) => tensor }) {
  mkdirSync(to)
  const config = JSON.parse(readFileSync(join(from, 'config.json'), 'utf8'))
  const had = config.num_hidden_layers
  changeConfig?.(config)
  if (layers !== undefined) config.num_hidden_layers = layers
  writeFileSync(join(to, 'config.json'), JSON.stringify(config))
  copyFileSync(join(from, 'expected.safetensors'), join(to, 'expected.safetensors'))
  const tensors = readTensors(join(from, 'model.safetensors')).flatMap(([name, tensor]) => {
    const layer = /\.layers\.(\d+)\./.exec(name)
    const names = [name]
    for (let l = Number(layer?.[1]) + had; l < layers; l += had) names.push(name.replace(layer[0], `.layers.${l}.`))
    return names.map((n) => [n, rows(name, tensor, config)])
  })
  writeTensors(join(to, 'model.safetensors'), tensors)
}

/** Each KV head twice: a model of as many KV heads as query heads that computes the same. */
export function twiceEachKvHead(name, { dtype, shape, bytes }, { hidden_size, num_attention_heads }) {
  if (!/\.(k_proj|v_proj|k_norm)\./.test(name)) return { dtype, shape, bytes }
  const size = (bytes.length / shape[0]) * (hidden_size / num_attention_heads)
  const heads = Array.from({ length: bytes.length / size }, (_, h) => bytes.subarray(h * size, (h + 1) * size))
  return {
    dtype,
    shape: [2 * shape[0], ...shape.slice(1)],
    bytes: Buffer.concat(heads.flatMap((head) => [head, head])),
  }
}

function readTensors(path) {
  const file = readFileSync(path)
  const start = 8 + Number(file.readBigUInt64LE(0))
  const { __metadata__: _, ...header } = JSON.parse(file.toString('utf8', 8, start))
  return Object.entries(header).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => [name, { dtype, shape, bytes: file.subarray(start + from, start + to) }],
  )
}

function writeTensors(path, tensors) {
  let end = 0
  const header = Object.fromEntries(
    tensors.map(([name, { dtype, shape, bytes }]) => {
      const start = end
      end += bytes.length
      return [name, { dtype, shape, data_offsets: [start, end] }]
    }),
  )
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(path, Buffer.concat([length, text, ...tensors.map(([, { bytes }]) => bytes)]))
}
