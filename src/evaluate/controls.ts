import type { ExitRule } from '../calibrate/outcomes.js'
import type { TraceSet } from '../calibrate/traces.js'
import { keptOf } from '../depth/ordered-removal.js'
import type { Plan } from '../depth/plan.js'
import type { ExitPolicy, Policy } from '../depth/policy.js'
import { influenceOrder } from '../depth/shortgpt.js'
import { parseDepth } from '../depth/spec.js'
import type { Model } from '../engine/api.js'
import { createRandomStream } from '../engine/schedule/random-stream.js'
import type { Task } from '../tasks/index.js'
import { type Answer, answer } from './answers.js'
import { type Asked, type DepthName, tracedAnswers } from './cells.js'

/** A control and what it answers. */
export interface Control {
  readonly depth: DepthName
  readonly asked: Asked[]
}

export interface ControlOptions {
  readonly seed: number
  readonly maxTokens: number
  readonly signal?: AbortSignal
  /** Gives what a control answered to a question in an earlier run, or asks. */
  readonly ask: (
    question: number,
    control: string,
    ask: () => Promise<ReadonlyMap<string, Answer>>,
  ) => Promise<{ readonly answers: ReadonlyMap<string, Answer> }>
}

/** Controls of an exit policy that the engine is asked for, beside full depth. */
export function askedControls({ policy }: DepthName): number {
  if (policy?.kind !== 'exit') return 0
  return policy.lens === undefined ? 1 : 3
}

/**
 * What each exit policy is held against, at its own mean depth: `fixed` exits at one of the two neighbouring layers,
 * `random` the policy's own exits permuted over the questions, `shortgpt` the layers of least influence left out; and
 * `oracle`, the first layer from which the argmax stays, which no policy can know. An exit in a full-depth trace gives exactly that
 * layer's answer, so nothing is run for them; but for `shortgpt`, and where a policy reads layers through a lens and the traces do not.
 */
export async function controlsOf(
  model: Model,
  task: Task,
  full: readonly Asked[],
  traces: TraceSet,
  byDepth: ReadonlyMap<string, readonly Asked[]>,
  depths: readonly DepthName[],
  options: ControlOptions,
): Promise<Control[]> {
  const { layers } = model.hyperparameters
  const questions = full.map(({ question }) => question)
  const at = (rule: ExitRule): Asked[] => tracedAnswers(questions, traces, rule)
  const run = (name: string, policyOf: (question: number) => Policy) =>
    askAll(model, task, full, name, policyOf, options)
  const controls: Control[] = [named('oracle', at('oracle'))]
  for (const { name, policy } of depths) {
    if (policy?.kind !== 'exit') continue
    const own = byDepth.get(name) as readonly Asked[]
    const exits = own.map((a) => Math.round(a.answer.depth) - 1)
    const meanDepth = exits.reduce((sum, e) => sum + e + 1, 0) / exits.length
    const random = createRandomStream(options.seed)
    const { lens } = policy
    for (const [kind, exitsOf] of [
      ['fixed', fixedExits(meanDepth, exits.length, random)],
      ['random', shuffled(exits, random)],
    ] as const) {
      const control = `${kind} at ${name}`
      const through = (i: number): Policy => {
        const exit = parseDepth(`exit:${exitsOf[i]}`, { layers }) as ExitPolicy
        return lens === undefined ? exit : { ...exit, lens }
      }
      controls.push(named(control, lens === undefined ? at(exitsOf) : await run(control, through)))
    }
    const kept = Math.min(layers, Math.max(1, Math.round(meanDepth)))
    const plan = shortGptPlan(traces, kept)
    const spec = kept === layers ? 'full' : `layers:${plan.join(',')},prompt=plan`
    const pruned = parseDepth(spec, { layers })
    const control = `shortgpt at ${name}`
    controls.push({ depth: { name: control, policy: pruned }, asked: await run(control, () => pruned) })
  }
  return controls
}

/** Asks every question under a control, and full depth again beside it, so that both times are of the same minute. */
async function askAll(
  model: Model,
  task: Task,
  full: readonly Asked[],
  control: string,
  policyOf: (question: number) => Policy,
  { maxTokens, signal, ask }: ControlOptions,
): Promise<Asked[]> {
  const asking = { score: 'token' as const, maxTokens, stop: '\n', ...(signal === undefined ? {} : { signal }) }
  const asked: Asked[] = []
  for (const [i, { question, full: fullAnswer }] of full.entries()) {
    const { answers } = await ask(i, control, async () => {
      const given = await answer(model, task, question, policyOf(i), asking)
      const beside = await answer(model, task, question, 'full', asking)
      return new Map([
        [control, given],
        ['full', beside],
      ])
    })
    const { ms } = answers.get('full') as Answer
    asked.push({ question, answer: answers.get(control) as Answer, full: { ...fullAnswer, ms } })
  }
  return asked
}

function named(name: string, asked: Asked[]): Control {
  return { depth: { name, policy: null }, asked }
}

/** Exits at the two layers around a mean depth, so many at each that the mean is met; who goes deeper is random. */
function fixedExits(meanDepth: number, count: number, random: () => number): number[] {
  const shallow = Math.floor(meanDepth)
  const deeper = Math.round((meanDepth - shallow) * count)
  return shuffled(
    Array.from({ length: count }, (_, i) => (i < deeper ? shallow : shallow - 1)),
    random,
  )
}

/** Influence of the layers on the answers' own rows (ShortGPT, arXiv 2403.03853). */
export function shortGptPlan({ instances, layers }: TraceSet, kept: number): Plan {
  const influence = Array.from({ length: layers }, (_, l) => {
    // Traces have no cosine for the first layer, and it is never the one to go.
    if (l === 0) return Number.POSITIVE_INFINITY
    return 1 - instances.reduce((sum, { features }) => sum + features.cos_hidden![l]!, 0) / instances.length
  })
  return keptOf(influenceOrder(influence), kept)
}

/** A permutation. */
export function shuffled(values: readonly number[], random: () => number): number[] {
  const result = [...values]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    ;[result[i], result[j]] = [result[j] as number, result[i] as number]
  }
  return result
}
