import { describe, expect, it } from 'vitest'
import { medianRatio } from '../src/calibrate/quantile.js'
import { PUBLISHED_SPEEDS, publishedSpeedup } from '../src/evaluate/speed-table/published.js'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

const SHORT = ['bench', '--rounds', '1', '--max-tokens', '4', '--prompt-length', '8', '--threads', '1']

interface Cell {
  readonly target: number
  readonly method: string
  readonly batch: number
  readonly depth: string | null
  readonly plan: readonly number[] | null
  readonly reason: string | null
  readonly delivered: number | null
  readonly quality: { readonly perplexity: { readonly mean: number } } | null
}

describe('shoal bench without --depth', () => {
  it('measures targets x methods x batch sizes, with quality, in the layout of the paper', async () => {
    const ended = await shoal([
      ...SHORT,
      '--batch',
      '1,2',
      '--speedup',
      '1.3,500',
      '--limit',
      '1',
      '--windows',
      '2',
      '--json',
    ])
    expect(ended.code).toBe(0)
    const cells = matches('bench-table', ended.stdout).cells as Cell[]
    const named = (method: string, target: number, batch: number) =>
      cells.find((cell) => cell.method === method && cell.target === target && cell.batch === batch)!
    expect(cells).toHaveLength(2 * (1 + 2 * 3))
    for (const batch of [1, 2]) {
      expect(named('full', 1, batch)).toMatchObject({ depth: 'full', delivered: 1 })
      const unified = named('unified', 1.3, batch)
      // On a busy machine two layers may be measured to be too slow even for this.
      if (unified.plan === null) continue
      expect(named('early exit', 1.3, batch).depth).toBe(`exit:${unified.plan.length - 1}`)
      expect(unified.quality!.perplexity.mean).toBeGreaterThan(1)
      expect(named('SkipDecode', 1.3, batch)).toMatchObject({ depth: 'skipdecode:1.3x', reason: null })
    }
    for (const method of ['early exit', 'SkipDecode', 'unified']) {
      expect(named(method, 500, 1)).toMatchObject({ depth: null, delivered: null, quality: null })
      expect(named(method, 500, 1).reason).toMatch(/largest/)
    }
  })

  it('prints a row for each target and method, and the published ones beside them', async () => {
    const { code, stdout } = await shoal([...SHORT, '--batch', '1', '--speedup', '2', '--no-quality'])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^target +method +depth .*output tok\/s at 1 +delivered +all tok\/s at 1 +delivered \(all\)\n/,
    )
    expect(stdout).toMatch(/2x +SkipDecode +skipdecode:2x/)
    expect(stdout).toMatch(/2x +unified \(paper\) +BLEU 21\.23 +90 +1\.76x\n/)
  })
})

it('measures what runs the same layers once, however it is spelled, and ratios by rounds', async () => {
  const same = ['unified:2x,by=layers', 'layers:0,2,4,6,9,11,13,15', 'layers:0,2,4,6,9,11,13,15,prompt=plan']
  const depths = ['full', ...same].flatMap((depth) => ['--depth', depth])
  const { stdout } = await shoal([...SHORT, '--batch', '1', ...depths, '--json'])
  const { results } = JSON.parse(stdout) as { results: { decode_tokens_per_second: number; plan: number[] }[] }
  const [, unified, plan, everywhere] = results
  expect(unified!.plan).toEqual(plan!.plan)
  expect(unified!.decode_tokens_per_second).toBe(plan!.decode_tokens_per_second)
  expect(everywhere!.decode_tokens_per_second).not.toBe(plan!.decode_tokens_per_second)
  // The second round was slow for both: 2, 2 and 2, where medians of their own would say 1.
  expect(medianRatio([2, 4, 8], [1, 2, 4])).toBe(2)
  expect(medianRatio([2, 20, 4], [1, 10, 40])).toBe(2)
})

it('published speedups are those of the paper', () => {
  const speedups = PUBLISHED_SPEEDS.map((row) => [1, 2, 8].map((batch) => publishedSpeedup(row, batch)?.toFixed(2)))
  expect(speedups).toEqual([
    ['1.00', '1.00', '1.00'],
    ['1.43', undefined, undefined],
    ['1.31', '1.38', '1.28'],
    ['1.76', '1.73', '1.66'],
    ['3.27', undefined, undefined],
    ['3.02', '3.10', '2.85'],
    ['3.94', '3.61', '3.31'],
  ])
})
