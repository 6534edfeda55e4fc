import { isWeightType } from '../checkpoint/tensor-type.js'
import { Operations } from './operations.js'
import { must, pointerOf, type Shape, Tensor } from './tensor.js'

/** Rotary position embedding as `ggml_rope_ext` takes it. */
export interface Rope {
  /** Dimensions of a head that are rotated. */
  readonly dimensions: number
  /** `interleaved` rotates pairs (2i, 2i + 1), `halves` pairs (i, i + dimensions / 2). */
  readonly pairs: 'interleaved' | 'halves'
  readonly base: number
  /** What cosines and sines are multiplied by. */
  readonly magnitude: number
}

/** How queries and keys become scores. */
export interface Scores {
  readonly scale: number
  /** As in `maskedSoftMax`. */
  readonly maxBias?: number | undefined
  /** Scores become softcap tanh(score / softcap). */
  readonly softcap?: number | undefined
  readonly sinks?: Tensor | null
}

/** The operations of a transformer's layers. */
export class LayerOperations extends Operations {
  rmsNorm(a: Tensor, epsilon: number): Tensor {
    must(a.type === 'f32' && epsilon >= 0, 'rmsNorm', a)
    this.context.take()
    return new Tensor(this.f.ggml_rms_norm(this.context.pointer, pointerOf(a), epsilon), 'f32', a.shape)
  }

  /** (a - mean) / sqrt(variance + epsilon) of every row. */
  norm(a: Tensor, epsilon: number): Tensor {
    must(a.type === 'f32' && epsilon >= 0, 'norm', a)
    this.context.take()
    return new Tensor(this.f.ggml_norm(this.context.pointer, pointerOf(a), epsilon), 'f32', a.shape)
  }

  relu(a: Tensor): Tensor {
    return this.unary(this.f.ggml_relu, 'relu', a)
  }

  silu(a: Tensor): Tensor {
    return this.unary(this.f.ggml_silu, 'silu', a)
  }

  /** GELU's tanh approximation from ggml's table in half precision. */
  geluTable(a: Tensor): Tensor {
    return this.unary(this.f.ggml_gelu, 'geluTable', a)
  }

  /** GELU by the error function. */
  geluErf(a: Tensor): Tensor {
    return this.unary(this.f.ggml_gelu_erf, 'geluErf', a)
  }

  /** Source: Huang and Schlag 2025 (xIELU), section 3; alpha as learned, before its softplus. */
  xielu(
    a: Tensor,
    { alphaN, alphaP, beta, eps }: { alphaN: number; alphaP: number; beta: number; eps: number },
  ): Tensor {
    must(a.type === 'f32' && a.contiguous, 'xielu', a)
    this.context.take()
    const p = this.f.ggml_xielu(this.context.pointer, pointerOf(a), alphaN, alphaP, beta, eps)
    return new Tensor(p, 'f32', a.shape)
  }

  /**
   * a sigmoid(a d) with d = sqrt(8 / pi) (1 + 0.044715 a^2), which is GELU's tanh approximation (Hendrycks and Gimpel
   * 2016, section 2), by way of silu(a d) / d. ggml's own gelu reads it from a table in half precision: 4e-3 off in the
   * hidden states of five layers.
   */
  gelu(a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, 'gelu', a)
    const inner = Math.sqrt(8 / Math.PI)
    this.context.take()
    const squares = pointerOf(this.mul(a, a))
    const d = new Tensor(this.f.ggml_scale_bias(this.context.pointer, squares, inner * 0.044715, inner), 'f32', a.shape)
    const silu = this.node(this.f.ggml_silu, 'f32', a.shape, this.mul(a, d))
    return this.node(this.f.ggml_div, 'f32', a.shape, silu, d)
  }

  /** silu(gate) * up. */
  swiglu(gate: Tensor, up: Tensor): Tensor {
    mustPair('swiglu', gate, up)
    return this.node(this.f.ggml_swiglu_split, 'f32', gate.shape, gate, up)
  }

  /** gelu(gate) * up, with GELU's tanh approximation from ggml's table in half precision. */
  geglu(gate: Tensor, up: Tensor): Tensor {
    mustPair('geglu', gate, up)
    return this.node(this.f.ggml_geglu_split, 'f32', gate.shape, gate, up)
  }

  /** gate sigmoid(1.702 gate) (up + 1), with the gate cut at 7 and up to -7 .. 7: gpt-oss. */
  swigluOai(gate: Tensor, up: Tensor): Tensor {
    mustPair('swigluOai', gate, up)
    this.context.take()
    const p = this.f.ggml_swiglu_oai(this.context.pointer, pointerOf(gate), pointerOf(up), 1.702, 7)
    return new Tensor(p, 'f32', gate.shape)
  }

  /** The columns of the k largest values of every row: [n, r] -> i32 [k, r], the largest first; a view. */
  topK(a: Tensor, k: number): Tensor {
    must(a.type === 'f32' && a.contiguous && a.rows === a.shape[1] && k >= 1 && k <= a.shape[0], 'topK', a)
    this.context.take()
    this.context.take()
    const row = a.shape[0] * 4
    const strides = [4, row, row * a.shape[1], row * a.shape[1]] as const
    return new Tensor(
      this.f.ggml_argsort_top_k(this.context.pointer, pointerOf(a), k),
      'i32',
      [k, a.shape[1], 1, 1],
      strides,
    )
  }

  /**
   * Products with the matrices that are chosen for each row.
   * @param a a stack of matrices [n, m, s] @param b f32 [n, 1 or k, r] @param ids i32 [k, r]: which matrices
   * @returns f32 [m, k, r]
   */
  mulMatId(a: Tensor, b: Tensor, ids: Tensor): Tensor {
    must(ids.type === 'i32' && ids.rows === ids.shape[1] && a.shape[3] === 1 && b.shape[3] === 1, 'mulMatId', a, b, ids)
    must(isWeightType(a.type) && a.shape[0] === b.shape[0] && b.type === 'f32' && b.contiguous, 'mulMatId', a, b, ids)
    must(ids.shape[1] === b.shape[2] && (b.shape[1] === 1 || b.shape[1] === ids.shape[0]), 'mulMatId', a, b, ids)
    return this.node(this.f.ggml_mul_mat_id, 'f32', [a.shape[1], ids.shape[0], b.shape[2], 1], a, b, ids)
  }

  /** Adds to a [n, k, r] the rows of b [n, s] that ids [k, r] name. */
  addId(a: Tensor, b: Tensor, ids: Tensor): Tensor {
    must(a.type === 'f32' && b.type === 'f32' && a.shape[0] === b.shape[0] && ids.type === 'i32', 'addId', a, b, ids)
    must(a.shape[1] === ids.shape[0] && a.shape[2] === ids.shape[1], 'addId', a, b, ids)
    return this.node(this.f.ggml_add_id, 'f32', a.shape, a, b, ids)
  }

  softMax(a: Tensor): Tensor {
    must(a.type === 'f32' && a.contiguous, 'softMax', a)
    return this.node(this.f.ggml_soft_max, 'f32', a.shape, a)
  }

  /**
   * softmax(scale a + slope mask) over the columns.
   * @param a f32 [cells, rows, heads] @param mask f16 or f32 [cells, rows], the same for every head
   * @param maxBias above 0 gives every head its ALiBi slope; 0 makes all slopes 1
   * @param sinks f32 [heads]: a score for each head that takes its share and has no column
   */
  maskedSoftMax(a: Tensor, mask: Tensor, scale: number, maxBias = 0, sinks: Tensor | null = null): Tensor {
    must(
      a.type === 'f32' && a.contiguous && mask.contiguous && mask.rows === mask.shape[1] && maxBias >= 0,
      'maskedSoftMax',
      a,
      mask,
    )
    must(mask.type === 'f16' || mask.type === 'f32', 'maskedSoftMax', mask)
    must(mask.shape[0] === a.shape[0] && mask.shape[1] === a.shape[1], 'maskedSoftMax', a, mask)
    this.context.take()
    if (sinks !== null) must(sinks.type === 'f32' && sinks.elements === a.shape[2], 'maskedSoftMax', a, sinks)
    const p = this.f.ggml_soft_max_ext(this.context.pointer, pointerOf(a), pointerOf(mask), scale, maxBias)
    if (sinks !== null) this.f.ggml_soft_max_add_sinks(p, pointerOf(sinks))
    return new Tensor(p, 'f32', a.shape)
  }

  /** a [headDim, heads, rows] rotated by positions i32 [rows]; `factors` f32 [dimensions / 2] divide the frequencies. */
  rope(a: Tensor, positions: Tensor, rope: Rope, factors: Tensor | null): Tensor {
    must(
      a.type === 'f32' && positions.type === 'i32' && a.shape[2] === positions.shape[0] && a.shape[3] === 1,
      'rope',
      a,
      positions,
    )
    must(rope.dimensions % 2 === 0 && rope.dimensions <= a.shape[0], 'rope', a)
    if (factors) must(factors.type === 'f32' && factors.shape[0] >= rope.dimensions / 2, 'rope', factors)
    this.context.take()
    const p = this.f.ggml_rope_ext(
      this.context.pointer,
      pointerOf(a),
      pointerOf(positions),
      factors ? pointerOf(factors) : null,
      rope.dimensions,
      rope.pairs === 'interleaved' ? 0 : 2,
      0,
      rope.base,
      1,
      0,
      rope.magnitude,
      32,
      1,
    )
    return new Tensor(p, 'f32', a.shape)
  }

  /**
   * softmax(scale q k^T + slope mask) v.
   * @param q f32 [headDim, rows, heads] @param k, v [headDim, cells, kvHeads] @param mask f16 [cells, rows]
   * @returns f32 [headDim, heads, rows]
   */
  flashAttention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    { scale, maxBias = 0, softcap, sinks }: Scores,
  ): Tensor {
    must(maxBias >= 0, 'flashAttention', q)
    must(q.type === 'f32' && k.type === v.type && ['f32', 'f16', 'q8_0'].includes(k.type), 'flashAttention', q, k, v)
    must(q.shape[0] === k.shape[0] && k.shape[1] === v.shape[1] && k.shape[2] === v.shape[2], 'flashAttention', q, k, v)
    must(q.shape[2] % k.shape[2] === 0 && q.shape[3] === 1, 'flashAttention', q, k)
    must(mask.type === 'f16' && mask.contiguous, 'flashAttention', q, k, mask)
    must(mask.shape[0] === k.shape[1] && mask.shape[1] === q.shape[1], 'flashAttention', q, k, mask)
    if (sinks) must(sinks.type === 'f32' && sinks.elements === q.shape[2], 'flashAttention', q, sinks)
    this.context.take()
    const operands = [q, k, v, mask].map(pointerOf)
    const p = this.f.ggml_flash_attn_ext(this.context.pointer, ...operands, scale, maxBias, softcap ?? 0)
    if (sinks) this.f.ggml_flash_attn_ext_add_sinks(p, pointerOf(sinks))
    return new Tensor(p, 'f32', [v.shape[0], q.shape[2], q.shape[1], 1])
  }
}

function mustPair(op: string, gate: Tensor, up: Tensor): void {
  must(same(gate.shape, up.shape) && [gate, up].every((t) => t.type === 'f32' && t.contiguous), op, gate, up)
}

function same(a: Shape, b: Shape): boolean {
  return a.every((n, i) => n === b[i])
}
