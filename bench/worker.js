import { fork, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * An engine in a process of its own, which stays loaded and is asked for runs.
 * @param file the engine's script beside this one
 * @param start what it loads: {path, threads, context}; no `threads` leaves them to the engine
 * @param before called with the process id before anything is loaded
 */
export async function startWorker(file, start, before = () => {}) {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  let next = 0
  const waiting = new Map()
  child.on('message', ({ id, result, error }) => {
    const { resolve, reject } = waiting.get(id)
    waiting.delete(id)
    if (error === undefined) resolve(result)
    else reject(new Error(`${file}: ${error}`))
  })
  child.on('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`${file} ended with ${code}`))
  })
  const worker = {
    ask: (message) =>
      new Promise((resolve, reject) => {
        const id = next++
        waiting.set(id, { resolve, reject })
        child.send({ id, ...message })
      }),
    end: () => child.disconnect(),
  }
  before(child.pid)
  await worker.ask({ start })
  return worker
}

/** node-llama-cpp has a folder and a lock file of its own, so that Shoal's own install stays small. */
export function installLlama() {
  const folder = fileURLToPath(new URL('../test/llama-cpp', import.meta.url))
  if (existsSync(`${folder}/node_modules/node-llama-cpp`)) return
  console.error('installing node-llama-cpp in test/llama-cpp')
  const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  })
  if (npm.status !== 0) throw new Error('node-llama-cpp could not be installed; --no-llama measures Shoal alone')
}

/** Any ids below 259: small vocabularies have them too. */
export function promptOf(length) {
  return Array.from({ length }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919) % 256)))
}

export function median(values) {
  return quantile(values, 0.5)
}

/** @param share 0 to 1 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const low = sorted[Math.floor(at)]
  return low + (sorted[Math.ceil(at)] - low) * (at - Math.floor(at))
}

export function printTable(rows) {
  const widths = rows[0].map((_, c) => Math.max(...rows.map((row) => row[c].length)))
  for (const row of rows)
    console.log(
      row
        .map((cell, c) => cell.padEnd(widths[c]))
        .join('  ')
        .trimEnd(),
    )
}
