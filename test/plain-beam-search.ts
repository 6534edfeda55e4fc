/** What follows a text: natural log-probabilities [V]. */
export type LogProbabilities = (tokens: readonly number[]) => Promise<readonly number[]>

interface Row {
  readonly tokens: readonly number[]
  readonly sum: number
}

const NEVER = -1e9

/**
 * Beam search written down as transformers 5 describes it, step by step on lists, every text run from the start; an end
 * that is not among the first `beams`, or no end at all, scores -1e9.
 */
export async function plainBeamSearch(
  next: LogProbabilities,
  { beams, limit, ends, penalty }: { beams: number; limit: number; ends: readonly number[]; penalty: number },
): Promise<{ tokens: readonly number[]; score: number }[]> {
  let running: Row[] = [{ tokens: [], sum: 0 }]
  let ended = Array.from({ length: beams }, () => ({ tokens: [] as readonly number[], score: NEVER }))
  for (let length = 1; ; length++) {
    const all: Row[] = []
    for (const { tokens, sum } of running) {
      const logprobs = await next(tokens)
      logprobs.forEach((logprob, id) => all.push({ tokens: [...tokens, id], sum: sum + logprob }))
    }
    const kept = all.sort((a, b) => b.sum - a.sum).slice(0, Math.max(2, 1 + ends.length) * beams)
    const stops = ({ tokens }: Row) => ends.includes(tokens.at(-1)!) || length === limit
    const scored = kept.map((row, rank) => ({
      tokens: row.tokens,
      score: stops(row) && rank < beams ? row.sum / length ** penalty : NEVER,
    }))
    ended = [...ended, ...scored].sort((a, b) => b.score - a.score).slice(0, beams)
    running = kept.filter((row) => !stops(row)).slice(0, beams)
    const best = running[0]
    if (best === undefined || best.sum / length ** penalty <= ended.at(-1)!.score) {
      return ended.filter(({ score }) => score > NEVER)
    }
  }
}
