import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readConfig } from '../huggingface.js'
import { openWeights } from '../sharded.js'
import { openPrequantized } from './open.js'
import { findQuantization } from './quantization-config.js'

const FIXTURES = 'test/fixtures/prequantized'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-quantization-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function quantizationOf(name: string): Promise<Record<string, unknown>> {
  const text = await readFile(join(FIXTURES, name, 'config.json'), 'utf8')
  return (JSON.parse(text) as { quantization_config: Record<string, unknown> }).quantization_config
}

async function summaryOf(name: string, files: Record<string, unknown>): Promise<string | null> {
  await cp(join(FIXTURES, name, 'model.safetensors'), join(folder, 'model.safetensors'))
  for (const [file, contents] of Object.entries(files)) await writeFile(join(folder, file), JSON.stringify(contents))
  const weights = await openWeights(folder)
  try {
    return (await openPrequantized(await readConfig(folder), weights)).summary
  } finally {
    await weights.close()
  }
}

it('finds it wherever it is written', async () => {
  const quantization = await quantizationOf('ct-int4-sym')
  const summary = 'compressed-tensors int4: 1 matrix kept exactly as q4_0'
  expect(await summaryOf('ct-int4-sym', { 'config.json': { compression_config: quantization } })).toBe(summary)
  const nested = { quantization_config: null, text_config: { quantization_config: quantization } }
  expect(await summaryOf('ct-int4-sym', { 'config.json': nested })).toBe(summary)
})

it('takes what AutoGPTQ wrote beside config.json', async () => {
  const { quant_method: _, ...quantization } = await quantizationOf('gptq-4-sym')
  const files = { 'config.json': {}, 'quantize_config.json': quantization }
  expect(await summaryOf('gptq-4-sym', files)).toBe('GPTQ 4-bit: 1 matrix kept exactly as q4_0')
})

it('tells bitsandbytes without a name by its flags', async () => {
  const { quant_method: _, ...quantization } = await quantizationOf('bnb-nf4')
  const files = { 'config.json': { quantization_config: quantization } }
  expect(await summaryOf('bnb-nf4', files)).toContain('bitsandbytes nf4: 1 matrix becomes f16')
})

it('reads MXFP8 of transformers, and the status of older compressed-tensors', async () => {
  const files = { 'config.json': { quantization_config: { quant_method: 'mxfp8' } } }
  expect(await summaryOf('ct-mxfp8', files)).toBe('FP8: 1 matrix kept exactly as f16')
  const quantization = { ...(await quantizationOf('ct-int4-sym')), quantization_status: 'frozen' }
  const older = { 'config.json': { quantization_config: quantization } }
  expect(await summaryOf('ct-int4-sym', older)).toContain('kept exactly as q4_0')
})

it('refuses a hf_quant_config.json that says nothing', async () => {
  await writeFile(join(folder, 'config.json'), '{}')
  await writeFile(join(folder, 'hf_quant_config.json'), '{"producer": {"name": "other"}, "quantization": {}}')
  await expect(findQuantization(await readConfig(folder))).rejects.toThrow(
    'names no quantization of the producer modelopt',
  )
  await writeFile(join(folder, 'config.json'), '{"quantization_config": {"format": "x"}}')
  await expect(findQuantization(await readConfig(folder))).rejects.toThrow(
    'quantization_config.quant_method is missing',
  )
})
