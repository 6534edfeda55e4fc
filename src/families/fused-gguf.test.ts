import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { largestDifference } from '../../test/compare.js'
import { useWorkspace } from '../../test/workspace.js'
import { readGguf } from '../checkpoint/gguf.js'
import { createGgufWriter } from '../checkpoint/gguf-write.js'
import { convertModel } from '../convert/package.js'

const workspace = useWorkspace()

/** Rewrites a package with the parts of every layer as one tensor, matrix by matrix. */
async function fuse(
  source: string,
  path: string,
  parts: readonly string[],
  name: string,
  matrices: number,
): Promise<void> {
  const file = await readGguf(source)
  const bytes = await readFile(source)
  const isPart = (tensor: string) => parts.some((part) => tensor.endsWith(`.${part}.weight`))
  const tensors = [...file.tensors.values()].flatMap((tensor) => {
    if (!isPart(tensor.name)) return [{ tensor, from: [tensor] }]
    if (!tensor.name.endsWith(`.${parts[0]}.weight`)) return []
    const from = parts.map((part) => file.tensors.get(tensor.name.replace(parts[0]!, part))!)
    const rows = from.reduce((sum, { shape }) => sum + shape[1]!, 0)
    const shape = [tensor.shape[0]!, rows, ...tensor.shape.slice(2)]
    return [{ tensor: { ...tensor, name: tensor.name.replace(parts[0]!, name), shape }, from }]
  })
  const declarations = tensors.map(({ tensor: { name, shape, type } }) => ({ name, shape, type }))
  const writer = await createGgufWriter(path, file.metadata, declarations)
  for (const { tensor, from } of tensors) {
    const count = from.length === 1 ? 1 : matrices
    for (let m = 0; m < count; m++) {
      for (const { offset, bytes: length } of from) {
        const size = length / count
        await writer.append(tensor.name, bytes.subarray(offset + m * size, offset + (m + 1) * size))
      }
    }
  }
  await writer.finish()
}

// Any architecture of llama.cpp takes q, k and v in one matrix, and gate and up of experts.
describe('a package with fused tensors', () => {
  it.each([
    ['llama', ['attn_q', 'attn_k', 'attn_v'], 'attn_qkv', 1],
    ['qwen3_moe', ['ffn_gate_exps', 'ffn_up_exps'], 'ffn_gate_up_exps', 4],
  ])('of %s says what the split one says', async (fixture, parts, name, matrices) => {
    const [split, fused] = ['split', 'fused'].map((which) => join(workspace.folder, `${fixture}-${which}.gguf`)) as [
      string,
      string,
    ]
    await convertModel(`test/fixtures/checkpoints/${fixture}`, split, { quantization: 'f32' })
    await fuse(split, fused, parts, name, matrices)
    const ids = [2, 30, 4, 50, 6, 70, 8, 9]
    const [a, b] = [await workspace.load(split), await workspace.load(fused)]
    expect(largestDifference((await b.trace(ids)).logits, (await a.trace(ids)).logits)).toBeLessThan(1e-4)
    const options = { maxTokens: 6, ignoreEos: true, depth: 'gap:0.3' } as const
    expect((await b.generate(ids, options).result).tokens).toEqual((await a.generate(ids, options).result).tokens)
  })
})
