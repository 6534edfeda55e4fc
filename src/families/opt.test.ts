import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { largestDifference } from '../../test/compare.js'
import { useWorkspace } from '../../test/workspace.js'
import { ConfigReader } from '../checkpoint/config-reader.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import type { GgufValue } from '../checkpoint/gguf-value.js'
import { openSafetensors } from '../checkpoint/safetensors.js'
import type { Check } from '../depth/policy.js'
import { FileError } from '../errors.js'
import { opt } from './opt.js'

const FOLDER = 'test/fixtures/checkpoints/opt'
const POSTNORM = 'test/fixtures/checkpoints/opt-350m-postnorm'

const workspace = useWorkspace()

async function read(change: Record<string, unknown> = {}, folder = FOLDER) {
  const fields = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>
  return opt.fromConfig(new ConfigReader('config.json', { ...fields, ...change }))
}

describe('config.json of opt', () => {
  it('may leave out what has a default', async () => {
    const bare = {
      do_layer_norm_before: undefined,
      _remove_final_layer_norm: undefined,
      word_embed_proj_dim: undefined,
      tie_word_embeddings: undefined,
      enable_bias: undefined,
      layer_norm_elementwise_affine: undefined,
      activation_function: undefined,
    }
    expect(await read(bare)).toEqual(await read())
  })

  it('tells of projections, norms and the head in the tensors', async () => {
    const names = async (...args: Parameters<typeof read>) => opt.tensors(await read(...args)).map((t) => t.name)
    expect(await names()).toEqual(expect.arrayContaining(['output_norm.weight', 'blk.0.attn_norm.bias']))
    expect(await names()).not.toContain('output.weight')
    expect(await names({ _remove_final_layer_norm: true })).not.toContain('output_norm.weight')
    expect(await names({ tie_word_embeddings: false })).toContain('output.weight')
    const post = await names({}, POSTNORM)
    expect(post).toEqual(
      expect.arrayContaining(['token_embd_proj.weight', 'output_proj.weight', 'blk.0.layer_output_norm.weight']),
    )
    expect(post).not.toContain('output_norm.weight')
  })
})

describe('GGUF metadata of opt', () => {
  it.each<[string, GgufValue]>([
    ['attention.head_count', { type: 'uint32', value: 5 }],
    ['token_embedding_length', { type: 'uint32', value: 0 }],
    ['vocab_size', { type: 'string', value: '96' }],
    ['attention.layer_norm_epsilon', { type: 'string', value: 'small' }],
  ])('is refused where %s makes no sense', async (key, value) => {
    const h = await read()
    const values = [...opt.toMetadata(h).values, [`opt.${key}`, value] as const]
    expect(() => opt.fromMetadata(new GgufMetadata('x.gguf', values), new Set())).toThrow(FileError)
    expect(() => opt.fromMetadata(new GgufMetadata('x.gguf', values), new Set())).toThrow(/^x.gguf: /)
  })
})

describe('learned positions', () => {
  it('begin at the third row of the table', async () => {
    const model = await workspace.load(FOLDER)
    const weights = await openSafetensors(join(FOLDER, 'model.safetensors'))
    const tokens = await weights.readFloats('model.decoder.embed_tokens.weight')
    const positions = await weights.readFloats('model.decoder.embed_positions.weight')
    await weights.close()
    const inputs = new Map<number, Float32Array>()
    const policy = {
      kind: 'exit',
      spec: 'test',
      needs: { hidden: true },
      checkLayers: () => [0],
      startToken: (t: { position: number }) => t.position,
      exits: (check: Check, position: unknown) => {
        inputs.set(position as number, check.input)
        return false
      },
    } as const
    const ids = [5, 9, 5, 7]
    await model.score(ids, { promptLength: 1, depth: policy })
    const { hidden } = model.hyperparameters
    for (const p of [1, 2, 3]) {
      const expected = Array.from(
        { length: hidden },
        (_, i) => tokens[ids[p]! * hidden + i]! + positions[(p + 2) * hidden + i]!,
      )
      expect(largestDifference(inputs.get(p)!, expected)).toBeLessThan(1e-6)
    }
  })

  it('bound the context', async () => {
    await expect(workspace.load(FOLDER, { context: 129 })).rejects.toThrow(
      'context 129 is more than the 128 positions that opt has',
    )
    const model = await workspace.load(FOLDER, { context: 128 })
    const result = await model.generate(Array(120).fill(3), { maxTokens: 50, ignoreEos: true }).result
    expect(result.tokens.length).toBeGreaterThan(6)
    expect(result.tokens.length).toBeLessThanOrEqual(9)
  })

  it('are refused where the table has another length', async () => {
    const folder = join(workspace.folder, 'short')
    await mkdir(folder)
    const config = JSON.parse(await readFile(join(FOLDER, 'config.json'), 'utf8')) as Record<string, unknown>
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, max_position_embeddings: 130 }))
    await copyFile(join(FOLDER, 'model.safetensors'), join(folder, 'model.safetensors'))
    await expect(workspace.load(folder)).rejects.toThrow(
      /model.safetensors: tensor model.decoder.embed_positions.weight is \[130, 32\], config.json makes it \[132, 32\]/,
    )
  })
})

describe.each([FOLDER, POSTNORM])('%s quantised', (folder) => {
  it.each(['f16', 'bf16', 'q8_0', 'q4_0'] as const)('runs as %s near its float32 self', async (quantization) => {
    const ids = [2, 30, 4, 50, 6, 70]
    const exact = await (await workspace.load(folder)).trace(ids)
    const model = await workspace.load(folder, { quantization })
    const { hidden } = await model.trace(ids)
    const spread = Math.max(...exact.hidden[0]!.map(Math.abs))
    expect(largestDifference(hidden[0]!, exact.hidden[0]!) / spread).toBeLessThan(quantization === 'q4_0' ? 0.5 : 0.05)
  })
})
