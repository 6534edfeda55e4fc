import { Command } from 'commander'
import { type Applied, applyPolicy } from '../calibrate/apply.js'
import { explainPolicy } from '../calibrate/explain.js'
import { importPlan } from '../calibrate/import-plan.js'
import { outcomes } from '../calibrate/outcomes.js'
import { writePolicyFile } from '../calibrate/policy-write.js'
import { readTraces, sliceTraces, type TraceSet, taskNames } from '../calibrate/traces.js'
import { type DynamicFile, parseDynamicFile } from '../depth/dynamic-file.js'
import { allLayers } from '../depth/plan.js'
import { type PlanFile, parsePlanFile } from '../depth/plan-file.js'
import { parsePolicyDocument, readPolicyText } from '../depth/policy-document.js'
import { loadPolicyFile, type PolicyFile, parsePolicyFile } from '../depth/policy-file.js'
import { interval } from '../evaluate/report/format.js'
import { type Cli, note, printJson, requireSubcommand, UsageError } from './cli.js'
import type { RevisionOption } from './loading-line.js'
import { withModel } from './model-options.js'
import { printTable } from './table.js'
import { wholeNumber } from './values.js'

interface ApplyOptions {
  readonly traces: string
  readonly from?: number
  readonly json?: boolean
}

interface ImportCommandOptions extends RevisionOption {
  readonly out: string
  readonly layers?: number
  readonly entry?: string
  readonly wholeLayers: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal policy show svm.policy.json                    what the policy does and what it was made from
  $ shoal policy apply svm.policy.json --traces answers.json --from 266
  $ shoal policy apply svm.policy.json --traces answers.json --from 266 --json
  $ shoal policy import skip_layers.json --entry llama-2-13b_cnndm --layers 40 -o swift.policy.json
  $ shoal policy import ./checkpoint ./dropped/config.json -o drop.policy.json`

export function buildPolicy(cli: Cli): Command {
  const policy = new Command('policy')
    .description('Explain a policy file, run it over traces, or make a plan of a published list of layers.')
    .usage('show|apply|import [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  policy.addCommand(
    shared(new Command('show').description('explain a policy in words'))
      .argument('<policy>', 'policy file')
      .usage('POLICY [options]')
      .addHelpText('after', EXAMPLES)
      .action((path: string, options: { json?: boolean }) => show(cli, path, options)),
  )
  policy.addCommand(
    shared(new Command('apply').description('where it would stop on traces, and with what values'))
      .argument('<policy>', 'policy file')
      .usage('POLICY --traces FILE [options]')
      .requiredOption('--traces <file>', 'traces of full-depth runs: .jsonl of shoal trace, or JSON')
      .option('--from <n>', 'leave out the first n instances', wholeNumber(0))
      .addHelpText('after', EXAMPLES)
      .action((path: string, options: ApplyOptions) => apply(cli, path, options)),
  )
  policy.addCommand(
    shared(new Command('import').description('make a plan of a published list of layers to leave out'))
      .argument('[model]', 'the model that the plan is for, of which name, weights and number of layers are noted')
      .argument('[file]', 'skip_layers.json of SWIFT; config.json or layer_mapping.json of LLM-Drop')
      .usage('[MODEL] FILE -o FILE [options]')
      .requiredOption('-o, --out <file>', 'policy file to write')
      .option('--revision <rev>', 'of a model on the Hub: branch, tag or commit; default main')
      .option('--layers <n>', 'layers of the model, where there is no MODEL', wholeNumber(2, 100_000))
      .option('--entry <name>', 'which entry of a skip_layers.json')
      .option('--whole-layers', 'pass over layers of which only attention or only MLP is left out', false)
      .addHelpText('after', EXAMPLES)
      .action((first: string | undefined, second: string | undefined, options: ImportCommandOptions) => {
        const [model, path] = second === undefined ? [undefined, first] : [first, second]
        return importList(cli, model, path, options)
      }),
  )
  return requireSubcommand(policy)
}

function shared(command: Command): Command {
  return command
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
}

function show(cli: Cli, path: string, options: { json?: boolean }): void {
  const text = readPolicyText(path)
  const { kind } = parsePolicyDocument(path, text)
  if (kind === 'plan') print(cli, parsePlanFile(path, text), explainPlan, options)
  else if (kind === 'dynamic') print(cli, parseDynamicFile(path, text), explainDynamic, options)
  else print(cli, parsePolicyFile(path, text), explainPolicy, options)
}

function print<T>(cli: Cli, policy: T, explain: (policy: T) => readonly string[], options: { json?: boolean }): void {
  if (options.json) printJson(cli, policy)
  else for (const line of explain(policy)) cli.stdout.write(`${line}\n`)
}

/** Loads the model, where one is named, for its name, weights and number of layers. */
async function importList(
  cli: Cli,
  name: string | undefined,
  path: string | undefined,
  options: ImportCommandOptions,
): Promise<void> {
  const { layers = null, entry = null, wholeLayers, out } = options
  if (path === undefined) throw new UsageError('FILE is missing; shoal policy --help shows examples')
  if (name !== undefined && layers !== null) throw new UsageError('give either MODEL or --layers N')
  const model = name === undefined ? null : await factsOf(cli, name, options)
  const imported = await importPlan(path, { layers: model?.layers ?? layers, entry, wholeLayers })
  const file: PlanFile = {
    format: 'shoal-policy',
    version: 1,
    kind: 'plan',
    created: new Date().toISOString(),
    model: model ?? { name: null, fingerprint: null, layers: imported.layers },
    method: imported.method,
    layers: imported.plan,
  }
  await writePolicyFile(out, file)
  if (imported.halves.length > 0) {
    const { halves } = imported
    note(
      cli,
      `layers ${halves.join(', ')} are left out by half in ${path}; they stay, so this is another set than the published one`,
    )
  }
  print(cli, file, (plan) => [...explainPlan(plan), `written to ${out}; run it with --depth plan:${out}`], options)
}

async function factsOf(cli: Cli, name: string, { revision }: RevisionOption): Promise<PlanFile['model']> {
  return withModel(cli, name, { device: 'cpu', ...(revision !== undefined && { revision }) }, async (model) => ({
    name: model.name,
    fingerprint: model.fingerprint,
    layers: model.hyperparameters.layers,
  }))
}

function explainPlan({ method, model, layers, search }: PlanFile): string[] {
  const left = allLayers(model.layers).filter((layer) => !layers.includes(layer))
  return [
    `${layers.length} of ${model.layers} layers run: ${layers.join(', ')}`,
    `left out: ${left.length === 0 ? 'none' : left.join(', ')}`,
    `chosen by ${method}, for ${model.name ?? 'a model that is not named'}`,
    ...(search === undefined ? [] : explainSearch(search)),
  ]
}

function explainSearch({ data, evaluated, prompt, held_out: h }: NonNullable<PlanFile['search']>): string[] {
  const prompts = prompt === 'full' ? 'prompts at full depth' : 'prompts under the plan too'
  const { mean, low, high } = h.difference
  const difference = interval({ mean, low: low ?? Number.NaN, high: high ?? Number.NaN, n: h.texts }, 3)
  return [
    `searched on ${data}: ${evaluated} plans evaluated, ${prompts}`,
    `loss on ${h.texts} texts that the search did not see: ${h.found.toFixed(3)}, balanced ${h.balanced.toFixed(3)}, full depth ${h.full.toFixed(3)}; found - balanced ${difference}`,
  ]
}

function explainDynamic({ feature, model, plans, thresholds, mean_depth: meanDepth }: DynamicFile): string[] {
  const than = feature === 'entropy' ? 'at most' : 'at least'
  return [
    `${plans.length} plans for a model of ${model.layers} layers (${model.name ?? 'not named'}), picked by ${feature} after the prompt:`,
    ...plans.map((plan, i) => {
      const threshold = thresholds[i]
      const when = threshold === undefined ? 'else' : `${feature} ${than} ${threshold.toPrecision(4)}`
      return `  ${when}: ${plan.length} layers, ${plan.join(', ')}`
    }),
    `mean depth ${meanDepth.toFixed(2)} where it was fitted`,
  ]
}

async function apply(cli: Cli, path: string, options: ApplyOptions): Promise<void> {
  const policy = loadPolicyFile(path)
  const all = await readTraces(options.traces)
  const from = options.from ?? 0
  if (from >= all.sequences) throw new UsageError(`--from ${from}: ${options.traces} has ${all.sequences} instances`)
  const traces = sliceTraces(all, from)
  const applied = applyPolicy(policy, traces)
  if (options.json) {
    printJson(cli, { instances: applied.map((result) => instanceJson(policy, result)) })
    return
  }
  printSummary(cli, traces, applied)
}

/** Arrays of L - 1 entries, layers 0 .. L - 2; null where the policy does not check. */
function instanceJson(policy: PolicyFile, { decision, smoothed, exit }: Applied): object {
  const byLayer = (values: Float64Array): (number | null)[] => {
    const spread = Array.from<number | null>({ length: policy.model.layers - 1 }).fill(null)
    for (const [check, layer] of policy.checked_layers.entries()) spread[layer] = values[check]!
    return spread
  }
  return { decision: byLayer(decision), ...(smoothed === null ? {} : { smoothed: byLayer(smoothed) }), exit }
}

function printSummary(cli: Cli, traces: TraceSet, applied: readonly Applied[]): void {
  const percent = (share: number | null): string => (share === null ? '–' : `${(100 * share).toFixed(1)}%`)
  const row = (name: string, keep: (task: string) => boolean): string[] => {
    const own = { ...traces, instances: traces.instances.filter(({ task }) => keep(task)) }
    const exits = applied.flatMap(({ exit }, i) => (keep(traces.instances[i]!.task) ? [exit] : []))
    const { meanLayers, agreement, accuracy } = outcomes(own, exits)
    const full = outcomes(own, 'full').accuracy
    return [name, String(exits.length), meanLayers.toFixed(2), percent(agreement), percent(accuracy), percent(full)]
  }
  const tasks = taskNames(traces)
  const rows = tasks.map((name) => row(name, (task) => task === name))
  if (tasks.length > 1) rows.push(row('all', () => true))
  printTable(cli, [['task', 'instances', 'mean depth', 'agreement', 'accuracy', 'at full depth'], ...rows])
  cli.stdout.write(`\n${traces.layers} layers\n`)
}
