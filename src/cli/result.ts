import type { GenerationResult, LosslessResult, Model, Speedup } from '../engine/api.js'

/** A result in the words of `run --json`; docs/json/run.schema.json describes it. */
export function resultJson(model: Pick<Model, 'name' | 'quantization'>, result: GenerationResult): object {
  const { sampling, timing } = result
  return {
    model: model.name,
    quantization: model.quantization,
    depth: result.depth,
    prompt_tokens: result.promptTokens,
    tokens: result.tokens,
    text: result.text,
    depths: result.depths,
    logprobs: result.logprobs,
    finish_reason: result.finishReason,
    layers: result.layers,
    plan: result.plan,
    speedup: result.speedup,
    mean_depth: result.meanDepth,
    row_layers: result.rowLayers,
    layer_passes: result.layerPasses,
    rows_waiting: result.rowsWaiting,
    check_ms: result.checkMs,
    ...(result.lossless === undefined ? {} : { lossless: losslessJson(result.lossless) }),
    seed: result.seed,
    sampling: {
      temperature: sampling.temperature,
      top_k: sampling.topK,
      top_p: sampling.topP,
      min_p: sampling.minP,
      repetition_penalty: sampling.repetitionPenalty,
      no_repeat_ngram: sampling.noRepeatNgram,
    },
    timing: {
      prefill_ms: timing.prefillMs,
      decode_ms: timing.decodeMs,
      total_ms: timing.totalMs,
      prompt_tokens_per_second: timing.promptTokensPerSecond,
      tokens_per_second: timing.tokensPerSecond,
    },
  }
}

function losslessJson(lossless: LosslessResult): object {
  const { drafted, accepted, fromText, passes, tokensPerPass, speedup } = lossless
  return {
    drafted,
    accepted,
    acceptance: drafted === 0 ? null : accepted / drafted,
    from_text: { drafted: fromText.drafted, accepted: fromText.accepted },
    passes,
    tokens_per_pass: tokensPerPass,
    speedup,
  }
}

/** What the end line is made of. */
export interface Summary {
  readonly tokens: number
  readonly layers: number
  readonly meanDepth: number
  /** Mean layers computed per new token, catch-up included. */
  readonly computedDepth: number
  /** Share of the time, 0 to 1. */
  readonly checkShare: number
  readonly tokensPerSecond: number
  readonly lossless?: LosslessResult
  /** Where the layers were chosen for a speedup in time. */
  readonly speedup: Speedup | null
  readonly quantization: string
}

export function summarize(model: Pick<Model, 'quantization'>, result: GenerationResult): Summary {
  const tokens = result.tokens.length
  return {
    tokens,
    layers: result.layers,
    meanDepth: result.meanDepth,
    computedDepth: tokens === 0 ? 0 : result.rowLayers / tokens,
    checkShare: result.timing.totalMs > 0 ? result.checkMs / result.timing.totalMs : 0,
    tokensPerSecond: result.timing.tokensPerSecond,
    ...(result.lossless === undefined ? {} : { lossless: result.lossless }),
    speedup: result.speedup,
    quantization: model.quantization,
  }
}

/** `64 tokens · mean depth 12.3 of 16 · 14.9 computed with catch-up · checks 9% of the time · 310 tok/s · f32` */
export function endLine(summary: Summary): string {
  const { tokens, layers, meanDepth, computedDepth, checkShare, tokensPerSecond, lossless, speedup, quantization } =
    summary
  const parts = [tokens === 1 ? '1 token' : `${tokens} tokens`]
  if (tokens > 0) {
    parts.push(`mean depth ${meanDepth.toFixed(1)} of ${layers}`)
    if (computedDepth.toFixed(1) !== meanDepth.toFixed(1))
      parts.push(`${computedDepth.toFixed(1)} computed with catch-up`)
    if (checkShare > 0) parts.push(`checks ${Math.round(checkShare * 100)}% of the time`)
    if (lossless !== undefined) parts.push(...losslessParts(lossless))
    if (tokensPerSecond > 0) parts.push(`${speedText(tokensPerSecond)} tok/s`)
    if (speedup !== null) parts.push(...speedupText(speedup))
  }
  parts.push(quantization)
  return parts.join(' · ')
}

/** `lossless: 82% of 40 drafts stood · 2.9 tokens a pass · 1.31x full depth` */
function losslessParts({ drafted, accepted, tokensPerPass, speedup }: LosslessResult): string[] {
  if (drafted === 0) return ['lossless: no draft paid']
  return [
    `lossless: ${Math.round((accepted / drafted) * 100)}% of ${drafted} drafts stood`,
    `${tokensPerPass.toFixed(1)} tokens a pass`,
    ...(speedup === null ? [] : [`${speedup.toFixed(2)}x full depth`]),
  ]
}

/** Of a plan for another number of sequences than one it says for how many. */
function speedupText({ predicted, delivered, batch }: Speedup): string[] {
  const at = batch === 1 ? '' : ` at batch ${batch}`
  return [
    `predicted ${predicted.toFixed(2)}x${at}`,
    ...(delivered === null ? [] : [`delivered ${delivered.toFixed(2)}x`]),
  ]
}

export function speedText(perSecond: number): string {
  if (!Number.isFinite(perSecond)) return '–'
  return perSecond >= 100 ? String(Math.round(perSecond)) : perSecond.toFixed(1)
}
