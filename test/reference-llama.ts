import { type RandomCheckpoint, RMS_EPSILON } from './random-checkpoint.js'

/** What the reference says of every layer: hidden [S, H] per layer, lens logits [S, V] per layer. */
export interface ReferenceRun {
  readonly hidden: readonly Float64Array[]
  readonly lensLogits: readonly Float64Array[]
}

/**
 * A Llama decoder in plain float64, written from the architecture's papers and shared with no code of src: RMSNorm
 * (Zhang and Sennrich 2019), rotary positions on the halves of a head (Su et al. 2021, in Hugging Face's order),
 * grouped KV heads (Ainslie et al. 2023), SwiGLU (Shazeer 2020).
 *
 * @param runs layers that a position runs; a layer left out neither reads nor writes its cache. Default: all. Where a
 *   position skips a layer, `hidden` of that layer is what passed by it.
 */
export function referenceRun(
  checkpoint: RandomCheckpoint,
  ids: readonly number[],
  runs: (position: number, layer: number) => boolean = () => true,
): ReferenceRun {
  const { shape: s, weights } = checkpoint
  const weight = (name: string) => weights.get(name) as Float32Array
  const hidden = Array.from({ length: s.layers }, () => new Float64Array(ids.length * s.hidden))
  const lensLogits = Array.from({ length: s.layers }, () => new Float64Array(ids.length * s.vocabulary))
  const caches = Array.from({ length: s.layers }, (): { keys: Float64Array[]; values: Float64Array[] } => ({
    keys: [],
    values: [],
  }))

  ids.forEach((id, position) => {
    let x = Float64Array.from(weight('model.embed_tokens.weight').subarray(id * s.hidden, (id + 1) * s.hidden))
    for (let l = 0; l < s.layers; l++) {
      if (runs(position, l)) x = layer(x, l, position)
      hidden[l]?.set(x, position * s.hidden)
      const head = weight(s.tied ? 'model.embed_tokens.weight' : 'lm_head.weight')
      lensLogits[l]?.set(product(head, norm(x, weight('model.norm.weight'))), position * s.vocabulary)
    }
  })
  return { hidden, lensLogits }

  function layer(x: Float64Array, l: number, position: number): Float64Array<ArrayBuffer> {
    const name = `model.layers.${l}`
    const linear = (part: string, input: Float64Array) =>
      product(weight(`${name}.${part}.weight`), input, weights.get(`${name}.${part}.bias`))
    const normed = norm(x, weight(`${name}.input_layernorm.weight`))
    const q = rotate(linear('self_attn.q_proj', normed), position)
    const { keys, values } = caches[l] as (typeof caches)[number]
    keys.push(rotate(linear('self_attn.k_proj', normed), position))
    values.push(linear('self_attn.v_proj', normed))
    const attended = new Float64Array(s.heads * s.headDim)
    for (let h = 0; h < s.heads; h++) {
      const from = h * s.headDim
      const kvFrom = Math.floor(h / (s.heads / s.kvHeads)) * s.headDim
      const scores = keys.map((k) => {
        let dot = 0
        for (let d = 0; d < s.headDim; d++) dot += (q[from + d] as number) * (k[kvFrom + d] as number)
        return dot / Math.sqrt(s.headDim)
      })
      const largest = Math.max(...scores)
      const exps = scores.map((score) => Math.exp(score - largest))
      const sum = exps.reduce((a, b) => a + b, 0)
      exps.forEach((e, i) => {
        const v = values[i] as Float64Array
        for (let d = 0; d < s.headDim; d++)
          attended[from + d] = (attended[from + d] as number) + (e / sum) * (v[kvFrom + d] as number)
      })
    }
    const middle = sum(x, linear('self_attn.o_proj', attended))
    const mlpIn = norm(middle, weight(`${name}.post_attention_layernorm.weight`))
    const up = linear('mlp.up_proj', mlpIn)
    const inner = linear('mlp.gate_proj', mlpIn).map((g, i) => (g / (1 + Math.exp(-g))) * (up[i] as number))
    return sum(middle, linear('mlp.down_proj', inner))
  }

  /** Rotates every head: element i with element i + headDim / 2, by position / factor * theta^(-2i / headDim). */
  function rotate(heads: Float64Array, position: number): Float64Array<ArrayBuffer> {
    const half = s.headDim / 2
    const out = new Float64Array(heads.length)
    for (let from = 0; from < heads.length; from += s.headDim) {
      for (let i = 0; i < half; i++) {
        const angle = (position / s.ropeFactor) * s.ropeTheta ** ((-2 * i) / s.headDim)
        const a = heads[from + i] as number
        const b = heads[from + half + i] as number
        out[from + i] = a * Math.cos(angle) - b * Math.sin(angle)
        out[from + half + i] = b * Math.cos(angle) + a * Math.sin(angle)
      }
    }
    return out
  }
}

function product(matrix: Float32Array, x: Float64Array, bias?: Float32Array): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: matrix.length / x.length }, (_, row) => {
    let sum = bias?.[row] ?? 0
    for (let i = 0; i < x.length; i++) sum += (matrix[row * x.length + i] as number) * (x[i] as number)
    return sum
  })
}

function norm(x: Float64Array, weight: Float32Array): Float64Array<ArrayBuffer> {
  const meanSquare = x.reduce((sum, v) => sum + v * v, 0) / x.length
  return x.map((v, i) => (v / Math.sqrt(meanSquare + RMS_EPSILON)) * (weight[i] as number))
}

function sum(a: Float64Array, b: Float64Array): Float64Array<ArrayBuffer> {
  return a.map((v, i) => v + (b[i] as number))
}
