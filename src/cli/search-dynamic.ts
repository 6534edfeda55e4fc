import { type FoundPlans, type FoundTarget, planPath } from '../calibrate/find-plans.js'
import { type FittedDynamic, fitDynamic } from '../calibrate/fit-dynamic.js'
import type { SearchTexts } from '../calibrate/search-texts.js'
import { type DynamicFile, planFor } from '../depth/dynamic-file.js'
import type { Plan } from '../depth/plan.js'
import type { PromptPass } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import { printable } from '../errors.js'
import { type Interval, ratioBootstrap } from '../evaluate/bootstrap.js'
import type { TextLosses } from '../evaluate/plan-comparison.js'
import { interval, signed } from '../evaluate/report/format.js'
import type { Cli } from './cli.js'

/** A policy that picks a plan per prompt, beside the one plan that was found for the same target. */
export interface DynamicResult {
  readonly target: number
  readonly fitted: FittedDynamic
  readonly file: DynamicFile
  readonly path: string | null
  /** On texts that the search did not see. */
  readonly heldOut: {
    readonly loss: number
    readonly fixedLoss: number
    readonly meanDepth: number
    /** Loss of the picked plans - loss of the fixed one, 95% over texts. */
    readonly difference: Interval
  }
  readonly json: object
}

export interface DynamicOptions {
  /** On texts that the search did not see. */
  readonly losses: TextLosses
  readonly passes: readonly PromptPass[]
  readonly target: number
  readonly out: string | undefined
}

/** Fits thresholds on the texts that the search saw, for the mean depth of a target's plan, and tries them on the others. */
export async function fitAndCompare(
  model: Model,
  texts: SearchTexts,
  found: FoundPlans,
  { losses, passes, target, out }: DynamicOptions,
): Promise<DynamicResult> {
  const fixed = found.targets.find((t) => t.target === target) as FoundTarget
  // Two targets may keep as many layers: one plan of each size is enough.
  const bySize = new Map(found.targets.map((t) => [t.plan.length, t]))
  const plans = [...bySize.values()].sort((a, b) => a.plan.length - b.plan.length)
  const fitted = fitDynamic(
    {
      plans: plans.map(({ plan }) => plan),
      passes: found.passes,
      losses: plans.map((t) => found.each.get(t) as readonly number[]),
      tokens: texts.search.map(({ ids, promptLength }) => ids.length - promptLength),
    },
    fixed.plan.length,
  )
  const file: DynamicFile = {
    format: 'shoal-policy',
    version: 1,
    kind: 'dynamic',
    created: new Date().toISOString(),
    model: { name: model.name, fingerprint: model.fingerprint, layers: model.hyperparameters.layers },
    feature: fitted.feature,
    plans: fitted.plans,
    thresholds: fitted.thresholds,
    mean_depth: fitted.meanDepth,
  }
  const each = new Map<Plan, ArrayLike<number>>()
  for (const plan of fitted.plans) each.set(plan, await losses(plan))
  const ofFixed = await losses(fixed.plan)
  const tokens = texts.heldOut.map(({ ids, promptLength }) => ids.length - promptLength)
  const picked = passes.map((pass) => planFor(file, pass))
  const ofPicked = picked.map((plan, i) => (each.get(plan) as ArrayLike<number>)[i] as number)
  const total = tokens.reduce((sum, n) => sum + n, 0)
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / total
  const heldOut = {
    loss: mean(ofPicked),
    fixedLoss: mean(Array.from(ofFixed)),
    meanDepth: mean(picked.map((plan, i) => plan.length * (tokens[i] as number))),
    difference: ratioBootstrap(
      ofPicked.map((loss, i) => loss - (ofFixed[i] as number)),
      tokens,
    ),
  }
  const path = out === undefined ? null : planPath(out, `dynamic-${target}x`)
  const json = {
    target,
    feature: fitted.feature,
    plans: fitted.plans,
    thresholds: fitted.thresholds,
    seen: { loss: fitted.loss, fixed: fixed.loss, mean_depth: fitted.meanDepth },
    held_out: {
      loss: heldOut.loss,
      fixed: heldOut.fixedLoss,
      mean_depth: heldOut.meanDepth,
      difference: heldOut.difference,
    },
    out: path,
  }
  return { target, fitted, file, path, heldOut, json }
}

export function showDynamic(cli: Cli, { target, fitted, heldOut, path }: DynamicResult): void {
  const { plans, feature } = fitted
  const sizes = plans.map((plan) => plan.length).join(', ')
  cli.stdout.write(
    plans.length === 1
      ? `dynamic for ${target}x: no threshold does better than one plan of ${sizes} layers for every prompt\n`
      : `dynamic for ${target}x: plans of ${sizes} layers, picked by ${feature} after the prompt\n`,
  )
  cli.stdout.write(
    `loss ${heldOut.loss.toFixed(4)} at mean depth ${heldOut.meanDepth.toFixed(2)}; dynamic - the one plan for ${target}x ${interval(heldOut.difference, 4, signed)}\n`,
  )
  if (path !== null) cli.stdout.write(`written to ${printable(path)}; run it with --depth dynamic:${printable(path)}\n`)
  cli.stdout.write('\n')
}
