/**
 * Peak memory of a conversion: writes a checkpoint of random weights in a temporary folder, converts it in this process,
 * and prints how much resident memory grew beside the bound of 256 MB + twice the largest layer in float32.
 *
 *     node --import ./test/typescript-loader.mjs bench/convert-memory.ts --quantization q4_0
 *
 * Defaults are TinyLlama-1.1B's shape (2.2 GB of bf16 on disk while it runs).
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { float32ToBfloat16 } from '../src/checkpoint/float16.js'
import { openHuggingFace } from '../src/checkpoint/huggingface.js'
import { createSafetensorsWriter } from '../src/checkpoint/safetensors-write.js'
import type { Quantization } from '../src/checkpoint/tensor-type.js'
import { convertModel } from '../src/convert/package.js'
import { llama } from '../src/families/llama.js'
import type { TensorMapping } from '../src/families/tensor-rows.js'

const { values: options } = parseArgs({
  options: {
    layers: { type: 'string', default: '22' },
    hidden: { type: 'string', default: '2048' },
    heads: { type: 'string', default: '32' },
    'kv-heads': { type: 'string', default: '4' },
    'feed-forward': { type: 'string', default: '5632' },
    vocabulary: { type: 'string', default: '32000' },
    quantization: { type: 'string', default: 'q4_0' },
    folder: { type: 'string', default: tmpdir() },
  },
})

const CONFIG = {
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: Number(options.hidden),
  intermediate_size: Number(options['feed-forward']),
  num_hidden_layers: Number(options.layers),
  num_attention_heads: Number(options.heads),
  num_key_value_heads: Number(options['kv-heads']),
  max_position_embeddings: 2048,
  vocab_size: Number(options.vocabulary),
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
}

/** A stretch of random bf16 values that every tensor repeats: random enough, and quick. */
const NOISE = Uint16Array.from({ length: 1 << 20 }, () => float32ToBfloat16((Math.random() - 0.5) / 20))

async function writeCheckpoint(folder: string): Promise<TensorMapping[]> {
  await writeFile(join(folder, 'config.json'), JSON.stringify(CONFIG))
  const mappings = llama.tensors(llama.fromConfig((await openHuggingFace(folder)).config))
  const declarations = mappings.map(({ sources, shape }) => ({
    name: sources[0]!.names[0]!,
    dtype: 'BF16' as const,
    shape,
  }))
  const writer = await createSafetensorsWriter(join(folder, 'model.safetensors'), declarations)
  for (const { name, shape } of declarations) {
    for (let left = elements(shape); left > 0; left -= NOISE.length) await writer.append(name, NOISE.subarray(0, left))
  }
  await writer.finish()
  return mappings
}

/** Parameters of the largest layer; embedding and head go in blocks of rows and do not count. */
function largestLayer(mappings: readonly TensorMapping[]): number {
  const layers = new Map<string, number>()
  for (const { name, shape } of mappings) {
    const layer = /^blk\.\d+/.exec(name)?.[0]
    if (layer !== undefined) layers.set(layer, (layers.get(layer) ?? 0) + elements(shape))
  }
  return Math.max(...layers.values())
}

function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

const folder = await mkdtemp(join(options.folder, 'shoal-memory-'))
try {
  const mappings = await writeCheckpoint(folder)
  const MB = 1024 * 1024
  const start = process.memoryUsage().rss
  const began = performance.now()
  const quantization = options.quantization as Quantization
  const { bytes } = await convertModel(folder, join(folder, 'out.gguf'), { quantization })
  // The operating system's own count of the peak; it has seen the checkpoint being written, too.
  const growth = (process.resourceUsage().maxRSS * 1024 - start) / MB
  const bound = 256 + (2 * 4 * largestLayer(mappings)) / MB
  const seconds = (performance.now() - began) / 1000
  const parameters = mappings.reduce((sum, { shape }) => sum + elements(shape), 0)
  const result = {
    parameters,
    bytes,
    seconds,
    start_mb: start / MB,
    growth_mb: growth,
    bound_mb: bound,
    ok: growth <= bound,
  }
  console.log(JSON.stringify(result))
  if (!result.ok) process.exitCode = 1
} finally {
  await rm(folder, { recursive: true })
}
