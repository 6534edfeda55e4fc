import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type ContentTensor, writeContent } from '../../test/gguf-content.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { UnsupportedError } from '../errors.js'
import { readGgufModel } from './gguf-model.js'
import { convertModel, openPackage } from './package.js'

const folder = mkdtempSync(join(tmpdir(), 'shoal-kinds-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const text = (value: string): GgufValue => ({ type: 'string', value })
const number = (value: number): GgufValue => ({ type: 'uint32', value })
const tensor = (name: string): ContentTensor => ({ name, shape: [2], type: 'f32', data: new Uint8Array(8) })

function write(metadata: Record<string, GgufValue>, tensors: readonly string[]): Promise<string> {
  return writeContent(join(folder, 'x.gguf'), {
    metadata: new Map(Object.entries(metadata)),
    tensors: tensors.map(tensor),
  })
}

describe('a GGUF file that is no language model is refused by its kind', () => {
  const mtp = {
    'general.architecture': text('qwen35'),
    'qwen35.block_count': number(25),
    'qwen35.nextn_predict_layers': number(1),
  }
  it.each([
    ['mmproj', { 'general.architecture': text('clip') }, ['v.patch_embd.weight'], 'is a projector for images or sound'],
    ['mmproj by type', { 'general.architecture': text('x'), 'general.type': text('mmproj') }, ['a'], 'is a projector'],
    [
      'LoRA',
      { 'general.architecture': text('llama'), 'general.type': text('adapter') },
      ['blk.0.attn_q.weight.lora_a'],
      'is a LoRA adapter',
    ],
    [
      'LoRA by key',
      { 'general.architecture': text('llama'), 'adapter.type': text('lora') },
      ['a'],
      'is a LoRA adapter',
    ],
    ['imatrix', { 'general.type': text('imatrix') }, ['blk.0.attn_q.weight.in_sum2'], 'is an importance matrix'],
    ['imatrix by key', { 'imatrix.chunk_count': number(1) }, ['a'], 'is an importance matrix'],
    ['control vector', { 'general.architecture': text('controlvector') }, ['direction.1'], 'is a control vector'],
    ['eagle3', { 'general.architecture': text('eagle3') }, ['a'], 'is a draft model'],
    ['dflash', { 'general.architecture': text('dflash') }, ['a'], 'is a draft model'],
    [
      'MTP only',
      mtp,
      ['token_embd.weight', 'blk.24.nextn.eh_proj.weight'],
      'holds only the layers that predict further tokens',
    ],
    [
      'vocabulary',
      { 'general.architecture': text('llama'), 'tokenizer.ggml.model': text('gpt2') },
      [],
      'holds a vocabulary and no weights',
    ],
    [
      'old experts',
      { 'general.architecture': text('llama') },
      ['blk.0.ffn_gate.3.weight'],
      'tensor blk.0.ffn_gate.3.weight was made by an old converter; convert the model again',
    ],
  ] as const)('%s', async (_, metadata, tensors, reason) => {
    const path = await write(metadata, tensors)
    await expect(readGgufModel(path)).rejects.toThrow(UnsupportedError)
    await expect(openPackage(path)).rejects.toThrow(`${path}: ${reason}`)
    await expect(convertModel(path, join(folder, 'out.gguf'))).rejects.toThrow(reason)
  })

  it.each([
    ['a model with such layers', mtp, ['blk.0.attn_q.weight', 'blk.24.nextn.eh_proj.weight']],
    ['a model without their tensors', mtp, ['blk.0.attn_q.weight']],
    ['a model of its type', { 'general.architecture': text('llama'), 'general.type': text('model') }, ['a']],
    [
      'keys that are names of objects',
      { 'general.architecture': text('constructor'), 'general.type': text('toString') },
      ['a'],
    ],
    ['keys of other types', { 'general.architecture': number(1), 'general.type': number(1) }, ['a']],
  ] as const)('not %s', async (_, metadata, tensors) => {
    expect((await readGgufModel(await write(metadata, tensors))).tensors.size).toBe(tensors.length)
  })
})
