import { expect, it } from 'vitest'
import { ConfigReader } from '../../checkpoint/config-reader.js'
import { GgufMetadata } from '../../checkpoint/gguf-metadata.js'
import { reduceConfig } from './config.js'
import { reduceMetadata } from './gguf.js'
import { keptGgufName, keptName } from './layer-name.js'

function reduce(text: string, plan: readonly number[]): string {
  return reduceConfig(new ConfigReader('config.json', JSON.parse(text) as Record<string, unknown>), text, 4, plan)
}

it('cuts counts and lists of layers in a config, and nothing else', () => {
  expect(
    reduce(
      '{"n_layer":4,"num_hidden_layers": 4, "layer_types":["a","b","c","d"],"eos_token_id":[1,2,3,4],"e":1e-05}',
      [0, 3],
    ),
  ).toBe('{"n_layer":2,"num_hidden_layers": 2, "layer_types":["a","d"],"eos_token_id":[1,2,3,4],"e":1e-05}')
})

it('refuses a config that contradicts itself', () => {
  expect(() => reduce('{"num_hidden_layers":4,"n_layer":5}', [0])).toThrow(/n_layer is 5, and the model has 4 layers/)
  expect(() => reduce('{"num_hidden_layers":4,"layer_types":["a"]}', [0])).toThrow(/layer_types must be a list of 4/)
  expect(() => reduce('{}', [0])).toThrow(/no field for the number of layers/)
})

it('renumbers names of kept layers, the long form and the short', () => {
  const name = keptName('transformer.h', [1, 12])
  expect(
    ['transformer.h.1.a.weight', 'h.12.b', 'transformer.h.2.a', 'transformer.ln_f.weight', 'h.x'].map(name),
  ).toEqual(['transformer.h.0.a.weight', 'h.1.b', null, 'transformer.ln_f.weight', 'h.x'])
  expect(['blk.12.attn_q.weight', 'blk.0.x', 'output.weight'].map(keptGgufName([1, 12]))).toEqual([
    'blk.1.attn_q.weight',
    null,
    'output.weight',
  ])
})

it('cuts the lists of layers in the metadata of a GGUF file', () => {
  const metadata = new GgufMetadata('', [
    ['general.name', { type: 'string', value: 'before' }],
    ['general.size_label', { type: 'string', value: '1B' }],
    ['general.base_model.0.name', { type: 'string', value: 'older' }],
    ['x.block_count', { type: 'uint64', value: 4 }],
    ['x.attention.head_count_kv', { type: 'array', of: 'int32', value: [1, 2, 3, 4] }],
    ['x.rope.dimension_sections', { type: 'array', of: 'int32', value: [5, 6, 7, 8] }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: ['a', 'b', 'c', 'd'] }],
    ['shoal.depth', { type: 'string', value: 'full' }],
  ])
  expect([...reduceMetadata(metadata, 'x', 4, [0, 3], { name: 'after', baseModel: 'before' }).values]).toEqual([
    ['general.name', { type: 'string', value: 'after' }],
    ['x.block_count', { type: 'uint64', value: 2 }],
    ['x.attention.head_count_kv', { type: 'array', of: 'int32', value: [1, 4] }],
    ['x.rope.dimension_sections', { type: 'array', of: 'int32', value: [5, 6, 7, 8] }],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: ['a', 'b', 'c', 'd'] }],
    ['general.base_model.count', { type: 'uint32', value: 1 }],
    ['general.base_model.0.name', { type: 'string', value: 'before' }],
  ])
})
