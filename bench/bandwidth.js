// How fast this machine reads memory: the bound of decoding, which reads every weight once per token.
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

/** Far more than any cache holds. */
const BYTES = 512 << 20
const ROUNDS = 6

if (!isMainThread) {
  const { bytes } = workerData
  // Filled, or every page would be the same zero page; the search runs in the C library's vector code.
  const memory = Buffer.alloc(bytes, 2)
  memory.indexOf(1)
  parentPort.on('message', () => {
    memory.indexOf(1)
    parentPort.postMessage('done')
  })
  parentPort.postMessage('ready')
}

/** Bytes per second that `threads` threads read together; the best of a few rounds. */
export async function readBandwidth(threads = availableParallelism()) {
  const bytes = Math.floor(BYTES / threads)
  const workers = Array.from({ length: threads }, () => new Worker(new URL(import.meta.url), { workerData: { bytes } }))
  const all = (action) =>
    Promise.all(
      workers.map((worker) => {
        const answer = new Promise((resolve, reject) => {
          worker.once('message', resolve)
          worker.once('error', reject)
        })
        action(worker)
        return answer
      }),
    )
  await all(() => undefined)
  let best = 0
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now()
    await all((worker) => worker.postMessage('read'))
    best = Math.max(best, (bytes * threads) / ((performance.now() - start) / 1000))
  }
  await Promise.all(workers.map((worker) => worker.terminate()))
  return best
}
