import type { GenerationResult, Model } from '../src/engine/api.js'

/** Where a lossless run first differs from full depth. */
export interface Difference {
  readonly prompt: number
  readonly at: number
  /** How far apart the two tokens' logits are at full depth. */
  readonly margin: number
}

export interface Agreement {
  readonly tokens: number
  readonly drafted: number
  readonly accepted: number
  readonly differences: readonly Difference[]
}

/** Prompts of 4 to 40 tokens that the model itself has written, drawn by a seed each. */
export async function ownPrompts(model: Model, count: number): Promise<number[][]> {
  const prompts: number[][] = []
  for (let seed = 0; seed < count; seed++) {
    const length = 3 + ((seed * 7) % 37)
    const { tokens } = await model.generate([0], { temperature: 1, seed, maxTokens: length, ignoreEos: true }).result
    prompts.push([0, ...tokens])
  }
  return prompts
}

/** What full depth says after each prompt. */
export function fullDepth(model: Model, prompts: readonly number[][], maxTokens: number): Promise<number[][]> {
  return inBatches(prompts, 4, async (prompt) => {
    const { tokens } = await model.generate(prompt, { depth: 'full', maxTokens, ignoreEos: true }).result
    return tokens
  })
}

/** Runs prompts losslessly, some at once, and holds them against what full depth said. */
export async function agreement(
  model: Model,
  prompts: readonly number[][],
  full: readonly number[][],
  options: { depth: string; batch: number; lossless: true | { drafts: number } },
): Promise<Agreement> {
  const { depth, batch, lossless } = options
  const maxTokens = full[0]!.length
  const results = await inBatches(
    prompts,
    batch,
    (prompt): Promise<GenerationResult> =>
      model.generate(prompt, { depth, lossless, maxTokens, ignoreEos: true }).result,
  )
  const differences: Difference[] = []
  for (const [i, { tokens }] of results.entries()) {
    const at = tokens.findIndex((id, j) => id !== full[i]![j])
    if (at < 0) continue
    const prefix = [...prompts[i]!, ...full[i]!.slice(0, at)]
    const { logits } = await model.predict(prefix, { depth: 'full' })
    differences.push({ prompt: i, at, margin: Math.abs(logits[0]![tokens[at]!]! - logits[0]![full[i]![at]!]!) })
  }
  const sum = (of: 'drafted' | 'accepted') => results.reduce((all, { lossless: counts }) => all + counts![of], 0)
  return { tokens: results.length * maxTokens, drafted: sum('drafted'), accepted: sum('accepted'), differences }
}

async function inBatches<In, Out>(all: readonly In[], size: number, run: (one: In) => Promise<Out>): Promise<Out[]> {
  const out: Out[] = []
  const queue = all.entries()
  const work = async (): Promise<void> => {
    for (const [i, one] of queue) out[i] = await run(one)
  }
  await Promise.all(Array.from({ length: size }, work))
  return out
}
