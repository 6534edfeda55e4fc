// A model's process is killed in the middle of its work, again and again: what ran must fail with one typed error, and the next call must be served.
//
//     npm run soak:lost -- [--rounds 50] [--model NAME]
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { loadModel } from '../dist/index.js'
import { median } from './worker.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    model: { type: 'string' },
    threads: { type: 'string', default: '1' },
  },
})
const SEQUENCES = 4
const rounds = Number(values.rounds)
const model = await loadModel(values.model, { process: true, threads: Number(values.threads) })
const asked = { maxTokens: 12, ignoreEos: true, temperature: 0 }
const expected = (await model.generate('The little', asked).result).text
let lost = 0
let wrong = 0
const againMs = []
for (let round = 0; round < rounds; round++) {
  const running = Array.from({ length: SEQUENCES }, () =>
    model.generate('The sea', { maxTokens: 1000, ignoreEos: true }),
  )
  // After another number of tokens each time; some of them still prefill.
  let tokens = 0
  for await (const _ of running[0]) if (++tokens > round % 7) break
  for (const pid of runners()) process.kill(pid, 'SIGKILL')
  const ended = await Promise.allSettled(running.slice(1).map(({ result }) => result))
  lost += ended.filter(({ reason }) => reason?.code === 'runner_lost').length
  const started = performance.now()
  const { text } = await model.generate('The little', asked).result
  againMs.push(performance.now() - started)
  if (text !== expected) wrong++
}
await model.dispose()
const left = runners().length
console.log(
  `killed ${rounds} times: ${lost} of ${rounds * (SEQUENCES - 1)} calls that ran ended with runner_lost, ${rounds - wrong} of ${rounds} next calls said the same, after ${median(againMs).toFixed(0)} ms (median); ${left} processes left`,
)
process.exitCode = lost === rounds * (SEQUENCES - 1) && wrong === 0 && left === 0 ? 0 : 1

/** Processes of this one that run a model. */
function runners() {
  const listed = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' })
  return listed
    .split('\n')
    .filter((line) => line.includes('remote/process.'))
    .map((line) => Number.parseInt(line, 10))
}
