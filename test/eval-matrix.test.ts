import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-matrix-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const HOW = ['--shots', '2', '--limit', '20', '--threads', '1']
const TASKS = ['--task', 'fruit_v_animal_3', '--task', 'choose_first_of_3']
const MATRIX = ['eval', 'matrix', ...TASKS, ...HOW]

interface Printed {
  readonly matrix: {
    readonly train: readonly { readonly name: string }[]
    readonly test: readonly { readonly name: string; readonly prompts: number; readonly accuracy: number }[]
    readonly accuracy: readonly (readonly number[])[]
    readonly accuracy_difference: readonly (readonly { readonly mean: number }[])[]
    readonly depth_mean: readonly (readonly number[])[]
    readonly notes: readonly string[]
  }
}

describe('shoal eval matrix', () => {
  it('trains on each task and tries each, and writes the report', async () => {
    const path = join(folder, 'matrix.html')
    const ended = await shoal([...MATRIX, '--json', '-o', path])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { matrix } = matches('eval', ended.stdout) as unknown as Printed
    expect(matrix.train.map(({ name }) => name)).toEqual([
      'fruit_v_animal_3',
      'choose_first_of_3',
      'all of rule understanding',
    ])
    expect(matrix.test.map(({ prompts }) => prompts)).toEqual([10, 10])
    for (const [r, row] of matrix.accuracy.entries()) {
      for (const [c, accuracy] of row.entries()) {
        const full = matrix.test[c]!.accuracy
        expect(accuracy - full).toBeCloseTo(matrix.accuracy_difference[r]![c]!.mean, 9)
        expect(matrix.depth_mean[r]![c]).toBeLessThanOrEqual(16)
      }
    }
    const html = readFileSync(path, 'utf8')
    expect(html).toContain('Generalisation: accuracy @ layers')
    expect(html).toContain('tested on choose_first_of_3')
    expect(existsSync(join(folder, 'matrix.md'))).toBe(true)
  })

  it('tries classifiers of two models on both, and says that they are relatives', async () => {
    const ended = await shoal([...MATRIX, 'ripple-8m', 'ripple-8m-flex', '--policy', 'adainfer-logistic'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    for (const from of ['ripple-8m', 'ripple-8m-flex']) {
      for (const to of ['ripple-8m', 'ripple-8m-flex']) {
        expect(ended.stdout).toContain(`trained on ${from}, tested on ${to}\n`)
      }
    }
    expect(ended.stdout).toMatch(/full depth +[\d.]+ @ 16 +[\d.]+ @ 16\n/)
    expect(ended.stdout).toContain('ripple-8m and ripple-8m-flex are relatives: ')
  })

  it('ends at once where it is stopped', async () => {
    const stop = new AbortController()
    let lines = 0
    const ended = await shoal(MATRIX, {
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write() {
          if (++lines === 4) stop.abort()
          return true
        },
      },
    })
    expect(ended).toMatchObject({ code: 130, stdout: '' })
  })

  it('goes on where it was stopped, and gives the same', async () => {
    const path = join(folder, 'stopped.html')
    const kept = join(folder, 'stopped.answers.jsonl')
    const stop = new AbortController()
    let stderr = ''
    const stopped = await shoal([...MATRIX, '-o', path], {
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write(text) {
          stderr += text
          if (text.includes('questions')) stop.abort()
          return true
        },
      },
    })
    expect(stopped).toMatchObject({ code: 130, stdout: '' })
    expect(stderr).toContain(`stopped; ${kept} keeps the traces, and the same command goes on\n`)
    expect(existsSync(path)).toBe(false)
    const refused = await shoal([...MATRIX, '-o', path, '--seed', '1'])
    expect(refused.stderr).toMatch(/stopped\.answers\.jsonl: was begun by a run with prompts seed 0, not 1; /)
    const resumed = await shoal([...MATRIX, '-o', path, '--json'])
    expect(resumed.stderr).toMatch(/^shoal: going on with the \d+ questions that .*stopped\.answers\.jsonl holds\n$/)
    expect(existsSync(kept)).toBe(false)
    const whole = await shoal([...MATRIX, '--json'])
    const matrixOf = ({ stdout }: { stdout: string }) => (JSON.parse(stdout) as Printed).matrix
    expect(matrixOf(resumed)).toEqual(matrixOf(whole))
  })

  it.each([
    [[...MATRIX, '--depth', 'gap:0.8'], /unknown option '--depth'/],
    [[...MATRIX, '--shots', '0,5'], /whole number from 0/],
    [[...MATRIX, '--set', 'threshold=1'], /chooses thresholds/],
    [['eval', 'matrix', '--task', 'capitalize'], /needs two tasks/],
    [['eval', 'matrix'], /--task NAME is missing; shoal eval tasks/],
    [[...MATRIX, 'a', 'b', 'c'], /takes two models at most/],
    [[...MATRIX, '--task', 'choose_first_of_3'], /two of the tasks are called choose_first_of_3/],
  ])('refuses %s', async (args, reason) => {
    const ended = await shoal(args)
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toMatch(reason)
    expect(ended.stderr).toMatch(/^shoal: [^\n]*\n$/)
  })

  it('says what is wrong before anything is traced', async () => {
    const settings = await shoal([...MATRIX, '--set', 'c2=1'])
    expect(settings).toMatchObject({ code: 2, stderr: 'shoal: c2 is not an option of adainfer-svm\n' })
    const few = await shoal([...MATRIX, '--limit', '2', '-o', join(folder, 'few.html')])
    expect(existsSync(join(folder, 'few.answers.jsonl'))).toBe(false)
    expect(few.code).toBe(2)
    expect(few.stderr).toMatch(
      /^shoal: task fruit_v_animal_3: 2 questions are too few: half of them train a classifier, which takes 10/,
    )
  })
})
