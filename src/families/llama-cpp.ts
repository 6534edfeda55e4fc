import type { Family } from './family.js'
import type { Hyperparameters } from './hyperparameters.js'

/** Architectures that llama.cpp runs without windows. */
const WITHOUT_WINDOWS = ['llama', 'mistral3', 'qwen2', 'qwen3', 'qwen2moe', 'qwen3moe', 'smollm3', 'starcoder2', 'phi3']
/** Architectures whose files must have a head of their own. */
const WITH_HEAD = ['phi2', 'gpt-oss', 'olmo2', 'olmoe', 'qwen2moe', 'stablelm', 'gptneox', 'nemotron', 'apertus']
/** What llama.cpp computes of YaRN, whatever a file says. */
const BETAS = { fast: 32, slow: 1 }

/**
 * What llama.cpp (v0.4.0) makes of a package otherwise than Shoal, in one line each: settings that its files have no key for, or
 * that its code does not read. `test/llama-cpp/families.js` measures them.
 */
export function unlikeLlamaCpp({ architecture, inLlamaCpp }: Family, h: Hyperparameters): string[] {
  if (!inLlamaCpp) return [`llama.cpp does not know the architecture ${architecture}; Shoal runs this file`]
  const refused = loadErrors(architecture, h).map((reason) => `llama.cpp does not load this file: ${reason}`)
  const other = differences(architecture, h).map((what) => `llama.cpp computes something else here: ${what}`)
  return [...refused, ...other]
}

function loadErrors(
  architecture: string,
  { layers, heads, kvHeads, facts, tiedEmbeddings }: Hyperparameters,
): string[] {
  const is = (name: string): boolean => architecture === name
  return [
    ...(is('command-r') && facts.qkNorm === true && layers < 64
      ? ['norms of queries and keys are for 64 layers or more']
      : []),
    ...(is('olmoe') && heads !== kvHeads ? ['it has fewer KV heads than heads'] : []),
    ...(is('seed_oss') && facts.outputBias === true ? ['it has a bias on attention outputs'] : []),
    ...(WITH_HEAD.includes(architecture) && tiedEmbeddings ? ['its head is its embedding'] : []),
  ]
}

function differences(architecture: string, h: Hyperparameters): string[] {
  const { layer, facts, ropes, layers, headDim } = h
  const local = layer.map(({ window }) => window !== null)
  const scaling = ropes?.full.scaling
  const is = (...names: string[]): boolean => names.includes(architecture)
  const found: string[] = []
  if (local.includes(true) && (WITHOUT_WINDOWS.includes(architecture) || (is('exaone4') && layers !== 64))) {
    found.push('no layer has a window')
  } else if (local.includes(true) && !hasPeriod(local)) found.push('other layers have a window')
  if (is('smollm3') && layer.some(({ rope }, l) => (rope === null) !== ((l + 1) % 4 === 0))) {
    found.push('every fourth layer has no rotary positions')
  }
  if (scaling?.type === 'yarn') {
    const { betaFast, betaSlow, truncate } = scaling
    if (!is('mistral3') && (betaFast !== BETAS.fast || betaSlow !== BETAS.slow))
      found.push('YaRN with betas of 32 and 1')
    if (!truncate) found.push('a YaRN ramp with rounded ends')
  }
  if (is('gemma2', 'gemma3') && facts.attentionScale !== undefined) {
    const large = layers === (is('gemma2') ? 46 : 62)
    const theirs = 1 / Math.sqrt(large ? h.hidden / h.heads : headDim)
    if (Math.abs(facts.attentionScale / theirs - 1) > 1e-6) found.push('scores are scaled by the size of a head')
  }
  if (is('olmoe') && facts.clampQkv !== undefined) found.push('queries, keys and values are not cut (clip_qkv)')
  if (is('qwen2moe') && facts.normalizeExperts === true) found.push('weights of experts are not divided by their sum')
  if (is('qwen3moe') && facts.normalizeExperts !== true) found.push('weights of experts are divided by their sum')
  return found
}

/** True where every so many layers the last one has no window, which a file can say. */
function hasPeriod(local: readonly boolean[]): boolean {
  return [...local.keys(), local.length + 1].some((period) =>
    local.every((is, l) => is === (period === 0 || l % period < period - 1)),
  )
}
