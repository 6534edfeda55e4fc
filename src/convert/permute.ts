/**
 * The row order that llama.cpp's `llama` architecture wants of query and key projections. Hugging Face keeps the two
 * halves of a head's rotary pairs one after the other, llama.cpp side by side: the rows of a head, seen as
 * (2, headDim / 2), become (headDim / 2, 2).
 * @param values whole heads, [heads * headDim, columns]
 * @param out takes the permuted rows; not the same memory
 */
export function permuteRotaryRows(values: Float32Array, headDim: number, columns: number, out: Float32Array): void {
  const half = headDim / 2
  const headSize = headDim * columns
  for (let head = 0; head < values.length; head += headSize) {
    for (let row = 0; row < headDim; row++) {
      const from = head + ((row % 2) * half + (row >> 1)) * columns
      out.set(values.subarray(from, from + columns), head + row * columns)
    }
  }
}

/**
 * Where the package's row `row` lies in a fused projection. Hugging Face (BLOOM, GPT-NeoX) keeps queries, keys and values
 * head by head, (heads, 3, headDim); llama.cpp wants (3, heads, headDim).
 */
export function fusedRow(row: number, heads: number, headDim: number): number {
  const head = Math.floor(row / headDim) % heads
  const part = Math.floor(row / (heads * headDim))
  return (head * 3 + part) * headDim + (row % headDim)
}
