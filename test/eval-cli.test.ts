import { existsSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asyncBufferFromFile, parquetReadObjects } from 'hyparquet'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readTraces } from '../src/calibrate/traces.js'
import type { Model } from '../src/engine/api.js'
import { loadModel } from '../src/engine/load.js'
import { loadTask, questionsOf } from '../src/tasks/index.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

let folder: string
let model: Model
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-eval-'))
  model = await loadModel('ripple-8m', { thread: false, threads: 1 })
})
afterAll(async () => {
  await model.dispose()
  rmSync(folder, { recursive: true, force: true })
})

const at = (name: string): string => join(folder, name)

const TRACE = ['trace', '--task', 'fruit_v_animal_3', '--shots', '2', '--limit', '6', '--threads', '1']

describe('shoal trace --task', () => {
  it('writes a row per question and layer, as a full-depth trace of the prompt has them', async () => {
    const ended = await shoal([...TRACE, '--out', at('a.parquet'), '--json'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(matches('trace-task', ended.stdout)).toMatchObject({ questions: 6 })
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(at('a.parquet')) })
    expect(rows).toHaveLength(6 * 16)
    const task = await loadTask('fruit_v_animal_3')
    const { questions } = questionsOf(model, task, { shots: 2, seed: 0, score: 'token', limit: 6 })
    const { lensLogits } = await model.trace(questions[2]!.prompt.ids)
    const last = questions[2]!.prompt.ids.length - 1
    for (let layer = 0; layer < 16; layer++) {
      const logits = lensLogits[layer]!.subarray(last * 4096, (last + 1) * 4096)
      const row = rows[2 * 16 + layer]!
      expect(row).toMatchObject({ instance: 2, layer, position: last, task: 'fruit_v_animal_3' })
      expect(logits[Number(row.top1)]).toBeCloseTo(Math.max(...logits), 4)
    }
  })

  it('writes a file of questions that fits its schema and is read again', async () => {
    expect(await shoal([...TRACE, '--draws', '2', '--out', at('q.jsonl')])).toMatchObject({ code: 0, stderr: '' })
    const lines = readFileSync(at('q.jsonl'), 'utf8').trimEnd().split('\n')
    expect(lines).toHaveLength(1 + 2 * 6)
    for (const line of lines) matches('questions', line)
    const traces = await readTraces(at('q.jsonl'))
    expect(traces).toMatchObject({ layers: 16, unit: 'answer', sequences: 12, model: { name: 'ripple-8m' } })
    expect(traces.prompts).toMatchObject({ shots: 2, draws: 2, seed: 0, sampling: 'greedy', max_tokens: 1 })
    expect(traces.instances.every(({ agree }) => agree[15] === 1)).toBe(true)
    expect(new Set(traces.instances.map(({ question }) => question)).size).toBe(6)
    await expect(readTraces(at('a.parquet'))).rejects.toThrow(/is an export for other programs/)
    const other = await shoal(['trace', '--task', 'capitalize', '--threads', '1', '--out', at('q.jsonl')])
    expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/was begun by a run with tasks/) })
  })

  it('goes on where it was stopped, also where a line was cut off, and gives the same file', async () => {
    const partial = `${at('b.parquet')}.partial`
    const stop = new AbortController()
    let lines = 0
    const stopped = await shoal([...TRACE, '--out', at('b.parquet')], {
      signal: stop.signal,
      stderr: {
        isTTY: true,
        write() {
          if (++lines === 3) stop.abort()
          return true
        },
      },
    })
    expect(stopped.code).not.toBe(0)
    expect(existsSync(at('b.parquet'))).toBe(false)
    const text = readFileSync(partial, 'utf8')
    truncateSync(partial, Buffer.byteLength(text) - 20)
    expect(await shoal([...TRACE, '--out', at('b.parquet')])).toMatchObject({ code: 0 })
    expect(existsSync(partial)).toBe(false)
    const read = async (name: string) => parquetReadObjects({ file: await asyncBufferFromFile(at(name)) })
    expect(await read('b.parquet')).toEqual(await read('a.parquet'))
  })

  it('refuses the partial file of another run', async () => {
    writeFileSync(`${at('c.parquet')}.partial`, '{"format":"shoal-questions","version":1,"run":{"shots":9}}\n')
    const ended = await shoal([...TRACE, '--out', at('c.parquet')])
    expect(ended.code).toBe(1)
    expect(ended.stderr).toMatch(
      /^shoal: .*c\.parquet\.partial: was begun by a run with [^\n]*remove it to start over\n$/,
    )
  })

  it('refuses a partial file that another process is writing, and takes over that of one that is gone', async () => {
    writeFileSync(`${at('d.parquet')}.partial.lock`, String(process.ppid))
    const refused = await shoal([...TRACE, '--out', at('d.parquet')])
    expect(refused.code).toBe(1)
    expect(refused.stderr).toMatch(/^shoal: .*d\.parquet\.partial: process \d+ is writing it; [^\n]*\n$/)
    writeFileSync(`${at('d.parquet')}.partial.lock`, '999999999')
    expect(await shoal([...TRACE, '--out', at('d.parquet')])).toMatchObject({ code: 0 })
    expect(existsSync(`${at('d.parquet')}.partial.lock`)).toBe(false)
  })

  it('traces every token of a continuation', async () => {
    const ended = await shoal([...TRACE, '--positions', 'generated', '--max-tokens', '4', '--out', at('g.jsonl')])
    expect(ended).toMatchObject({ code: 0 })
    const traces = await readTraces(at('g.jsonl'))
    expect(traces).toMatchObject({ unit: 'generated', sequences: 6, prompts: { max_tokens: 4 } })
    expect(traces.instances.length).toBeGreaterThan(12)
  })
})

describe('shoal calibrate --task and shoal eval', () => {
  it('fit a policy that knows its model, and evaluate it beside full depth', async () => {
    const fitted = await shoal([
      'calibrate',
      '--task',
      'fruit_v_animal_3',
      '--shots',
      '3',
      '--limit',
      '30',
      '--threads',
      '1',
      '--policy',
      'adainfer-svm',
      '-o',
      at('svm.policy.json'),
      '--json',
    ])
    expect(fitted).toMatchObject({ code: 0 })
    expect(matches('calibrate', fitted.stdout)).toMatchObject({ calibration: { target: 'accuracy-loss' } })
    const policy = JSON.parse(readFileSync(at('svm.policy.json'), 'utf8')) as { model: { fingerprint: string } }
    expect(policy.model.fingerprint).toBe(model.fingerprint)
    // Thirty questions with three draws of shots each, over 20 splits; the paper's own setting stands beside.
    expect(policy).toMatchObject({
      prompts: { shots: 3, draws: 3, seed: 0, template: 'Q: {input}\nA: {output}\n\n' },
      calibration: { instances: 90, splits: { count: 20 } },
    })
    const { beside } = JSON.parse(fitted.stdout) as { beside: { name: string }[] }
    expect(beside.map(({ name }) => name)).toEqual(['full', 'gap:0.8', 'paper-svm', 'paper-crf'])
    expect(existsSync(at('svm.policy.answers.jsonl'))).toBe(false)

    const ended = await shoal([
      'eval',
      'answers',
      '--task',
      'fruit_v_animal_3',
      '--task',
      'capitalize',
      '--shots',
      '0,2',
      '--limit',
      '5',
      '--threads',
      '1',
      '--controls',
      '--depth',
      'full',
      '--depth',
      'gap:0.8',
      '--depth',
      `adainfer:${at('svm.policy.json')}`,
      '--json',
    ])
    expect(ended.code).toBe(0)
    expect(ended.stderr).not.toMatch(/made for another model/)
    const report = matches('eval', ended.stdout) as unknown as {
      cells: {
        task: string
        depth: string
        accuracy: { mean: number }
        agreement: { mean: number }
        depth_mean: { mean: number }
      }[]
    }
    const of = (depth: string) => report.cells.filter((cell) => cell.depth === depth)
    expect(of('full')).toHaveLength(4)
    for (const cell of of('full')) expect(cell).toMatchObject({ agreement: { mean: 1 }, depth_mean: { mean: 16 } })
    // The oracle leaves where nothing changes any more.
    for (const [i, cell] of of('oracle').entries()) {
      expect(cell).toMatchObject({ agreement: { mean: 1 }, accuracy: { mean: of('full')[i]!.accuracy.mean } })
      expect(cell.depth_mean.mean).toBeLessThanOrEqual(16)
    }
    // Random exits are the policy's own: as deep on average.
    for (const [i, cell] of of('random at gap:0.8').entries()) {
      expect(cell.depth_mean.mean).toBeCloseTo(of('gap:0.8')[i]!.depth_mean.mean, 6)
    }
  })

  it('warn where a policy was made for another model, and where it is used for generation without a bound', async () => {
    const policy = JSON.parse(readFileSync(at('svm.policy.json'), 'utf8')) as object
    writeFileSync(at('exits.policy.json'), JSON.stringify({ ...policy, threshold: 0, calibration: null }))
    const ended = await shoal([
      'run',
      'ripple-8m-flex',
      'Q: a, b\nA:',
      '--max-tokens',
      '2',
      '--threads',
      '1',
      '--depth',
      `adainfer:${at('exits.policy.json')}`,
    ])
    expect(ended.code).toBe(0)
    expect(ended.stderr).toMatch(/made for another model \(ripple-8m/)
    expect(ended.stderr).toMatch(/no bound calibrated on generated tokens/)
  })

  it('refuse to look at traces of the whole head with a policy that has a check head of its own', async () => {
    const applied = await shoal(['policy', 'apply', at('svm.policy.json'), '--traces', at('q.jsonl')])
    expect(applied).toMatchObject({ code: 1, stdout: '' })
    expect(applied.stderr).toMatch(
      /q\.jsonl: the traces lack what the policy looks at, a check head of its own \d+ tokens;/,
    )
  })

  it('give the same token and depth on traces and in the engine', async () => {
    const traced = await shoal([
      'trace',
      '--task',
      'capitalize',
      '--shots',
      '3',
      '--limit',
      '40',
      '--threads',
      '1',
      '--out',
      at('t.jsonl'),
    ])
    expect(traced.code).toBe(0)
    // Traces have the whole head's features, and which layers it pays to check is measured: the policy fixes both.
    const fit = ['calibrate', '--task', 'capitalize', '--shots', '3', '--limit', '24', '--policy', 'adainfer-svm']
    const settings = ['--set', 'check-tokens=0', '--set', 'layers=6,8,10,12', '--threads', '1', '--draws', '1']
    expect(await shoal([...fit, ...settings, '-o', at('whole.policy.json')])).toMatchObject({ code: 0 })
    const applied = await shoal(['policy', 'apply', at('whole.policy.json'), '--traces', at('t.jsonl'), '--json'])
    const { instances } = JSON.parse(applied.stdout) as { instances: { exit: number }[] }
    const traces = await readTraces(at('t.jsonl'))
    const task = await loadTask('capitalize')
    const { questions } = questionsOf(model, task, { shots: 3, seed: 0, score: 'token', limit: 40 })
    for (const [i, { prompt }] of questions.entries()) {
      const { top, depth } = await model.predict(prompt.ids, { depth: `adainfer:${at('whole.policy.json')}` })
      expect(depth).toBe(instances[i]!.exit + 1)
      expect(top).toBe(traces.instances[i]!.top1![instances[i]!.exit])
    }
  })
})
