import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Model } from '../src/engine/api.js'
import { loadModel } from '../src/engine/load.js'
import { openAnswersFile } from '../src/evaluate/answers-file.js'
import { type EvaluateOptions, evaluate } from '../src/evaluate/evaluate.js'
import type { EvalReport } from '../src/evaluate/result.js'
import { loadTask } from '../src/tasks/index.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

let folder: string
let model: Model
let options: EvaluateOptions
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-eval-resume-'))
  model = await loadModel('ripple-8m', { thread: false, threads: 1 })
  options = {
    tasks: [await loadTask('fruit_v_animal_3'), await loadTask('capitalize')],
    shots: [0, 2],
    depths: ['gap:0.8'],
    score: 'token',
    seed: 0,
    limit: 3,
    maxTokens: 4,
    controls: true,
  }
})
afterAll(async () => {
  await model.dispose()
  rmSync(folder, { recursive: true, force: true })
})

const at = (name: string): string => join(folder, name)
const SETTINGS = { kvType: null, threads: 1 }

/** Everything of a report that is not a time. */
function timeless({ cells, overall, curves }: EvalReport) {
  const without = (all: EvalReport['cells']) =>
    all.map((cell) => ({ ...cell, answerMs: null, timeRatio: null, checkShare: null }))
  return { cells: without(cells), overall: without(overall), curves }
}

describe('an evaluation that is stopped again and again', () => {
  it('ends with the figures of one that is not', async () => {
    const path = at('often.answers.jsonl')
    let runs = 0
    let report: EvalReport | null = null
    let kept = 0
    while (report === null) {
      const stop = new AbortController()
      const file = await openAnswersFile(path, model, options, SETTINGS)
      expect(file.kept).toBeGreaterThanOrEqual(kept)
      const finish = () => file.close()
      // Two turns further each time; then the last line is cut.
      report = await evaluate(model, {
        ...options,
        kept: file,
        signal: stop.signal,
        onProgress: (done, _, before) => {
          if (done - before >= 5) stop.abort()
        },
      })
        .catch((error: unknown) => {
          expect(stop.signal.aborted).toBe(true)
          expect(error).toBeInstanceOf(Error)
          return null
        })
        .finally(finish)
      kept = file.kept
      if (report === null) truncateSync(path, readFileSync(path).length - 5)
      expect(++runs).toBeLessThan(60)
    }
    expect(runs).toBeGreaterThan(5)
    expect(timeless(report)).toEqual(timeless(await evaluate(model, options)))
  })

  it('refuses the answers of another evaluation, and says what differs', async () => {
    const path = at('other.answers.jsonl')
    ;(await openAnswersFile(path, model, options, SETTINGS)).close()
    const other = (changed: Partial<EvaluateOptions>) =>
      openAnswersFile(path, model, { ...options, ...changed }, SETTINGS)
    await expect(other({ shots: [0] })).rejects.toThrow(/run with shots \[0,2\], not \[0\]; .*remove it to start over/)
    await expect(other({ depths: ['gap:0.9'] })).rejects.toThrow(
      /depths \["full","gap:0\.8"\], not \["full","gap:0\.9"\]/,
    )
    const [task, second] = options.tasks as [EvaluateOptions['tasks'][0], EvaluateOptions['tasks'][0]]
    await expect(other({ tasks: [{ ...task, items: task.items.slice(1) }, second] })).rejects.toThrow(
      /contents of tasks/,
    )
    const same = await other({})
    same.close()
  })

  it('refuses answers that are no answers', async () => {
    const path = at('damaged.answers.jsonl')
    const few = { ...options, tasks: options.tasks.slice(0, 1), shots: [0], limit: 1 }
    const file = await openAnswersFile(path, model, few, SETTINGS)
    await evaluate(model, { ...few, kept: file })
    file.close()
    const text = readFileSync(path, 'utf8')
    const reopen = async (changed: string) => {
      writeFileSync(path, changed)
      ;(await openAnswersFile(path, model, few, SETTINGS)).close()
    }
    await reopen(text)
    await expect(reopen(text.replace('"correct":', '"correct":7'))).rejects.toThrow(
      /line 2\.answers\[0\]\.correct must be/,
    )
    await expect(reopen(text.replace('"name":"full"', '"name":"half"'))).rejects.toThrow(/line 2 is damaged/)
    await expect(reopen(text.replace(/"record":\{.*\}\}/, '"record":null}'))).rejects.toThrow(/line 2 is damaged/)
  })
})

describe('shoal eval answers -o', () => {
  const EVAL = [
    'eval',
    'answers',
    '--task',
    'fruit_v_animal_3',
    '--limit',
    '12',
    '--threads',
    '1',
    '--depth',
    'gap:0.8',
  ]

  it('goes on after Ctrl-C with the same command, and leaves no answers behind', async () => {
    const args = [...EVAL, '-o', at('r.html'), '--json']
    const stop = new AbortController()
    const stopped = await shoal(args, {
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write: (text: string) => {
          if (text.includes('answers')) stop.abort()
          return true
        },
      },
    })
    expect(stopped.code).toBe(130)
    expect([existsSync(at('r.html')), existsSync(at('r.answers.jsonl'))]).toEqual([false, true])
    const other = await shoal([...args, '--seed', '1'])
    expect(other).toMatchObject({ code: 1, stdout: '' })
    expect(other.stderr).toMatch(/^shoal: .*r\.answers\.jsonl: was begun by a run with seed 0, not 1; [^\n]*\n$/)
    const ended = await shoal(args)
    expect(ended.code).toBe(0)
    expect(ended.stderr).toMatch(/going on with the answers that .*r\.answers\.jsonl holds/)
    expect([existsSync(at('r.html')), existsSync(at('r.answers.jsonl'))]).toEqual([true, false])
    expect(existsSync(at('r.answers.jsonl.lock'))).toBe(false)
    const { cells } = matches('eval', ended.stdout) as unknown as { cells: object[] }
    const whole = await shoal([...EVAL, '--json'])
    const accuracies = (all: object[]) => all.map((cell) => (cell as { accuracy: object }).accuracy)
    expect(accuracies(cells)).toEqual(accuracies((JSON.parse(whole.stdout) as { cells: object[] }).cells))
  })

  it('keeps nothing without -o', async () => {
    expect(await shoal([...EVAL, '--json'])).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('shoal eval', () => {
  it('shows exact match and F1 of SQuAD', async () => {
    const args = [
      'eval',
      'answers',
      '--data',
      'test/fixtures/tasks',
      '--task',
      'squad',
      '--score',
      'generate',
      '--limit',
      '2',
    ]
    const more = ['--max-tokens', '4', '--threads', '1', '-o', at('squad.html')]
    const ended = await shoal([...args, ...more])
    expect(ended).toMatchObject({ code: 0 })
    expect(ended.stdout).toMatch(/accuracy +F1 +to full/)
    expect(ended.stdout).toMatch(/accuracy of SQuAD is exact match/)
    expect(readFileSync(at('squad.md'), 'utf8')).toMatch(/\| accuracy \| F1 \| against full \|/)
    expect(readFileSync(at('squad.html'), 'utf8')).toMatch(/>F1<\/th>/)
    const { cells } = matches('eval', readFileSync(at('squad.json'), 'utf8')) as unknown as { cells: { f1: unknown }[] }
    for (const { f1 } of cells) expect(f1).toMatchObject({ low: expect.any(Number), high: expect.any(Number) })
  })

  it('says that a plan for generated tokens alone changes no answer that comes from the prompt', async () => {
    const args = ['eval', 'answers', '--task', 'fruit_v_animal_3', '--limit', '2', '--threads', '1', '--json']
    const ended = await shoal([...args, '--depth', 'layers:0,1', '--depth', 'layers:0,1,prompt=plan'])
    expect(ended).toMatchObject({ code: 0 })
    expect(ended.stderr).toMatch(/^shoal: layers:0,1: the prompt runs every layer, [^\n]*\n$/)
    const { cells, notes } = matches('eval', ended.stdout) as unknown as {
      cells: { depth: string; agreement: { mean: number }; depth_mean: { mean: number } }[]
      notes: string[]
    }
    expect(notes).toHaveLength(1)
    const of = (depth: string) => cells.find((cell) => cell.depth === depth)
    expect(of('layers:0,1')).toMatchObject({ agreement: { mean: 1 }, depth_mean: { mean: 16 } })
    expect(of('layers:0,1,prompt=plan')).toMatchObject({ depth_mean: { mean: 2 } })
  })
})
