import { Command } from 'commander'
import { type Applied, applyPolicy } from '../calibrate/apply.js'
import { explainPolicy } from '../calibrate/explain.js'
import { readTraces, sliceTraces, type TraceInstance, type TraceSet } from '../calibrate/traces.js'
import { allLayers } from '../depth/plan.js'
import { type PlanFile, parsePlanFile } from '../depth/plan-file.js'
import { parsePolicyDocument, readPolicyText } from '../depth/policy-document.js'
import { loadPolicyFile, type PolicyFile, parsePolicyFile } from '../depth/policy-file.js'
import { type Cli, printJson, UsageError } from './cli.js'
import { printTable } from './table.js'
import { wholeNumber } from './values.js'

interface ApplyOptions {
  readonly traces: string
  readonly from?: number
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ shoal policy show svm.policy.json                    what the policy does and what it was made from
  $ shoal policy apply svm.policy.json --traces answers.json --from 266
  $ shoal policy apply svm.policy.json --traces answers.json --from 266 --json`

export function buildPolicy(cli: Cli): Command {
  const policy = new Command('policy')
    .description('Explain a policy file, or run it over traces.')
    .usage('show|apply POLICY [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  policy.addCommand(
    shared(new Command('show').description('explain a policy in words'))
      .argument('<policy>', 'policy file')
      .addHelpText('after', EXAMPLES)
      .action((path: string, options: { json?: boolean }) => show(cli, path, options)),
  )
  policy.addCommand(
    shared(new Command('apply').description('where it would stop on traces, and with what values'))
      .argument('<policy>', 'policy file')
      .requiredOption('--traces <file>', 'traces of full-depth runs: .parquet of shoal trace, or JSON')
      .option('--from <n>', 'leave out the first n instances', wholeNumber(0))
      .addHelpText('after', EXAMPLES)
      .action((path: string, options: ApplyOptions) => apply(cli, path, options)),
  )
  return policy
}

function shared(command: Command): Command {
  return command
    .option('--json', 'print one JSON document and nothing else on stdout')
    .option('--verbose', 'show where an error comes from')
}

function show(cli: Cli, path: string, options: { json?: boolean }): void {
  const text = readPolicyText(path)
  const isPlan = parsePolicyDocument(path, text).kind === 'plan'
  const policy = isPlan ? parsePlanFile(path, text) : parsePolicyFile(path, text)
  if (options.json) {
    printJson(cli, policy)
    return
  }
  const lines = policy.kind === 'plan' ? explainPlan(policy) : explainPolicy(policy)
  for (const line of lines) cli.stdout.write(`${line}\n`)
}

function explainPlan({ method, model, layers }: PlanFile): string[] {
  const left = allLayers(model.layers).filter((layer) => !layers.includes(layer))
  return [
    `${layers.length} of ${model.layers} layers run: ${layers.join(', ')}`,
    `left out: ${left.length === 0 ? 'none' : left.join(', ')}`,
    `chosen by ${method}, for ${model.name ?? 'a model that is not named'}`,
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
  const tasks = new Map<string, { instance: TraceInstance; exit: number }[]>()
  for (const [i, instance] of traces.instances.entries()) {
    const group = tasks.get(instance.task) ?? []
    group.push({ instance, exit: applied[i]!.exit })
    tasks.set(instance.task, group)
  }
  const row = (name: string, group: readonly { instance: TraceInstance; exit: number }[]): string[] => {
    const mean = (of: (instance: TraceInstance, exit: number) => number): number =>
      group.reduce((sum, { instance, exit }) => sum + of(instance, exit), 0) / group.length
    const judged = group.every(({ instance }) => instance.correct !== null)
    const percent = (share: number): string => `${(100 * share).toFixed(1)}%`
    return [
      name,
      String(group.length),
      mean((_, exit) => exit + 1).toFixed(2),
      percent(mean(({ agree }, exit) => agree[exit]!)),
      judged ? percent(mean(({ correct }, exit) => correct![exit]!)) : '–',
      judged ? percent(mean(({ correct }) => correct!.at(-1)!)) : '–',
    ]
  }
  const rows = [...tasks].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, group]) => row(name, group))
  if (tasks.size > 1) rows.push(row('all', [...tasks.values()].flat()))
  printTable(cli, [['task', 'instances', 'mean depth', 'agreement', 'accuracy', 'at full depth'], ...rows])
  cli.stdout.write(`\n${traces.layers} layers\n`)
}
