import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Runs a script of this folder in a process of its own, since it loads another copy of ggml; what it writes is the answer. */
export function ask(script, job) {
  const run = spawnSync(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
    input: JSON.stringify(job),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (run.status !== 0) throw new Error(`node-llama-cpp ended with ${run.status ?? run.signal}`)
  return JSON.parse(run.stdout)
}
