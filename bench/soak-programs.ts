/**
 * Random calls (generations of all depths, lossless, beams, chats, traces, aborts), many at once over 8 slots in a KV cache for three sequences,
 * beside what each gives alone, and how resident memory goes on. Ends with exit code 1 where a token is wrong, or where memory grows
 * by more than 5% in the second half.
 *
 *     npm run soak:programs -- [--count 20000] [--model ripple-8m] [--seed 1] [--threads 1]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { loadModel } from '../src/index.js'
import { runPrograms } from '../test/engine-programs.js'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '20000' },
    model: { type: 'string', default: 'ripple-8m' },
    seed: { type: 'string', default: '1' },
    threads: { type: 'string', default: '1' },
  },
})
const count = Number(values.count)
const threads = Number(values.threads)
const alone = await loadModel(values.model, { threads })
const slot = (await alone.status()).kv.bytes
const tested = await loadModel(values.model, { threads, slots: 8, kvMemory: 3 * slot, prefixCache: 4 })
const memory: number[] = []
let next = 0
const result = await runPrograms(tested, alone, {
  ...{ count, seed: Number(values.seed), tie: alone.quantization === 'f32' ? 1e-4 : 0.1 },
  onWave(done) {
    if (done < next) return
    next += count / 20
    memory.push(process.memoryUsage.rss())
    console.log(`${done} of ${count} calls, ${((memory.at(-1) ?? 0) / 2 ** 20).toFixed(0)} MiB`)
  },
})
await tested.dispose()
await alone.dispose()
const { programs, tokens, aborted, reused, ties, wrong } = result
console.log(`${programs} calls, ${tokens} tokens, ${aborted} aborted, ${reused} tokens of prompts reused`)
for (const tie of ties) console.log(`tie: ${tie}`)
for (const one of wrong) console.log(`WRONG: ${one}`)
const half = memory.slice(memory.length >> 1)
// Single readings hold what the collector has not taken yet.
const median = (of: readonly number[]): number => [...of].sort((a, b) => a - b)[of.length >> 1] ?? Number.NaN
const growth = median(half.slice(half.length >> 1)) / median(half.slice(0, half.length >> 1))
console.log(`memory of the last quarter over the one before: ${growth.toFixed(3)}`)
process.exitCode = wrong.length > 0 || !(growth < 1.05) ? 1 : 0
