import { Command, Option } from 'commander'
import { createSafetensorsWriter } from '../checkpoint/safetensors-write.js'
import type { Bridge } from '../depth/bridge.js'
import { features } from '../depth/features.js'
import { allLayers } from '../depth/plan.js'
import type { Model } from '../engine/api.js'
import type { TracedLayer } from '../engine/known-text.js'
import { printable } from '../errors.js'
import { type Cli, printJson, UsageError } from './cli.js'
import { readLensFile } from './lens-file.js'
import { noteFullDepth } from './made-for.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { type AllowEmptyOption, addAllowEmptyOption, modelAndPrompt, notEmpty, onlyModel } from './model-or-prompt.js'
import { printTable } from './table.js'
import { addTaskNames, addTaskOptions } from './task-options.js'
import { encodeText, readGivenText } from './text-input.js'
import { type TraceTaskOptions, traceTask } from './trace-task.js'
import { tokenIds, wholeNumber } from './values.js'

interface TraceCommandOptions extends ModelOptions, AllowEmptyOption, Omit<TraceTaskOptions, 'task'> {
  readonly task?: readonly string[]
  readonly tokens?: number[]
  readonly text?: string
  readonly out?: string
}

/** What a layer says for the last position. */
interface Read {
  readonly top: number
  readonly gap: number
  readonly topProb: number
}

interface ReadLayer extends Read {
  readonly layer: number
  /** The same through the lens; null for a layer without a map. */
  readonly mapped: Read | null
}

interface LensRow extends Read {
  /** Whether the last layer says the same. */
  readonly agrees: boolean
}

interface LayerRow extends LensRow {
  readonly layer: number
  /** The same through the lens; null for a layer without a map. */
  readonly mapped: LensRow | null
}

const COLUMNS = ['next token', 'id', 'gap', 'top prob', 'as the last'] as const

const EXAMPLES = `
Examples:
  $ shoal trace "The capital of France is"               a logit lens: what each layer would have said
  $ shoal trace ./checkpoint "The sea" --json
  $ shoal trace ./checkpoint --tokens 1,450,7483 -o trace.safetensors
  $ shoal trace model.gguf "The sea" --lens mine.lens.gguf    each layer as it is, and through its map to the end
  $ shoal trace --task fruit_v_animal_3 --task capitalize --shots 5 -o answers.jsonl

The file has hidden.{l} [S, H] (output of layer l, before the final norm), lens_logits.{l} [S, V] (final norm and head on
it), logits [S, V], all float32, and input_ids [S]; with --lens also mapped_logits.{l} [S, V] (the same through the lens).`

export function buildTrace(cli: Cli): Command {
  const command = new Command('trace')
    .description('Run every layer over a prompt; print what each layer would have said next, or save all of it.')
    .argument('[model]', MODEL_HELP)
    .argument('[prompt]', 'text; - reads it from stdin, and one that begins with - goes behind --')
    .usage('[MODEL] [PROMPT] [options]')
    .option('--tokens <ids>', 'token ids such as 2,5,7 instead of text', tokenIds)
    .option('--text <file>', 'file with the text; - reads stdin')
    .option(
      '-o, --out <file>',
      'write everything to this safetensors file; with --task, traces to a .jsonl or .parquet file',
    )
    .option('--lens <file>', 'read layers through this lens too (shoal bridge --lens); with --task, through it alone')
  addTaskNames(command, 'trace the questions of this task instead')
    .option('--shots <n>', 'with --task: examples before the question', wholeNumber(0, 1000), 0)
    .option(
      '--draws <n>',
      'with --task and --shots: ask every question with so many draws of shots',
      wholeNumber(1, 100),
      1,
    )
    .addOption(
      new Option('--positions <which>', 'with --task: before the answer, or every token of a greedy continuation')
        .choices(['answer', 'generated'])
        .default('answer'),
    )
    .option('--max-tokens <n>', 'with --positions generated: tokens of a continuation', wholeNumber(1), 32)
  addModelOptions(addTaskOptions(addAllowEmptyOption(command))).addHelpText('after', EXAMPLES)
  return command.action((first: string | undefined, second: string | undefined, options: TraceCommandOptions) =>
    trace(cli, first, second, options),
  )
}

async function trace(
  cli: Cli,
  first: string | undefined,
  second: string | undefined,
  options: TraceCommandOptions,
): Promise<void> {
  if (options.task !== undefined) {
    if (second !== undefined || options.tokens !== undefined || options.text !== undefined) {
      throw new UsageError('with --task there is no other text')
    }
    return await traceTask(cli, first, { ...options, task: options.task })
  }
  if (options.out?.toLowerCase().endsWith('.parquet'))
    throw new UsageError('a .parquet file holds the traces of --task NAME; those of a prompt go to a .safetensors file')
  const { model: name, prompt } = await given(cli, first, second, options)
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const ids = typeof prompt === 'string' ? encodeText(cli, model, prompt) : prompt
      await noteFullDepth(cli, model)
      const set = options.lens === undefined ? undefined : await readLensFile(cli, options.lens, model)
      const lens = set?.bridges ?? []
      const file = options.out === undefined ? null : await openTrace(options.out, model, ids, lens)
      const rows: ReadLayer[] = []
      try {
        const { logits } = await model.trace(ids, {
          lens,
          signal: cli.signal,
          onLayer: async (traced) => {
            rows.push(readLayer(model, traced))
            await file?.add(traced)
          },
        })
        await file?.finish(logits)
      } catch (error) {
        await file?.abort()
        throw error
      }
      show(cli, model, { ids, rows }, options)
    },
    { slots: 1 },
  )
}

async function given(
  cli: Cli,
  first: string | undefined,
  second: string | undefined,
  { tokens, text, allowEmpty = false }: TraceCommandOptions,
): Promise<{ readonly model: string | undefined; readonly prompt: string | number[] }> {
  if (tokens === undefined && text === undefined)
    return await modelAndPrompt(cli, 'trace', first, second, { allowEmpty })
  if (tokens !== undefined && text !== undefined) throw new UsageError('give either --tokens IDS or --text FILE')
  onlyModel('trace', first, second, tokens === undefined ? '--text' : '--tokens')
  if (tokens !== undefined) return { model: first, prompt: tokens }
  return { model: first, prompt: notEmpty(await readGivenText(cli, text!), allowEmpty, `the text of ${text}`) }
}

function show(
  cli: Cli,
  model: Model,
  { ids, rows: read }: { readonly ids: readonly number[]; readonly rows: readonly ReadLayer[] },
  options: TraceCommandOptions,
): void {
  const last = read.at(-1)?.top
  const row = (own: Read): LensRow => ({ ...own, agrees: own.top === last })
  const rows = read.map(
    ({ layer, mapped, ...raw }): LayerRow => ({ layer, ...row(raw), mapped: mapped && row(mapped) }),
  )
  const word = (id: number): string => model.tokenizer?.decode([id], { skipSpecialTokens: false }) ?? ''
  const said = ({ top, gap, topProb, agrees }: LensRow): object => ({
    top,
    text: word(top),
    gap,
    top_prob: topProb,
    agrees,
  })
  if (options.json) {
    printJson(cli, {
      model: model.name,
      quantization: model.quantization,
      input_ids: ids,
      layers: rows.map(({ layer, mapped, ...raw }) => ({
        layer,
        ...said(raw),
        ...(options.lens === undefined ? {} : { mapped: mapped && said(mapped) }),
      })),
      out: options.out ?? null,
    })
    return
  }
  if (options.out !== undefined) {
    const { layers, hidden, vocabulary } = model.hyperparameters
    const s = ids.length
    cli.stdout.write(
      `${printable(options.out)}: hidden [${s}, ${hidden}] and lens_logits [${s}, ${vocabulary}] of ${layers} layers\n`,
    )
    return
  }
  const cells = (row: LensRow | null): string[] =>
    row === null
      ? Array.from({ length: COLUMNS.length }, () => '')
      : [
          JSON.stringify(word(row.top)),
          String(row.top),
          row.gap.toFixed(3),
          row.topProb.toFixed(3),
          row.agrees ? 'yes' : '',
        ]
  const both = options.lens !== undefined
  printTable(cli, [
    ['layer', ...COLUMNS, ...(both ? ['through the lens', ...COLUMNS.slice(1)] : [])],
    ...rows.map((row) => [String(row.layer), ...cells(row), ...(both ? cells(row.mapped) : [])]),
  ])
  cli.stdout.write(`\n${model.name} · ${model.quantization} · after ${ids.length} tokens\n`)
}

/** What a layer says for the last position. */
function readLayer(model: Model, { layer, lensLogits, mappedLogits }: TracedLayer): ReadLayer {
  const { vocabulary } = model.hyperparameters
  const read = (logits: Float32Array): Read => features(logits.subarray(logits.length - vocabulary))
  return { layer, ...read(lensLogits), mapped: mappedLogits && read(mappedLogits) }
}

/** A file that takes a trace layer by layer. */
async function openTrace(path: string, model: Model, ids: readonly number[], lens: readonly Bridge[]) {
  const { layers, hidden, vocabulary } = model.hyperparameters
  const s = ids.length
  const each = allLayers(layers)
  const f32 = (name: string, width: number) => ({ name, dtype: 'F32' as const, shape: [s, width] })
  const writer = await createSafetensorsWriter(
    path,
    [
      { name: 'input_ids', dtype: 'I64', shape: [s] },
      ...each.map((l) => f32(`hidden.${l}`, hidden)),
      ...each.map((l) => f32(`lens_logits.${l}`, vocabulary)),
      ...each.filter((l) => lens.some(({ from }) => from === l)).map((l) => f32(`mapped_logits.${l}`, vocabulary)),
      f32('logits', vocabulary),
    ],
    { model: model.name, quantization: model.quantization },
  )
  return {
    async add({ layer, hidden: rows, lensLogits, mappedLogits }: TracedLayer) {
      await writer.append(`hidden.${layer}`, rows)
      await writer.append(`lens_logits.${layer}`, lensLogits)
      if (mappedLogits !== null) await writer.append(`mapped_logits.${layer}`, mappedLogits)
    },
    async finish(logits: Float32Array) {
      await writer.append(
        'input_ids',
        BigInt64Array.from(ids, (id) => BigInt(id)),
      )
      await writer.append('logits', logits)
      await writer.finish()
    },
    abort: () => writer.abort(),
  }
}
