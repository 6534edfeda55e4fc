// The default number of threads on a machine that is not idle: beside one busy program, under a processor quota, and alone,
// each against one and two threads set by hand. Tokens per second of decoding, rounds interleaved.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { realModel, SMOLLM2 } from '../test/real-model.mjs'
import { median, printTable, promptOf, startWorker } from './worker.js'

const CONTEXT = 1024
const TOKENS = { alone: 128, busy: 96, quota: 96 }
/** Two threads beside a busy program may take a second for a token. */
const TOKENS_BY_HAND = { alone: 128, busy: 12, quota: 96 }
const GOAL = 0.8

export async function busy({ rounds }) {
  const models = [{ name: 'ripple-8m', path: 'ripple-8m' }]
  const smollm2 = realModel(SMOLLM2)
  if (smollm2 !== null) models.push({ name: 'SmolLM2', path: smollm2 })
  const all = availableParallelism()
  const results = []
  for (const { name, path } of models) {
    for (const where of ['alone', 'busy', 'quota']) {
      const group = where === 'quota' ? createGroup(1) : null
      if (where === 'quota' && group === null) {
        console.log('no quota can be set here')
        continue
      }
      const settings = [
        { label: 'default', tokens: TOKENS[where] },
        { label: '1', threads: 1, tokens: TOKENS[where] },
        { label: String(all), threads: all, tokens: TOKENS_BY_HAND[where] },
      ]
      const other = where === 'busy' ? spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }) : null
      try {
        for (const setting of settings) {
          const { threads } = setting
          const start = { path, context: CONTEXT, ...(threads !== undefined && { threads }) }
          setting.worker = await startWorker('./shoal-worker.js', start, (pid) => group?.add(pid))
          setting.speeds = []
        }
        // A loss of nothing takes more rounds to see than one of a fifth.
        const last = where === 'alone' ? 3 * rounds : rounds
        for (let round = 0; round <= last; round++) {
          const order = settings.map((_, i) => settings[(i + round) % settings.length])
          for (const { worker, tokens, speeds } of order) {
            const { decodeMs, tokens: n } = await worker.ask({ run: { prompt: promptOf(16), tokens } })
            if (round > 0) speeds.push(((n - 1) * 1000) / decodeMs)
            // ggml's threads spin for some 0.3 s after a run, and would be the other program of who comes next.
            await new Promise((resolve) => setTimeout(resolve, 600))
          }
          if (process.stderr.isTTY) process.stderr.write(`\r\u001b[2K${name} ${where}: round ${round} of ${last}`)
        }
        for (const { worker } of settings) worker.end()
      } finally {
        other?.kill()
        await new Promise((resolve) => setTimeout(resolve, 500))
        group?.remove()
      }
      results.push(resultOf(name, where, settings))
    }
  }
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  console.log('\nthreads left to Shoal, beside those set by hand; tokens per second\n')
  printTable([
    ['model', 'machine', 'default', '1 thread', `${all} threads`, 'default over the better', 'goal'],
    ...results.map((r) => [
      r.model,
      r.where,
      ...r.speeds.map((speed) => speed.toFixed(1)),
      `${r.ratio.toFixed(2)}x`,
      r.where === 'alone' ? '1x' : `${GOAL}x`,
    ]),
  ])
  const document = { title: 'busy', rounds, results }
  console.log(`\n${JSON.stringify(document)}`)
  return document
}

function resultOf(model, where, settings) {
  const speeds = settings.map((s) => median(s.speeds))
  const best = settings[speeds[1] >= speeds[2] ? 1 : 2]
  const ratio = median(settings[0].speeds.map((speed, i) => speed / best.speeds[i]))
  const samples = Object.fromEntries(settings.map((s) => [s.label, s.speeds]))
  return { model, where, speeds, ratio, samples }
}

/** A control group that may use so many processors, or null where this process must not make one. */
function createGroup(processors) {
  const period = 100_000
  const name = `shoal-bench-${process.pid}`
  const candidates = [
    {
      root: '/sys/fs/cgroup',
      limit: (folder) => writeFileSync(join(folder, 'cpu.max'), `${processors * period} ${period}`),
    },
    {
      root: '/sys/fs/cgroup/cpu',
      limit: (folder) => {
        writeFileSync(join(folder, 'cpu.cfs_period_us'), String(period))
        writeFileSync(join(folder, 'cpu.cfs_quota_us'), String(processors * period))
      },
    },
  ]
  for (const { root, limit } of candidates) {
    if (!existsSync(join(root, 'cgroup.procs'))) continue
    const folder = join(root, name)
    try {
      mkdirSync(folder)
      limit(folder)
      return {
        add: (pid) => writeFileSync(join(folder, 'cgroup.procs'), String(pid)),
        remove: () => rmdirSync(folder),
      }
    } catch {
      if (existsSync(folder)) rmdirSync(folder)
    }
  }
  return null
}
