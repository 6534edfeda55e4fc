import { expect, it, vi } from 'vitest'
import { ShoalError } from '../../errors.js'
import type { Engine } from '../run/engine.js'
import type { Pauses } from '../run/pauses.js'
import type { Feed, StepOutcome, StepResult } from '../run/step.js'
import { Batch, type Job } from './batch.js'

// Who steps in the pauses of long prompts. The engine is a list of what it was asked for: a prompt of n rows takes n / 10 computes.

function recordingEngine() {
  const log: string[] = []
  const nameOf = ({ ids, sequence }: Feed): string => `${sequence as unknown as string}:${ids.length}`
  const engine = {
    rowsOf: ({ ids }: Feed) => ids.length,
    takesLong: (rows: number) => rows >= 40,
    shrink: () => log.push('shrink'),
    async step(feeds: readonly Feed[], pauses: Pauses | null): Promise<StepOutcome[]> {
      const names = feeds.map(nameOf).join(' ')
      const rows = Math.max(...feeds.map(({ ids }) => ids.length))
      log.push(pauses === null ? names : `begin ${names}`)
      if (pauses !== null) {
        for (let i = 0; i < rows / 10; i++) {
          await new Promise((resolve) => setTimeout(resolve, 55))
          await pauses.give()
        }
        log.push(`end ${names}`)
      }
      return feeds.map(() => ({ result: {} as StepResult }))
    },
  }
  return { log, engine: engine as unknown as Engine }
}

interface Ended extends Job {
  readonly ended: Promise<unknown>
}

/** A prompt of so many rows and then so many single tokens, in as many sequences as its width says. */
function job(name: string, rows: number, tokens: number, onStep: () => void = () => {}, width = 1): Ended {
  let fed = 0
  let settle: (error: unknown) => void = () => {}
  return {
    width,
    ended: new Promise((resolve) => {
      settle = resolve
    }),
    feed: () =>
      fed > tokens
        ? null
        : Array.from({ length: fed === 0 ? 1 : width }, (_, i) => {
            if (i === 0) fed++
            return { sequence: name, ids: Array.from({ length: fed === 1 ? rows : 1 }) } as unknown as Feed
          }),
    accept: onStep,
    end: (error) => settle(error),
  }
}

it('lets others step between the computes of a long prompt, also those that come meanwhile', async () => {
  const { log, engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  const prompt = job('prompt', 60, 0)
  const early = job('early', 2, 8)
  const late = job('late', 3, 1)
  batch.add(early)
  batch.add(prompt)
  setTimeout(() => batch.add(late), 100)
  await Promise.all([prompt.ended, early.ended, late.ended])
  const during = log.slice(log.indexOf('begin prompt:60') + 1, log.indexOf('end prompt:60'))
  expect(log.indexOf('early:2')).toBeLessThan(log.indexOf('begin prompt:60'))
  expect(during).toContain('early:1 late:3')
  expect(during).toContain('early:1 late:1')
  expect(during.length).toBe(6)
})

it('takes prompts into one step only while they are few rows together', async () => {
  const { log, engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  const jobs = [job('a', 30, 1), job('b', 30, 1), job('c', 30, 1), job('d', 1, 4)]
  for (const one of jobs) batch.add(one)
  await Promise.all(jobs.map(({ ended }) => ended))
  expect(log.slice(0, 2)).toEqual(['a:30 d:1', 'begin b:30'])
  const rows = log.map((line) => [...line.matchAll(/:(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0))
  expect(Math.max(...rows)).toBeLessThan(40)
})

it('lets a prompt of at most a quarter of its rows go before it, and a longer one wait', async () => {
  const { log, engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  const [first, short, long] = [job('first', 200, 0), job('short', 50, 0), job('long', 60, 0)]
  batch.add(first)
  setTimeout(() => {
    batch.add(short)
    batch.add(long)
  }, 20)
  await Promise.all([first.ended, short.ended, long.ended])
  expect(log).toEqual([
    'begin first:200',
    'begin short:50',
    'end short:50',
    'end first:200',
    'begin long:60',
    'end long:60',
  ])
})

it('lets an action that waits for the engine go when its signal says so', async () => {
  const { engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  let release: () => void = () => {}
  const first = batch.alone(() => new Promise<void>((resolve) => (release = resolve)))
  const controller = new AbortController()
  let ran = false
  const second = batch.alone(async () => {
    ran = true
  }, controller.signal)
  const third = batch.alone(async () => 3)
  await new Promise((resolve) => setTimeout(resolve, 10))
  controller.abort()
  await expect(second).rejects.toMatchObject({ code: 'aborted' })
  release()
  await first
  expect(await third).toBe(3)
  expect(ran).toBe(false)
})

it('gives back memory once nothing has been asked for a while', async () => {
  const { log, engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4, idleMs: 20 })
  const first = job('first', 1, 2)
  batch.add(first)
  await first.ended
  await vi.waitFor(() => expect(log).toEqual(['first:1', 'first:1', 'first:1', 'shrink']))
  const second = job('second', 1, 0)
  batch.add(second)
  await second.ended
  await batch.close(new ShoalError('disposed', 'the model was disposed'))
  await new Promise((resolve) => setTimeout(resolve, 40))
  expect(log.slice(4)).toEqual(['second:1'])
})

it('gives a job as many slots as it has sequences, and all of them to one that needs more', async () => {
  const { log, engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  const jobs = [
    job('one', 1, 1),
    job('three', 1, 2, undefined, 3),
    job('two', 1, 1, undefined, 2),
    job('five', 1, 1, undefined, 5),
  ]
  for (const one of jobs) batch.add(one)
  await Promise.all(jobs.map(({ ended }) => ended))
  expect(log).toEqual([
    'one:1 three:1',
    'one:1 three:1 three:1 three:1',
    'three:1 three:1 three:1',
    'two:1',
    'two:1 two:1',
    'five:1',
    'five:1 five:1 five:1 five:1 five:1',
  ])
})

it('ends whoever waits when the model is disposed of in a pause', async () => {
  const { engine } = recordingEngine()
  const batch = new Batch(engine, { slots: 4 })
  const error = new ShoalError('disposed', 'the model was disposed')
  let closing: Promise<void> | undefined
  const other = job('other', 1, 100, () => {
    closing ??= batch.close(error)
  })
  const prompt = job('prompt', 40, 3)
  batch.add(prompt)
  setTimeout(() => batch.add(other), 20)
  expect(await other.ended).toBe(error)
  expect(await prompt.ended).toBe(error)
  await closing
})
