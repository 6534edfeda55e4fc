import { rowBytes } from '../../checkpoint/tensor-type.js'
import { type Bridge, bridgeType, planGaps } from '../../depth/bridge.js'
import type { StepCosts } from '../../depth/measurement.js'
import type { ExitPolicy, Policy } from '../../depth/policy.js'
import { balancedPlan } from '../../depth/unified.js'
import { InputError } from '../../errors.js'
import type { Sequence } from '../cache/sequence.js'
import { Batch } from '../schedule/batch.js'
import { GenerationJob, type GenerationParts } from '../schedule/generation.js'
import { generationRequest } from '../schedule/generation-request.js'
import { GenerationStream } from '../schedule/generation-stream.js'
import { isPossible } from './kept-costs.js'
import type { MeasureWork } from './measurements.js'
import { neverFalling } from './never-falling.js'

/** Tokens in the cache: what 64 new tokens after a prompt of 128 see on average. */
const CACHED = 160
/** Plans that are measured, full depth among them; the smallest has two layers. */
const PLANS = 8
/** A model whose step takes longer than this, in ms, is far larger than the caches, and its times lie close to a line. */
const LARGE_MS = 40
const PLANS_OF_LARGE = 5
/** Layers after which the run that measures exit checks has one. */
const CHECKS = 4
/** What the measurement should take, in ms, if the fewest rounds allow it. */
const BUDGET_MS = 2000
const ROUNDS = { least: 9, most: 15 }
/** After so long, in ms, three rounds have to do: a large model, or a machine that is busy. */
const LONG_MS = 10_000
const FEWEST_ROUNDS = 3
/** Steps that are timed in one go; one before them is not. */
const STEPS = { least: 3, most: 16 }
/** A position in the cache, the token that is fed, and the one after it. */
const LEAST_CONTEXT = 3
/** How often is tried to get costs that make sense. */
const TRIES = 3

/** One kind of run that takes its turn in every round. */
interface Case {
  readonly policy: Policy
  /** Layers of its plan; 0 where exit checks are measured, -1 where bridges are. */
  readonly layers: number
  /** Steps of one round. */
  steps: number
  /** ms per step, one entry per round. */
  readonly stepMs: number[]
}

/** What a decode step of `batch` sequences costs. Throws InputError where the machine is too busy to tell. */
export async function measureCosts(parts: GenerationParts, batch: number, work: MeasureWork): Promise<StepCosts> {
  if (parts.context < LEAST_CONTEXT) {
    throw new InputError(`a context of ${parts.context} is too short to measure what a step costs`)
  }
  for (let i = 0; i < TRIES; i++) {
    const costs = await measureOnce(parts, batch, work)
    if (isPossible(costs)) return costs
  }
  throw new InputError(
    'what a step costs could not be measured: fewer layers took no less time; try again on a quieter machine',
  )
}

/**
 * Measures what a decode step costs for `batch` sequences, by generating: the same jobs, batch and engine as ever, on
 * sequences that hold `CACHED` positions of zeros. Full depth, plans of several sizes and a run with exit checks take
 * turns; each round's times are put in relation to its own full depth, so that a change of the machine's pace meets all.
 */
async function measureOnce(parts: GenerationParts, batch: number, work: MeasureWork): Promise<StepCosts> {
  const { engine } = parts
  const { layers } = engine
  const sequences = Array.from({ length: batch }, () => engine.createSequence())
  const most = Math.max(1, Math.min(STEPS.most, parts.context - 2))
  const held = Math.max(1, Math.min(CACHED - (most >> 1), parts.context - most - 1))
  const checks = balancedPlan(layers, Math.min(CHECKS + 1, layers)).slice(0, -1)
  const what = batch === 1 ? 'what a step costs' : `what a step of ${batch} sequences costs`
  const cases: Case[] = []
  const heads: number[] = []
  const rests: number[] = []
  const checkTimes: number[] = []
  const bridgeTimes: number[] = []
  const started = performance.now()
  const run = (policy: Policy, steps: number) => {
    for (const sequence of sequences) {
      sequence.truncate(held)
      sequence.assume(held)
    }
    return generate(parts, sequences, policy, steps, work.signal)
  }
  try {
    // The first time builds graphs and says how much there is time for.
    const { stepMs: firstMs } = await run(planOf(layers, layers), 2)
    const sizes = planSizes(layers, firstMs > LARGE_MS ? PLANS_OF_LARGE : PLANS)
    cases.push(...sizes.map((n) => ({ policy: planOf(layers, n), layers: n, steps: 0, stepMs: [] })))
    if (checks.length > 0) cases.push({ policy: watching(checks), layers: 0, steps: 0, stepMs: [] })
    const gapped = cases.find(({ layers: n }) => n > 0 && n <= (layers + 1) / 2)
    const gaps = gapped === undefined ? 0 : planGaps(balancedPlan(layers, gapped.layers), layers).length
    const bridged: Case | null =
      gapped === undefined || gaps === 0
        ? null
        : { policy: bridgedPlan(layers, gapped.layers, engine.hidden), layers: -1, steps: 0, stepMs: [] }
    if (bridged !== null) cases.push(bridged)
    // All take as long as full depth: a pause of the machine or of the garbage collector weighs most in short steps.
    const share = Math.max(BUDGET_MS / (ROUNDS.least * cases.length), STEPS.least * firstMs)
    let round = 0
    for (const c of cases) {
      const { stepMs } = await run(c.policy, 2)
      c.steps = clamp(share / stepMs, Math.min(STEPS.least, most), most)
      round += c.steps * stepMs
    }
    const rounds = clamp(BUDGET_MS / round, ROUNDS.least, ROUNDS.most)
    for (let i = 0; i < rounds; i++) {
      // Who goes first changes from round to round.
      for (const c of i % 2 === 0 ? cases : [...cases].reverse()) {
        const before = engine.spent
        const { stepMs, checkMs } = await run(c.policy, c.steps)
        c.stepMs.push(stepMs)
        if (c.layers === layers) {
          const headMs = (engine.spent.headsMs - before.headsMs) / (c.steps + 1)
          heads.push(headMs)
          rests.push(Math.max(0, stepMs - headMs - (engine.spent.layersMs - before.layersMs) / (c.steps + 1)))
        }
        if (c.layers === 0) checkTimes.push(checkMs / (c.steps + 1) / checks.length)
      }
      if (bridged !== null) {
        const [over, plain] = [bridged.stepMs, (gapped as Case).stepMs].map((ms) => ms.at(-1) as number)
        bridgeTimes.push(((over as number) - (plain as number)) / gaps)
      }
      work.progress({ what, done: (i + 1) / rounds })
      if (i + 1 >= FEWEST_ROUNDS && performance.now() - started > LONG_MS) break
    }
  } finally {
    for (const sequence of sequences) sequence.dispose()
  }
  const full = cases[0] as Case
  const fullMs = trimmedMean(full.stepMs)
  const headMs = trimmedMean(heads)
  const restMs = trimmedMean(rests)
  const plans = cases
    .filter((c) => c.layers > 0)
    .map((c) => ({
      layers: c.layers,
      ms: fullMs * trimmedMean(c.stepMs.map((ms, i) => ms / (full.stepMs[i] as number))),
    }))
    .reverse()
  return {
    batch,
    layers,
    fullMs,
    layerMs: (fullMs - headMs - restMs) / layers,
    headMs,
    checkMs: checkTimes.length > 0 ? trimmedMean(checkTimes) : headMs,
    restMs,
    bridgeMs: bridgeTimes.length > 0 ? Math.max(0, trimmedMean(bridgeTimes)) : 0,
    plans: neverFalling(plans),
  }
}

/** All layers first, then fewer and fewer, evenly spaced. */
function planSizes(layers: number, count: number): number[] {
  const least = Math.min(2, layers)
  const sizes = balancedPlan(layers - least + 1, count).map((n) => n + least)
  return sizes.reverse()
}

function planOf(layers: number, n: number): Policy {
  const plan = balancedPlan(layers, n)
  return { kind: 'skip', spec: `measuring ${n} layers`, prompt: 'plan', plan: () => plan }
}

/** A plan with a bridge of zeros over every gap. */
function bridgedPlan(layers: number, n: number, hidden: number): Policy {
  const plan = balancedPlan(layers, n)
  const type = bridgeType(hidden)
  const zeros = { type, columns: hidden, rows: hidden, data: new Uint8Array(hidden * rowBytes(type, hidden)) }
  const bias = new Float32Array(hidden)
  const bridges = planGaps(plan, layers).map((gap): Bridge => ({ ...gap, on: 'hidden', factors: [zeros], bias }))
  return { kind: 'skip', spec: `measuring bridges over ${n} layers`, prompt: 'plan', plan: () => plan, bridges }
}

/** Checks, and never stops. */
function watching(checks: readonly number[]): ExitPolicy {
  return { kind: 'exit', spec: 'measuring checks', checkLayers: () => checks, exits: () => false }
}

/** Generates one token and `steps` more in every sequence: ms per step after the first, and time in checks in all. */
async function generate(
  parts: GenerationParts,
  sequences: readonly Sequence[],
  policy: Policy,
  steps: number,
  signal: AbortSignal,
): Promise<{ stepMs: number; checkMs: number }> {
  const together = new Batch(parts.engine, { slots: sequences.length, idleMs: null })
  const limits = { context: parts.context, hasText: false, depth: policy }
  const streams = sequences.map((sequence) => {
    const prompt = Array<number>(sequence.length + 1).fill(0)
    const request = generationRequest(prompt, { maxTokens: steps + 1, ignoreEos: true }, limits)
    const stream = new GenerationStream(request, policy.spec, parts.engine.layers, [], signal)
    const held = { idle: null, open: () => sequence, close: () => undefined }
    const job = new GenerationJob(parts, request, stream, stream.signal, held)
    job.begin(policy)
    together.add(job)
    return stream
  })
  const ended = await Promise.allSettled(streams.map((stream) => stream.result))
  const results = ended.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason
    return outcome.value
  })
  return {
    stepMs: Math.max(...results.map(({ timing }) => timing.decodeMs)) / steps,
    checkMs: results.reduce((sum, { checkMs }) => sum + checkMs, 0),
  }
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, Math.round(value)))
}

/** Without the least and the largest: short pauses belong to what steps take, a long one does not. */
function trimmedMean(values: readonly number[]): number {
  const kept = values.length < 3 ? values : [...values].sort((a, b) => a - b).slice(1, -1)
  return kept.reduce((sum, value) => sum + value, 0) / kept.length
}
