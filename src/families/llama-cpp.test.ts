import { describe, expect, it } from 'vitest'
import { readConfig } from '../checkpoint/huggingface.js'
import { familyByModelType } from './index.js'
import { unlikeLlamaCpp } from './llama-cpp.js'

async function linesOf(fixture: string, change: Record<string, unknown> = {}): Promise<string[]> {
  const config = await readConfig(`test/fixtures/checkpoints/${fixture}`)
  Object.assign(config.fields, change)
  const family = familyByModelType(config.string('model_type'), config.path)
  return unlikeLlamaCpp(family, family.fromConfig(config))
}

// What test/llama-cpp/families.js measures on the same fixtures.
describe('what llama.cpp makes of a package', () => {
  it.each([
    ['mistral-window', ['no layer has a window']],
    ['qwen2-window', ['no layer has a window']],
    ['starcoder2', ['no layer has a window']],
    ['exaone4-window', ['no layer has a window']],
    ['olmo3', ['other layers have a window', 'YaRN with betas of 32 and 1']],
    ['llama-yarn', ['YaRN with betas of 32 and 1']],
    ['gpt_oss', ['YaRN with betas of 32 and 1', 'a YaRN ramp with rounded ends']],
    ['gemma3', ['scores are scaled by the size of a head']],
  ])('%s', async (fixture, reasons) => {
    expect(await linesOf(fixture)).toEqual(reasons.map((reason) => `llama.cpp computes something else here: ${reason}`))
  })

  it.each([
    ['cohere-qknorm', 'norms of queries and keys are for 64 layers or more'],
    ['seed_oss', 'it has a bias on attention outputs'],
  ])('%s is not loaded', async (fixture, reason) => {
    expect(await linesOf(fixture)).toEqual([`llama.cpp does not load this file: ${reason}`])
  })

  it('olmoe is not loaded, and would not be cut', async () => {
    expect(await linesOf('olmoe')).toHaveLength(2)
    expect(await linesOf('olmoe', { num_key_value_heads: 4, clip_qkv: null })).toEqual([])
  })

  it.each(['llama', 'mistral', 'gemma', 'gemma2', 'cohere2', 'phi3-longrope', 'ministral3', 'qwen3_moe', 'granitemoe'])(
    '%s is the same there',
    async (fixture) => {
      const change = fixture === 'qwen3_moe' ? { norm_topk_prob: true } : {}
      expect(await linesOf(fixture, change)).toEqual([])
    },
  )

  it('opt is unknown there', async () => {
    expect(await linesOf('opt')).toEqual(['llama.cpp does not know the architecture opt; Shoal runs this file'])
  })
})
