import { afterAll, describe, expect, it } from 'vitest'
import { Backend } from './backend.js'
import { Graph, type Rope, type Tensor } from './graph.js'
import { StoredTensor } from './store.js'

const backend = new Backend({ threads: 1 })
afterAll(() => backend.dispose())

const graphs: Graph[] = []
afterAll(() => graphs.forEach((g) => g.dispose()))

function graph(capacity = 64): Graph {
  const g = new Graph(backend, capacity)
  graphs.push(g)
  return g
}

function floats(g: Graph, t: Tensor): Float32Array {
  return new Float32Array(g.bytes(t))
}

/** Builds a graph of f32 and i32 inputs, computes it, and gives the output's values. */
function run(
  build: (g: Graph) => { output: Tensor; inputs: readonly (readonly [Tensor, readonly number[]])[] },
): number[] {
  const g = graph()
  const { output, inputs } = build(g)
  g.output(output)
  g.allocate()
  for (const [t, values] of inputs) (t.type === 'i32' ? new Int32Array(g.bytes(t)) : floats(g, t)).set(values)
  g.computeNow()
  return [...floats(g, output)]
}

describe('the operations of a graph', () => {
  it('compute', () => {
    expect(
      run((g) => {
        const [a, b] = [g.input('f32', 2, 3), g.input('f32', 2, 1)]
        return {
          output: g.mulMat(a, b),
          inputs: [
            [a, [1, 2, 3, 4, 5, 6]],
            [b, [10, 1]],
          ],
        }
      }),
    ).toEqual([12, 34, 56])
    expect(
      run((g) => {
        const [a, b] = [g.input('f32', 2, 2), g.input('f32', 2)]
        return {
          output: g.add(g.mul(a, b), b),
          inputs: [
            [a, [1, 2, 3, 4]],
            [b, [10, 100]],
          ],
        }
      }),
    ).toEqual([20, 300, 40, 500])
    expect(
      run((g) => {
        const [a, ids] = [g.input('f32', 2, 3), g.input('i32', 2)]
        return {
          output: g.getRows(a, ids),
          inputs: [
            [a, [1, 2, 3, 4, 5, 6]],
            [ids, [2, 0]],
          ],
        }
      }),
    ).toEqual([5, 6, 1, 2])
    const norm = run((g) => {
      const a = g.input('f32', 2)
      return { output: g.rmsNorm(a, 0), inputs: [[a, [3, 4]]] }
    })
    expect(norm[0]).toBeCloseTo(3 / Math.sqrt(12.5), 6)
    const layerNorm = run((g) => {
      const a = g.input('f32', 2, 2)
      return { output: g.norm(a, 3), inputs: [[a, [2, 4, -5, -5]]] }
    })
    expect(layerNorm).toEqual([-0.5, 0.5, 0, 0])
    expect(
      run((g) => {
        const a = g.input('f32', 2)
        return { output: g.relu(a), inputs: [[a, [-2, 3]]] }
      }),
    ).toEqual([0, 3])
    expect(
      run((g) => {
        const a = g.input('f32', 2)
        return { output: g.softMax(a), inputs: [[a, [0, Math.log(3)]]] }
      })[1],
    ).toBeCloseTo(0.75, 6)
    expect(
      run((g) => {
        const [gate, up] = [g.input('f32', 1), g.input('f32', 1)]
        return {
          output: g.swiglu(gate, up),
          inputs: [
            [gate, [2]],
            [up, [5]],
          ],
        }
      })[0],
    ).toBeCloseTo(10 / (1 + Math.exp(-2)), 4)
  })

  it('compute GELU by its tanh formula, also far from 0', () => {
    const values = [-1000, -20, -3, -1, -0.1, 0, 0.1, 1, 3, 20, 1000]
    const got = run((g) => {
      const a = g.input('f32', values.length, 1)
      return { output: g.gelu(a), inputs: [[a, values]] }
    })
    values.forEach((x, i) => {
      const expected = 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      expect(Math.abs(got[i]! - expected)).toBeLessThan(1e-6)
    })
  })

  it.each([4, 6])('give %i heads the slopes of ALiBi', (heads) => {
    // transformers' build_alibi_tensor: powers of 2^(-8 / n) for the power of two n <= heads, then odd ones of 2^(-4 / n).
    const n = 2 ** Math.floor(Math.log2(heads))
    const slopes = Array.from({ length: heads }, (_, h) =>
      h < n ? 2 ** ((-8 / n) * (h + 1)) : 2 ** ((-4 / n) * (2 * (h - n) + 1)),
    )
    const shares = run((g) => {
      const [a, mask] = [g.input('f32', 2, 1, heads), g.input('f32', 2, 1)]
      const output = g.maskedSoftMax(a, mask, 1, 8)
      return {
        output,
        inputs: [
          [a, Array(2 * heads).fill(0)],
          [mask, [-3, 0]],
        ],
      }
    })
    slopes.forEach((slope, h) => expect(shares[2 * h]).toBeCloseTo(1 / (1 + Math.exp(3 * slope)), 6))
  })

  it('compute a product of stacks, matrix by matrix', () => {
    const product = run((g) => {
      const [a, b] = [g.input('f32', 2, 2, 2), g.input('f32', 2, 1, 2)]
      return {
        output: g.mulMat(a, b),
        inputs: [
          [a, [1, 2, 3, 4, 5, 6, 7, 8]],
          [b, [10, 1, 100, 1]],
        ],
      }
    })
    expect(product).toEqual([12, 34, 506, 708])
  })

  it('compute a softmax under a mask that all heads share', () => {
    const shares = run((g) => {
      const [a, mask] = [g.input('f32', 2, 2, 2), g.input('f16', 2, 2)]
      const float16 = new Map([
        [0, 0],
        [Number.NEGATIVE_INFINITY, 0xfc00],
      ])
      const output = g.maskedSoftMax(a, mask, 0.5)
      g.output(output)
      g.allocate()
      const rows = [0, Number.NEGATIVE_INFINITY, 0, 0].map((value) => float16.get(value) as number)
      new Uint16Array(g.bytes(mask)).set(rows)
      return { output, inputs: [[a, [7, 9, 0, 2 * Math.log(3), 1, 2, 4, 4]]] }
    })
    for (const [i, share] of [1, 0, 0.25, 0.75, 1, 0, 0.5, 0.5].entries()) expect(shares[i]).toBeCloseTo(share, 6)
  })

  it('turn matrices and lay rows of other order together', () => {
    const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    const of = (build: (g: Graph, a: Tensor) => Tensor) =>
      run((g) => {
        const a = g.input('f32', 3, 2, 2)
        return { output: build(g, a), inputs: [[a, values]] }
      })
    expect(of((g, a) => g.transpose(a))).toEqual([1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12])
    expect(of((g, a) => g.contiguous(g.swapRows(a)))).toEqual([1, 2, 3, 7, 8, 9, 4, 5, 6, 10, 11, 12])
    expect(of((g, a) => g.add(g.contiguous(a), a))).toEqual(values.map((v) => 2 * v))
  })

  it('rotate pairs that are neighbours or half a head apart', () => {
    const rope: Rope = { dimensions: 4, pairs: 'interleaved', base: 100, magnitude: 1 }
    const rotated = (pairs: Rope['pairs'], values: number[], factors: number[] | null) =>
      run((g) => {
        const [a, p, f] = [g.input('f32', 4, 1, 1), g.input('i32', 1), factors && g.input('f32', 2)]
        return {
          output: g.rope(a, p, { ...rope, pairs }, f),
          inputs: [[a, values], [p, [3]], ...(f && factors ? [[f, factors] as const] : [])],
        }
      })
    // Frequencies 1 and 1 / 10.
    const expected = [Math.cos(3), Math.sin(3), Math.cos(0.3), Math.sin(0.3)]
    rotated('interleaved', [1, 0, 1, 0], null).forEach((v, i) => expect(v).toBeCloseTo(expected[i]!, 5))
    rotated('halves', [1, 1, 0, 0], null).forEach((v, i) => expect(v).toBeCloseTo(expected[[0, 2, 1, 3][i]!]!, 5))
    const divided = rotated('interleaved', [1, 0, 1, 0], [2, 3])
    expect(divided[0]).toBeCloseTo(Math.cos(1.5), 5)
    expect(divided[2]).toBeCloseTo(Math.cos(0.1), 5)
  })

  it('write rows into a store that outlives the graph', () => {
    const store = new StoredTensor(backend, 'f32', 2, 3)
    const g = graph()
    const [rows, ids] = [g.input('f32', 2, 2), g.input('i32', 2)]
    g.expand(g.setRows(store.tensor, rows, ids))
    g.allocate()
    floats(g, rows).set([1, 2, 3, 4])
    new Int32Array(g.bytes(ids)).set([2, 0])
    g.computeNow()
    expect([...new Float32Array(store.view.buffer, store.view.byteOffset, 6)]).toEqual([3, 4, 0, 0, 1, 2])
    store.dispose()
    store.dispose()
    expect(() => store.view).toThrow('this tensor was disposed')
  })

  it('compute off the event loop, one at a time', async () => {
    const g = graph()
    const a = g.input('f32', 4)
    const out = g.output(g.add(a, a))
    g.allocate()
    floats(g, a).set([1, 2, 3, 4])
    const first = g.compute()
    expect(first).toBeInstanceOf(Promise)
    expect(() => g.compute()).toThrow('a compute is already running on this backend')
    await first
    expect([...floats(g, out)]).toEqual([2, 4, 6, 8])
    floats(g, a).fill(1)
    g.computeNow()
    expect([...floats(g, out)]).toEqual([2, 2, 2, 2])
  })
})

describe('a graph refuses', () => {
  const g = graph(256)
  const f = (...shape: number[]) => g.input('f32', ...shape)
  const i = (...shape: number[]) => g.input('i32', ...shape)
  const rope: Rope = { dimensions: 8, pairs: 'halves', base: 10000, magnitude: 1 }
  const [q, k, v, mask] = [f(8, 2, 4), g.input('f16', 8, 16, 2), g.input('f16', 8, 16, 2), g.input('f16', 16, 2)]

  it.each<[string, () => unknown]>([
    ['products of other widths', () => g.mulMat(f(4, 2), f(5, 2))],
    ['products with a stack of matrices', () => g.mulMat(f(4, 2, 3), f(4, 2))],
    ['products of stacks of other heights', () => g.mulMat(f(4, 2, 3), f(4, 2, 2))],
    ['products with rows that are not f32', () => g.mulMat(f(4, 2), g.input('f16', 4, 2))],
    ['products with rows that do not lie together', () => g.mulMat(f(4, 2), g.swapRows(f(4, 3, 2)))],
    ['sums of other widths', () => g.add(f(4), f(5))],
    ['sums of other numbers of rows', () => g.add(f(4, 6), f(4, 3))],
    ['sums of other types', () => g.add(f(4), i(4))],
    ['products by element of other types', () => g.mul(g.input('f16', 4), f(4))],
    ['rows by indices that are not i32', () => g.getRows(f(4, 4), f(2))],
    ['rows by a table of indices', () => g.getRows(f(4, 4), i(2, 2))],
    ['rows of other widths into a store', () => g.setRows(f(4, 4), f(5, 2), i(2))],
    ['other numbers of rows and indices', () => g.setRows(f(4, 4), f(4, 2), i(3))],
    ['rows that are not f32 into a store', () => g.setRows(f(4, 4), g.input('f16', 4, 2), i(2))],
    ['norms of what is not f32', () => g.rmsNorm(g.input('f16', 4), 1e-5)],
    ['layer norms of what is not f32', () => g.norm(g.input('f16', 4), 1e-5)],
    ['gelu of what is not f32', () => g.gelu(g.input('f16', 4))],
    ['relu of what is not f32', () => g.relu(g.input('f16', 4))],
    ['gates of other shapes', () => g.swiglu(f(4, 2), f(4, 3))],
    ['a softmax of what is not f32', () => g.softMax(i(4))],
    ['a softmax under a mask of another size', () => g.maskedSoftMax(f(8, 2, 4), g.input('f16', 8, 3), 1)],
    ['a softmax under a mask of whole numbers', () => g.maskedSoftMax(f(8, 2, 4), i(8, 2), 1)],
    ['a softmax with a negative bias', () => g.maskedSoftMax(f(8, 2, 4), f(8, 2), 1, -1)],
    ['a softmax under a mask of its own for each head', () => g.maskedSoftMax(f(8, 2, 4), g.input('f16', 8, 2, 4), 1)],
    ['positions of another number', () => g.rope(f(8, 2, 3), i(4), rope, null)],
    ['positions that are not i32', () => g.rope(f(8, 2, 3), f(3), rope, null)],
    ['rotation beyond the head', () => g.rope(f(4, 2, 3), i(3), rope, null)],
    ['rotation of an odd number of dimensions', () => g.rope(f(8, 2, 3), i(3), { ...rope, dimensions: 7 }, null)],
    ['too few frequency factors', () => g.rope(f(8, 2, 3), i(3), rope, f(3))],
    ['attention to keys of another width', () => g.flashAttention(q, g.input('f16', 6, 16, 2), v, mask, { scale: 1 })],
    [
      'attention with other numbers of keys and values',
      () => g.flashAttention(q, k, g.input('f16', 8, 15, 2), mask, { scale: 1 }),
    ],
    ['attention with keys and values of other types', () => g.flashAttention(q, k, f(8, 16, 2), mask, { scale: 1 })],
    ['attention with heads that do not divide', () => g.flashAttention(f(8, 2, 3), k, v, mask, { scale: 1 })],
    ['attention under a mask of another size', () => g.flashAttention(q, k, v, g.input('f16', 15, 2), { scale: 1 })],
    ['attention under a mask that is not f16', () => g.flashAttention(q, k, v, f(16, 2), { scale: 1 })],
    ['attention with a negative bias', () => g.flashAttention(q, k, v, mask, { scale: 1, maxBias: -1 })],
    ['another number of elements in a new shape', () => g.reshape(f(4, 3), 5, 2)],
    ['a new shape of what does not lie together', () => g.reshape(g.swapRows(f(4, 3, 2)), 24)],
    ['a window beyond the end', () => g.view(f(4, 4), [4, 4, 1], [16, 64], 16)],
    ['a window before the start', () => g.view(f(4, 4), [4, 1, 1], [16, 64], -16)],
    ['a window that runs backwards', () => g.view(f(4, 4), [4, 2, 1], [-16, 64], 16)],
    ['copies of another number of elements', () => g.copy(f(4), f(5))],
    ['shapes with nothing in them', () => f(0)],
    ['shapes of broken numbers', () => f(1.5)],
    ['shapes of five dimensions', () => f(1, 1, 1, 1, 1)],
    ['rows that blocks do not divide', () => g.input('q4_0', 48, 2)],
  ])('%s', (_, build) => {
    expect(build).toThrow(RangeError)
  })

  it('more tensors than it has room for', () => {
    const small = graph(3)
    const a = small.input('f32', 16)
    small.add(a, small.input('f32', 16))
    expect(() => small.add(a, a)).toThrow('this ggml context has no room for another tensor')
    expect(() => small.input('f32', 16)).toThrow(/no room/)
  })

  it('to be read or computed before it has memory, and after its end', () => {
    const late = graph()
    const a = late.input('f32', 4)
    const unused = late.input('f32', 4)
    const out = late.output(late.add(a, a))
    expect(() => late.bytes(out)).toThrow('the graph has no memory')
    expect(() => late.compute()).toThrow('the graph has no memory')
    const headers = late.memory
    late.allocate()
    expect(late.memory).toBeGreaterThan(headers)
    expect(() => late.bytes(unused)).toThrow(/has no memory: nothing in the graph uses it/)
    late.dispose()
    late.dispose()
    expect(() => late.bytes(out)).toThrow('the graph has no memory')
    expect(() => late.compute()).toThrow('the graph has no memory')
    expect(() => late.input('f32', 4)).toThrow('this ggml context was freed')
    expect(() => late.add(a, a)).toThrow('this ggml context was freed')
  })

  it('to be built upon after its memory was planned', () => {
    const done = graph()
    const a = done.input('f32', 4)
    done.output(done.add(a, a))
    done.allocate()
    expect(() => done.add(a, a)).toThrow(/memory was planned/)
    expect(() => done.input('f32', 4)).toThrow(/memory was planned/)
  })

  it('to run on a backend that was disposed', async () => {
    const other = new Backend({ threads: 2 })
    const own = new Graph(other, 8)
    const a = own.input('f32', 4)
    own.output(own.add(a, a))
    own.allocate()
    await own.compute()
    own.dispose()
    await other.dispose()
    await other.dispose()
    expect(() => other.compute(0n, 0)).toThrow('this model was disposed')
  })
})
