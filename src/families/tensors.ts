import type { FamilyTable } from './family.js'
import type { Hyperparameters, LayerFacts } from './hyperparameters.js'
import type { DimensionName, OtherSource, RowOrder, TensorMapping, TensorRow, TensorSourceRows } from './tensor-rows.js'

/** Name under which a checkpoint has its layers: tensors of layer 3 of a llama are `model.layers.3.…`. */
export function layersAt({ layersAt: at = 'model.layers' }: FamilyTable): string {
  return at
}

/** Every tensor of a model, in the order of the file. */
export function tensorsOf(table: FamilyTable, h: Hyperparameters): TensorMapping[] {
  const first = table.model.filter(({ name }) => !isLast(name))
  const last = table.model.filter(({ name }) => isLast(name))
  const at = (rows: readonly TensorRow[], layer: number | null) =>
    rows.flatMap((row) => mappingsOf(table, h, row, layer))
  return [...at(first, null), ...h.layer.flatMap((_, layer) => at(table.layers, layer)), ...at(last, null)]
}

function isLast(name: string): boolean {
  return name.startsWith('output')
}

function mappingsOf(table: FamilyTable, h: Hyperparameters, row: TensorRow, layer: number | null): TensorMapping[] {
  const facts = layer === null ? null : (h.layer[layer] as LayerFacts)
  if (row.when?.(h.facts, facts) === false) return []
  const { bias = false } = row
  const made = [mapping(table, h, row, layer, '.weight')]
  if (bias === true || (bias !== false && h.facts[bias] === true)) made.push(mapping(table, h, row, layer, '.bias'))
  return made
}

function mapping(
  table: FamilyTable,
  h: Hyperparameters,
  row: TensorRow,
  layer: number | null,
  suffix: '.weight' | '.bias',
): TensorMapping {
  const isBias = suffix === '.bias'
  const facts = layer === null ? null : (h.layer[layer] as LayerFacts)
  const lengths = (names: readonly DimensionName[]): number[] => names.map((name) => dimension(name, h, facts))
  const whole = lengths(row.shape)
  // The bias of a norm is as long as its weight, that of a matrix as its rows are many.
  const shape = isBias && whole.length > 1 ? whole.slice(0, -1) : row.flat === true ? whole.slice(-1) : whole
  const prefix = layer === null ? '' : `${layersAt(table)}.${layer}.`
  const name = `${layer === null ? '' : `blk.${layer}.`}${row.name}${isBias ? '.bias' : '.weight'}`
  const own = { source: row.source, shape: row.shape, ...(row.bare === true && { bare: true }) }
  const forms: readonly (OtherSource & { own?: boolean })[] = [{ ...own, own: true }, ...(row.or ?? [])]
  const sources = forms.map((form) => sourceRows(form, row, { h, facts, prefix, suffix, lengths }))
  const { experts } = h
  const stacked = row.shape[0] === 'experts' && row.shape.length > 2
  return {
    name,
    sources,
    shape,
    columns: isBias || shape.length === 1 ? 1 : shape.at(-1)!,
    quantize: !isBias && shape.length > 1 && row.plain !== true,
    ...(row.lookup === true && { lookup: true }),
    ...(stacked && experts !== null && { share: experts.used / experts.count }),
    ...(row.isNorm === true && !isBias && table.normOffset !== undefined && { offset: table.normOffset }),
  }
}

function sourceRows(
  form: OtherSource & { own?: boolean },
  row: TensorRow,
  {
    h,
    facts,
    prefix,
    suffix,
    lengths,
  }: {
    h: Hyperparameters
    facts: LayerFacts | null
    prefix: string
    suffix: string
    lengths: (names: readonly DimensionName[]) => number[]
  },
): TensorSourceRows {
  const isBias = suffix === '.bias'
  const ending = form.bare === true ? (isBias ? '_bias' : '') : suffix
  const pattern = `${prefix}${form.source}${ending}`
  const many = pattern.includes('{e}') ? (h.experts?.count ?? 0) : pattern.includes('{h}') ? lengths(row.shape)[0]! : 0
  // What is numbered in the name is no dimension of each.
  const all = lengths(form.shape).slice(many === 0 ? 0 : 1)
  const logical = isBias && all.length > 1 ? all.slice(0, -1) : all
  const transposed = !isBias && (form.own === true ? row.transposed : form.transposed) === true
  const stored = transposed ? [...logical.slice(0, -2), logical.at(-1)!, logical.at(-2)!] : logical
  const { skipRows = 0, order } = row
  const shape = stored.map((n, i) => (i === 0 ? n + skipRows : n))
  const rowOf =
    form.own === true
      ? skipRows > 0
        ? (i: number) => i + skipRows
        : order === undefined || facts === null
          ? undefined
          : rowOrder(order, h, facts)
      : partOf(form.part, (isBias ? logical.at(-1) : logical.at(-2)) ?? 1)
  return {
    // Listed when they are asked for: planning and GGUF files need none of them, and experts are many.
    get names() {
      return many === 0 ? [pattern] : Array.from({ length: many }, (_, i) => pattern.replace(/\{[eh]\}/, String(i)))
    },
    shape,
    ...(rowOf !== undefined && { row: rowOf }),
    ...(transposed && { transposed }),
  }
}

/** Rows of a part of a fused tensor, `height` rows of which belong to one matrix. */
function partOf(part: OtherSource['part'], height: number): ((row: number) => number) | undefined {
  if (part === undefined) return undefined
  const half = height / 2
  return (row) => {
    const matrix = Math.floor(row / half)
    const within = row % half
    if (part === 'even' || part === 'odd') return matrix * height + 2 * within + (part === 'odd' ? 1 : 0)
    return matrix * height + within + (part === 'second-half' ? half : 0)
  }
}

/**
 * The row of a checkpoint that the package's row is.
 * - rotary: Hugging Face keeps the two halves of a head's rotary pairs one after the other, llama.cpp side by side.
 * - heads of qkv: queries, keys and values head by head, (heads, 3, headDim); llama.cpp wants (3, heads, headDim).
 * - groups of qkv: for each KV head its queries, its key, its value (Falcon).
 */
export function rowOrder(
  order: RowOrder,
  { headDim }: Pick<Hyperparameters, 'headDim'>,
  { heads, kvHeads }: Pick<LayerFacts, 'heads' | 'kvHeads'>,
): (row: number) => number {
  if (order === 'rotary-q' || order === 'rotary-k') {
    return (row) => {
      const within = row % headDim
      return row - within + (within % 2) * (headDim / 2) + (within >> 1)
    }
  }
  const group = order === 'heads-of-qkv' ? 1 : heads / kvHeads
  const groups = order === 'heads-of-qkv' ? heads : kvHeads
  return (row) => {
    const head = Math.floor(row / headDim)
    const within = row % headDim
    const queries = groups * group
    const [which, inGroup] =
      head < queries
        ? [Math.floor(head / group), head % group]
        : [(head - queries) % groups, group + (head < queries + groups ? 0 : 1)]
    return (which * (group + 2) + inGroup) * headDim + within
  }
}

function dimension(name: DimensionName, h: Hyperparameters, layer: LayerFacts | null): number {
  const { heads, kvHeads, feedForward } = layer ?? h
  const { facts, headDim } = h
  switch (name) {
    case 'one':
      return 1
    case 'hidden':
      return h.hidden
    case 'vocabulary':
      return h.vocabulary
    case 'positions':
      return facts.learnedPositions ?? h.context
    case 'embedding':
      return facts.embeddingWidth ?? h.hidden
    case 'q':
      return heads * headDim
    case 'kv':
      return kvHeads * headDim
    case 'qkv':
      return (heads + 2 * kvHeads) * headDim
    case 'heads':
      return heads
    case 'kvHeads':
      return kvHeads
    case 'headDim':
      return headDim
    case 'inner':
      return feedForward
    case 'twoInner':
      return 2 * feedForward
    case 'experts':
      return facts.experts ?? 0
    case 'expertInner':
      return facts.expertWidth ?? 0
    case 'twoExpertInner':
      return 2 * (facts.expertWidth ?? 0)
    case 'sharedInner':
      return facts.sharedExpertWidth ?? 0
    case 'twoSharedInner':
      return 2 * (facts.sharedExpertWidth ?? 0)
  }
}
