import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { fileError } from '../checkpoint/file-errors.js'
import { comparesLayers, FEATURE_NAMES, type FeatureName } from '../depth/exit-features.js'
import { FileError } from '../errors.js'
import { equalTo, type TraceInstance, type TraceSet } from './traces.js'

const ID_COLUMNS = ['instance', 'position', 'layer', 'top1'] as const
const COLUMNS = [...ID_COLUMNS, 'task', 'gold', ...FEATURE_NAMES] as const

type Row = Readonly<Record<string, unknown>>

/** Rows of one (instance, position), layer by layer. */
interface Group {
  readonly instance: number
  readonly position: number
  readonly task: string
  readonly gold: number | null
  readonly top1: number[]
  readonly features: Map<FeatureName, number[]>
}

/**
 * Traces as `shoal trace` writes them: a row per (instance, position, layer), layers ascending from 0, rows of one
 * instance together. Columns: instance, position, layer, top1 (ids), task, gold (id or null), and the features gap,
 * top_prob, entropy, cos_attention, cos_mlp, cos_hidden; others are not read.
 */
export async function readParquetTraces(path: string): Promise<TraceSet> {
  const groups: Group[] = []
  for await (const rows of rowBatches(path)) for (const row of rows) addRow(path, groups, row)
  const layers = groups[0]?.top1.length
  if (layers === undefined) throw new FileError(path, 'the traces file has no rows')
  if (layers < 2) throw new FileError(path, 'the traces are of a model of one layer')

  const seen = new Set<number>()
  let sequence = -1
  let last: number | null = null
  const instances = groups.map((group): TraceInstance => {
    if (group.top1.length !== layers) {
      throw new FileError(path, `instance ${group.instance} has ${group.top1.length} layers and the first ${layers}`)
    }
    if (group.instance !== last) {
      if (seen.has(group.instance))
        throw new FileError(path, `rows of instance ${group.instance} do not stand together`)
      seen.add(group.instance)
      sequence++
      last = group.instance
    }
    return {
      task: group.task,
      sequence,
      features: Object.fromEntries([...group.features].map(([name, values]) => [name, Float64Array.from(values)])),
      top1: Int32Array.from(group.top1),
      agree: equalTo(group.top1, group.top1[layers - 1]!),
      correct: group.gold === null ? null : equalTo(group.top1, group.gold),
    }
  })
  const unit = instances.length > seen.size ? 'generated' : 'answer'
  return { path, layers, unit, checkTokens: null, sequences: seen.size, instances }
}

/** Rows of one row group after the other, so that a long file is not held as objects at once. */
async function* rowBatches(path: string): AsyncGenerator<Row[]> {
  try {
    const file = await asyncBufferFromFile(path)
    const metadata = await parquetMetadataAsync(file)
    const present = new Set(parquetSchema(metadata).children.map(({ element }) => element.name))
    for (const column of [...ID_COLUMNS, 'gap', 'top_prob']) {
      if (!present.has(column)) throw new FileError(path, `the traces file lacks the column ${column}`)
    }
    const columns = COLUMNS.filter((column) => present.has(column))
    let rowStart = 0
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows)
      yield await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, compressors })
      rowStart = rowEnd
    }
  } catch (error) {
    const known = fileError(path, error)
    if (known instanceof FileError) throw known
    throw new FileError(path, `is not a Parquet file that can be read (${known.message})`, 'file_invalid', {
      cause: error,
    })
  }
}

function addRow(path: string, groups: Group[], row: Row): void {
  const instance = idOf(path, row, 'instance')
  const position = idOf(path, row, 'position')
  const layer = idOf(path, row, 'layer')
  let group = groups.at(-1)
  if (layer === 0) {
    const gold = row.gold === null || row.gold === undefined ? null : idOf(path, row, 'gold')
    const task = typeof row.task === 'string' && row.task !== '' ? row.task : 'unnamed'
    group = { instance, position, task, gold, top1: [], features: new Map() }
    groups.push(group)
  } else if (group === undefined || group.instance !== instance || group.position !== position) {
    throw new FileError(path, `instance ${instance}, position ${position}: the rows do not begin with layer 0`)
  }
  if (layer !== group.top1.length) {
    throw new FileError(
      path,
      `instance ${instance}, position ${position}: layer ${layer} follows ${group.top1.length - 1}`,
    )
  }
  group.top1.push(idOf(path, row, 'top1'))
  for (const feature of FEATURE_NAMES) {
    const value = row[feature]
    if (value === undefined) continue
    // There is no layer before the first to compare it with.
    const none = layer === 0 && comparesLayers(feature)
    if (!none && (typeof value !== 'number' || !Number.isFinite(value))) {
      throw new FileError(path, `instance ${instance}, layer ${layer}: ${feature} is not a number`)
    }
    const values = group.features.get(feature) ?? []
    values.push(none ? 0 : (value as number))
    group.features.set(feature, values)
  }
}

/** INT64 columns come as BigInt. */
function idOf(path: string, row: Row, column: string): number {
  const value = row[column]
  const id = typeof value === 'bigint' ? Number(value) : value
  if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) {
    throw new FileError(path, `column ${column} holds ${String(value)} where a whole number of at least 0 must be`)
  }
  return id
}
