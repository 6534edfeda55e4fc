import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../test/workspace.js'
import { readGguf } from '../checkpoint/gguf.js'
import type { GgufFile, GgufTensor } from '../checkpoint/gguf-file.js'
import { GgufMetadata } from '../checkpoint/gguf-metadata.js'
import { createGgufWriter } from '../checkpoint/gguf-write.js'
import { FileError, UnsupportedError } from '../errors.js'
import { llama } from '../families/llama.js'
import type { Model, ProgressInfo } from './api.js'
import { weightUses } from './run/weight-uses.js'

const workspace = useWorkspace()
let model: Model
let gguf: GgufFile
beforeAll(async () => {
  model = await workspace.loadRandom(71, { layers: 2 })
  gguf = await readGguf(model.path)
})

describe('loading a model', () => {
  it('takes a GGUF file as it is', async () => {
    const direct = await workspace.load(model.path)
    const ids = [1, 2, 3]
    expect((await direct.trace(ids)).logits).toEqual((await model.trace(ids)).logits)
    expect(direct.path).toBe(model.path)
    expect(direct.quantization).toBe('f32')
    expect(direct.parameters).toBe(model.parameters)
    await expect(workspace.load(model.path, { quantization: 'f16' }).then(() => 'loaded')).rejects.toThrow(
      /keeps its own quantization/,
    )
  })

  it('tells its progress', async () => {
    const { folder } = await workspace.random(72, { layers: 1 })
    const seen: ProgressInfo[] = []
    const loaded = await workspace.load(folder, { progress: (info) => seen.push(info) })
    expect(seen[0]?.status).toBe('initiate')
    expect(seen.at(-1)).toMatchObject({ status: 'ready', file: loaded.path, progress: 100 })
    expect(seen.map((s) => s.progress)).toEqual(seen.map((s) => s.progress).toSorted((a, b) => a - b))
  })

  it.each(['f16', 'bf16', 'q8_0', 'q4_0', 'q4_k', 'q6_k'] as const)('runs in %s, near to f32', async (quantization) => {
    const { folder } = await workspace.random(73, { layers: 2, hidden: 256, feedForward: 256, headDim: 64 })
    const exact = await workspace.load(folder)
    const rounded = await workspace.load(folder, { quantization })
    expect(rounded.quantization).toBe(quantization)
    const ids = [1, 2, 3, 4, 5, 6]
    const [a, b] = [(await exact.trace(ids)).logits, (await rounded.trace(ids)).logits]
    const norm = (x: Float32Array) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0))
    expect(norm(a.map((v, i) => v - b[i]!)) / norm(a)).toBeLessThan(quantization.startsWith('q4') ? 0.4 : 0.1)
    const { tokens } = await rounded.generate(ids, { maxTokens: 4, ignoreEos: true, depth: 'gap:0.5' }).result
    expect(tokens).toHaveLength(4)
  })

  it('refuses a file that is truncated, at any place', async () => {
    const bytes = await readFile(model.path)
    const path = join(workspace.folder, 'cut.gguf')
    for (const length of [0, 3, 8, 20, 100, 1000, bytes.length >> 1, bytes.length - 1]) {
      await writeFile(path, bytes.subarray(0, length))
      const outcome = await workspace.load(path).then(
        () => 'loaded',
        (error: unknown) => error,
      )
      expect(outcome, `${length} bytes`).toBeInstanceOf(FileError)
      expect(String(outcome)).toContain('cut.gguf')
    }
  })

  it('refuses another architecture, and names the supported ones', async () => {
    const path = join(workspace.folder, 'other.gguf')
    const writer = await createGgufWriter(
      path,
      new GgufMetadata(path, [['general.architecture', { type: 'string', value: 'mamba' }]]),
      [],
    )
    await writer.finish()
    await expect(workspace.load(path).then(() => 'loaded')).rejects.toThrow(
      /architecture "mamba" is not supported; supported: llama/,
    )
  })
})

describe('the tensors of a package', () => {
  const uses = (change: (tensors: Map<string, GgufTensor>) => void) => {
    const tensors = new Map(gguf.tensors)
    change(tensors)
    const h = llama.fromMetadata(gguf.metadata, new Set(gguf.tensors.keys()))
    return () => weightUses({ ...gguf, tensors }, llama, h)
  }
  const alter = (name: string, change: Partial<GgufTensor>) => uses((t) => t.set(name, { ...t.get(name)!, ...change }))

  it('are all used', () => {
    expect(
      uses(() => {})()
        .map((u) => u.tensor.name)
        .toSorted(),
    ).toEqual([...gguf.tensors.keys()].toSorted())
  })

  it('are refused where one is missing, unknown, of another shape or of another type', () => {
    expect(uses((t) => t.delete('blk.1.ffn_up.weight'))).toThrow(
      new FileError(model.path, 'tensor blk.1.ffn_up.weight is missing'),
    )
    const extra = uses((t) => t.set('blk.0.attn_sinks', { ...t.get('output_norm.weight')!, name: 'blk.0.attn_sinks' }))
    expect(extra).toThrow(
      new UnsupportedError(`${model.path}: tensor blk.0.attn_sinks is not one that llama models have here`),
    )
    expect(alter('blk.0.attn_q.weight', { shape: [32, 31] })).toThrow(
      /blk.0.attn_q.weight has the shape \[32, 31\] where \[32, 32\] fits/,
    )
    expect(alter('output_norm.weight', { shape: [32, 2] })).toThrow(FileError)
    expect(alter('output_norm.weight', { type: 'f16' })).toThrow(/norms and biases must be f32/)
    expect(alter('blk.0.attn_q.weight', { type: 'i32' })).toThrow(/is i32, which weights cannot be/)
  })
})
