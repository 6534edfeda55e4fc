import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ImportedPlan, type ImportOptions, importPlan } from './import-plan.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-import-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function load(value: unknown, options: Partial<ImportOptions> = {}): Promise<ImportedPlan> {
  const path = join(folder, 'list.json')
  writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value))
  return importPlan(path, { layers: 8, entry: null, wholeLayers: false, ...options })
}

// As published: one entry per model and task, layers counted from 0, attention and MLP apart.
const SWIFT = {
  'llama-2-13b_cnndm': { attention: [2, 3, 5], mlp: [3, 5] },
  'codellama-13b_humaneval': { attention: [1, 6], mlp: [6, 1] },
}

describe("SWIFT's skip_layers.json", () => {
  it('gives the layers of an entry that are left out whole', async () => {
    expect(await load(SWIFT, { entry: 'codellama-13b_humaneval' })).toEqual({
      plan: [0, 2, 3, 4, 5, 7],
      layers: 8,
      method: "SWIFT's skip_layers.json, codellama-13b_humaneval",
      halves: [],
    })
    expect(await load(SWIFT, { entry: 'llama-2-13b_cnndm', wholeLayers: true })).toMatchObject({
      plan: [0, 1, 2, 4, 6, 7],
      halves: [2],
    })
  })

  it('is refused where half a layer is left out, and where no entry or no number of layers is known', async () => {
    await expect(load(SWIFT, { entry: 'llama-2-13b_cnndm' })).rejects.toThrow(/half of layers 2 .*--whole-layers/)
    await expect(load(SWIFT)).rejects.toThrow(/several entries, choose one with --entry: llama-2-13b_cnndm, code/)
    await expect(load(SWIFT, { entry: 'gpt' })).rejects.toThrow(/has no entry gpt/)
    await expect(load(SWIFT, { entry: 'codellama-13b_humaneval', layers: null })).rejects.toThrow(/--layers N/)
    await expect(load(SWIFT, { entry: 'codellama-13b_humaneval', layers: 5 })).rejects.toThrow(/leaves out layer 6/)
    await expect(load({ a: { attention: ['1'], mlp: [] } })).rejects.toThrow(/a\.attention must be a list of layers/)
    await expect(load({ a: { attention: [], mlp: [] } })).rejects.toThrow(/leaves out no whole layer/)
  })
})

describe("LLM-Drop's lists", () => {
  it('are taken from a config.json, as layers or as flags', async () => {
    const config = { model_type: 'mistral', num_hidden_layers: 8, drop_mlp_list: [6, 5, 4], drop_attn_list: [6, 5, 4] }
    expect(await load(config, { layers: null })).toMatchObject({ plan: [0, 1, 2, 3, 7], layers: 8 })
    const flags = (...dropped: number[]) => Array.from({ length: 8 }, (_, layer) => dropped.includes(layer))
    expect(
      await load({ ...config, drop_mlp_list: flags(2, 3), drop_attn_list: flags(2, 3) }, { layers: 8 }),
    ).toMatchObject({ plan: [0, 1, 4, 5, 6, 7] })
    await expect(load({ ...config, drop_mlp_list: [] })).rejects.toThrow(/half of layers 4, 5, 6/)
    await expect(load(config, { layers: 9 })).rejects.toThrow(/for a model of 8 layers and this one has 9/)
    await expect(load({ ...config, num_hidden_layers: '8' })).rejects.toThrow(/num_hidden_layers must be/)
    await expect(load({ ...config, drop_attn_list: [true, 3] })).rejects.toThrow(/drop_attn_list must be a list/)
  })

  it('are taken from the mapping of a block drop, and not from a bare list', async () => {
    expect(await load({ 0: 0, 1: 1, 4: 2, 7: 3 })).toMatchObject({ plan: [0, 1, 4, 7], layers: 8, halves: [] })
    await expect(load({ 0: 0, 1: 2 })).rejects.toThrow(/numbered anew from 0/)
    await expect(load({ 0: 0, 9: 1 })).rejects.toThrow(/keeps layer 9/)
    await expect(load([0, 1, 2])).rejects.toThrow(/bare list.*config\.json or layer_mapping\.json/)
    await expect(load('{"a":')).rejects.toThrow(/is not valid JSON/)
    await expect(load({})).rejects.toThrow(/is neither a skip_layers\.json/)
    await expect(load({ a: 1 })).rejects.toThrow(/is neither a skip_layers\.json/)
    await expect(load('7')).rejects.toThrow(/not a JSON object/)
  })
})
