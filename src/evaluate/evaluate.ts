import { cpus } from 'node:os'
import { type PositionTrace, recordPositions } from '../calibrate/record.js'
import type { Policy } from '../depth/policy.js'
import { parseDepth } from '../depth/spec.js'
import type { Model } from '../engine/api.js'
import { familyByArchitecture } from '../families/index.js'
import {
  DEFAULT_TEMPLATE,
  parseTemplate,
  type Question,
  questionsOf,
  type ScoreMode,
  type Task,
} from '../tasks/index.js'
import { type Answer, answer } from './answers.js'
import { type Asked, cellOf, type DepthName, pooledCell } from './cells.js'
import { controlsOf } from './controls.js'
import { type ModelSize, modelSize } from './cost.js'
import { curvesOf } from './curves.js'
import type { EvalCell, EvalReport } from './result.js'

export interface EvaluateOptions {
  readonly tasks: readonly Task[]
  readonly shots: readonly number[]
  /** SPECs; full depth is always run beside them. */
  readonly depths: readonly string[]
  readonly score: ScoreMode
  readonly seed: number
  /** Questions of a task at most. */
  readonly limit?: number
  readonly template?: string
  readonly maxTokens: number
  /** Adds fixed exit, random, oracle and ShortGPT at each exit policy's mean depth. */
  readonly controls: boolean
  readonly signal?: AbortSignal
  /** Answers so far, of how many. */
  readonly onProgress?: (done: number, total: number) => void
}

/** What was asked of one task with one number of shots. */
interface Group {
  readonly task: Task
  readonly shots: number
  readonly questions: readonly Question[]
  readonly skipped: number
}

const FULL: DepthName = { name: 'full', policy: null }

/**
 * Runs tasks under several depths and compares each with full depth on the same questions. The depths take turns on every
 * question, so that a change of the machine's pace meets all of them.
 */
export async function evaluate(model: Model, options: EvaluateOptions): Promise<EvalReport> {
  const { hyperparameters: h } = model
  const depths = depthNames(model, options.depths)
  const groups = options.tasks.flatMap((task) =>
    options.shots.map(
      (shots): Group => ({ task, shots, ...questionsOf(model, task, questionOptions(options, shots)) }),
    ),
  )
  const size = modelSize(h, familyByArchitecture(h.architecture, model.path).tensors(h))
  const total = groups.reduce((sum, g) => sum + g.questions.length, 0)
  let done = 0
  const cells: EvalCell[] = []
  const asked: { group: Group; name: string; asked: Asked[] }[] = []
  const traces: { task: string; trace: PositionTrace }[] = []
  for (const group of groups) {
    const byDepth = new Map<string, Asked[]>(depths.map(({ name }) => [name, []]))
    const groupTraces: PositionTrace[] = []
    for (const [i, question] of group.questions.entries()) {
      const answers = await askInTurn(model, group, question, depths, options, i)
      const full = answers.get('full') as Answer
      for (const { name } of depths) {
        byDepth.get(name)?.push({ question, answer: answers.get(name) as Answer, full })
      }
      if (options.controls && options.score === 'token') {
        const [trace] = await recordPositions(model, question.prompt.ids, [], options.signal)
        if (trace) groupTraces.push(trace)
      }
      options.onProgress?.(++done, total)
    }
    if (group.questions.length === 0) continue
    for (const depth of depths) {
      const of = byDepth.get(depth.name) as Asked[]
      cells.push(cell(group, depth, of, size, options))
      asked.push({ group, name: depth.name, asked: of })
    }
    if (groupTraces.length > 0) {
      traces.push(...groupTraces.map((trace) => ({ task: group.task.name, trace })))
      const full = byDepth.get('full') as Asked[]
      for (const control of await controlsOf(model, group.task, full, groupTraces, byDepth, depths, options)) {
        cells.push(cell(group, control.depth, control.asked, size, options))
        asked.push({ group, name: control.depth.name, asked: control.asked })
      }
    }
  }
  const first = groups[0]
  return {
    model: model.name,
    quantization: model.quantization,
    layers: h.layers,
    parameters: model.parameters,
    score: options.score,
    seed: options.seed,
    date: new Date().toISOString(),
    machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}`,
    cells,
    overall: first === undefined ? [] : overall(asked, depths, size, options),
    curves: curvesOf(traces),
    matrix: null,
    notes: [],
  }
}

/** Full depth first, then the others by their canonical SPEC, each once. */
function depthNames(model: Model, specs: readonly string[]): DepthName[] {
  const names = new Map<string, DepthName>([['full', FULL]])
  for (const spec of specs) {
    const policy: Policy = parseDepth(spec, { layers: model.hyperparameters.layers, fingerprint: model.fingerprint })
    if (policy.spec !== 'full') names.set(policy.spec, { name: policy.spec, policy })
  }
  return [...names.values()]
}

function questionOptions(options: EvaluateOptions, shots: number) {
  const { seed, score, limit, template, maxTokens } = options
  return {
    shots,
    seed,
    score,
    maxTokens,
    ...(limit === undefined ? {} : { limit }),
    ...(template === undefined ? {} : { template }),
  }
}

async function askInTurn(
  model: Model,
  { task }: Group,
  question: Question,
  depths: readonly DepthName[],
  options: EvaluateOptions,
  turn: number,
): Promise<Map<string, Answer>> {
  const { score, maxTokens, signal, template } = options
  const { stop } = parseTemplate(template ?? DEFAULT_TEMPLATE)
  const ask = (depth: DepthName) =>
    answer(model, task, question, depth.policy ?? 'full', {
      score,
      maxTokens,
      stop,
      ...(signal === undefined ? {} : { signal }),
    })
  // The first question also builds graphs: it is asked once more, and only the second time counts.
  if (turn === 0) for (const depth of depths) await ask(depth)
  const answers = new Map<string, Answer>()
  for (let i = 0; i < depths.length; i++) {
    const depth = depths[(i + turn) % depths.length] as DepthName
    answers.set(depth.name, await ask(depth))
  }
  return answers
}

function cell(
  group: Group,
  depth: DepthName,
  asked: readonly Asked[],
  size: ModelSize,
  options: EvaluateOptions,
): EvalCell {
  const { task, shots, skipped } = group
  return cellOf({ task: task.name, group: task.group, shots, skipped }, depth, asked, size, options.seed)
}

/** Every depth over all tasks with the same number of shots. */
function overall(
  all: readonly { group: Group; name: string; asked: Asked[] }[],
  depths: readonly DepthName[],
  size: ModelSize,
  options: EvaluateOptions,
): EvalCell[] {
  const names = [...new Set(all.map(({ name }) => name))]
  return options.shots.flatMap((shots) =>
    names.flatMap((name) => {
      const of = all.filter((a) => a.name === name && a.group.shots === shots)
      if (of.length === 0) return []
      const depth = depths.find((d) => d.name === name) ?? { name, policy: null }
      const skipped = of.reduce((sum, { group }) => sum + group.skipped, 0)
      return [
        pooledCell(
          { shots, skipped },
          depth,
          of.flatMap(({ asked }) => asked),
          size,
          options.seed,
        ),
      ]
    }),
  )
}
