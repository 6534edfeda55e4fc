import { Command } from 'commander'
import { DRAWS } from '../calibrate/settings.js'
import { createAtomicFile } from '../checkpoint/atomic-file.js'
import { printable } from '../errors.js'
import { type ReproducedCell, reproduceAdaInfer } from '../evaluate/reproduce/adainfer.js'
import { reproductionJson } from '../evaluate/reproduce/json.js'
import {
  claimRows,
  HEADER,
  type Reproduction,
  reproductionMarkdown,
  tableNotes,
  tableRows,
} from '../evaluate/reproduce/page.js'
import { loadSets, PAPER_SETS } from '../evaluate/reproduce/sets.js'
import { type Cli, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, createProgressLine } from './progress-line.js'
import { printTable } from './table.js'
import { addTaskNames, addTaskOptions, type TaskNames, type TaskOptions, templateOf, timeLeft } from './task-options.js'
import { listOption, shotList } from './values.js'

interface ReproduceCommandOptions extends ModelOptions, TaskOptions, TaskNames {
  readonly shots: readonly number[]
  readonly work: string
  readonly out?: string
}

const EXAMPLES = `
What can be reproduced:
  adainfer   Not All Layers of LLMs Are Necessary During Inference (arXiv 2403.02181): tasks x shots x models under full
             depth, gap:0.8 and AdaInfer with SVM and CRF, beside the published figures that are known

Examples:
  $ shoal reproduce adainfer --limit 20 --shots 0,5
  $ shoal reproduce adainfer ripple-8m ./Llama-2-7b-hf --data ./data --limit 400 -o adainfer.md

Full depth is run once per question and number of shots; its traces are kept in the folder of --work, so that the same
command goes on where it was stopped. Half of the questions give the results; the others fit the classifiers and choose
their threshold. Tasks without data are left out.`

export function buildReproduce(cli: Cli): Command {
  const command = new Command('reproduce')
    .description("Run a paper's table on your own models and print it beside the published figures.")
    .argument('[name]', 'what to reproduce')
    .argument('[models...]', MODEL_HELP)
    .usage('[NAME] [MODEL...] [options]')
  addTaskNames(command, 'a task; rules are all rule-understanding tasks pooled; default those of the paper')
    .addOption(listOption('--shots <list>', 'examples before the question', shotList, [0, 5, 10, 15, 20]))
    .option('--work <folder>', 'where traces are kept', 'adainfer-traces')
    .option('-o, --out <file>', 'write the tables as Markdown')
  addModelOptions(addTaskOptions(command)).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, models: string[], options: ReproduceCommandOptions) => {
    if (name === undefined) return list(cli, options)
    if (name !== 'adainfer') throw new UsageError(`nothing is known of ${name}; what can be reproduced: adainfer`)
    const kept = (): string => `${options.work} keeps the traces so far, and the same command goes on`
    return tellWhenStopped(cli, kept, () => reproduce(cli, models, options))
  })
}

function list(cli: Cli, { json }: ReproduceCommandOptions): void {
  const names = [{ name: 'adainfer', paper: 'arXiv 2403.02181' }]
  if (json) printJson(cli, { names })
  else cli.stdout.write('adainfer   Not All Layers of LLMs Are Necessary During Inference (arXiv 2403.02181)\n')
}

async function reproduce(cli: Cli, names: readonly string[], options: ReproduceCommandOptions): Promise<void> {
  const { task: tasks = PAPER_SETS, shots, seed, limit, data, out, work } = options
  const models: readonly (string | undefined)[] = names.length === 0 ? [undefined] : names
  // A long run should not end with a folder that does not exist.
  const file = out === undefined ? null : await createAtomicFile(out)
  try {
    const { sets, missing } = await loadSets(tasks, { ...(data && { data }), ...(limit && { limit }) })
    for (const line of missing) note(cli, line)
    if (sets.length === 0) throw new UsageError('there is no task left to run')
    const questions = sets.flatMap((set) => set.tasks).reduce((sum, { items }) => sum + items.length, 0)
    // Of the questions with shots, the half that trains is asked with every draw.
    const asked = shots.reduce((sum, n) => sum + (n === 0 ? 1 : (DRAWS + 1) / 2), 0)
    const total = Math.ceil(models.length * asked * questions)
    const line = createProgressLine(cli)
    const started = performance.now()
    let done = 0
    let before = 0
    const cells: ReproducedCell[] = []
    for (const id of models) {
      const own = await withModel(
        cli,
        id,
        options,
        (model) =>
          reproduceAdaInfer(model, {
            sets,
            shots,
            seed,
            work,
            signal: cli.signal,
            ...templateOf(options),
            onQuestions(count, traced) {
              done += count
              if (!traced) before += count
              const left = timeLeft(started, done - before, total - before)
              line.show(`${bar(done / total)} ${model.name}: ${done} of ${total} questions · ${left}`)
            },
          }).finally(() => line.clear()),
        { slots: 1 },
      )
      cells.push(...own)
    }
    const run = { cells, missing, date: new Date().toISOString(), seed, limit: limit ?? null }
    if (file !== null) {
      await file.write(new TextEncoder().encode(reproductionMarkdown(run)), 0)
      await file.commit()
    }
    if (options.json) printJson(cli, reproductionJson(run))
    else show(cli, run, out)
  } finally {
    await file?.abort()
  }
}

function show(cli: Cli, run: Reproduction, out: string | undefined): void {
  printTable(cli, [HEADER, ...tableRows(run.cells)])
  for (const line of tableNotes({ ...run, missing: [] })) cli.stdout.write(`${line}\n`)
  cli.stdout.write('\npublished over several tasks:\n')
  printTable(cli, claimRows())
  if (out !== undefined) cli.stdout.write(`written to ${printable(out)}\n`)
}
