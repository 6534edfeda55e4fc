import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ended, shoal } from './cli-runner.js'
import { expectFailure } from './expect-failure.js'
import { matches } from './schema.js'

const TRACES = fileURLToPath(new URL('fixtures/classifiers/traces.json', import.meta.url))
const reference = JSON.parse(readFileSync(new URL('fixtures/classifiers/reference.json', import.meta.url), 'utf8')) as {
  linear_svm: { decision_test: number[] }
  crf: { marginals_test: number[][] }
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-policy-cli-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = (name: string): string => join(folder, name)

const calibrate = (out: string, ...more: string[]): Promise<Ended> =>
  shoal(['calibrate', '--traces', TRACES, '-o', at(out), ...more])

interface Applied {
  instances: { decision: (number | null)[]; smoothed?: (number | null)[]; exit: number }[]
}

async function apply(name: string, ...more: string[]): Promise<Applied> {
  const ended = await shoal(['policy', 'apply', at(name), '--traces', TRACES, '--json', ...more])
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  return matches('policy-apply', ended.stdout) as unknown as Applied
}

describe('shoal calibrate and shoal policy', () => {
  it('fit a linear SVM and apply it: the decision values of the reference', async () => {
    const args = [
      '--train-first',
      '266',
      '--policy',
      'adainfer-svm',
      '--set',
      'kernel=linear',
      '--set',
      'C=1',
      '--json',
    ]
    const ended = await calibrate('svm.json', ...args)
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(matches('calibrate', ended.stdout)).toMatchObject({ threshold: 0, model: { fingerprint: null, layers: 16 } })
    matches('policy', readFileSync(at('svm.json'), 'utf8'))

    const { instances } = await apply('svm.json', '--from', '266')
    const values = instances.flatMap(({ decision }) => decision)
    expect(values).toHaveLength(reference.linear_svm.decision_test.length)
    for (const [i, wanted] of reference.linear_svm.decision_test.entries()) {
      expect(Math.abs(values[i]! - wanted)).toBeLessThan(1e-3)
    }
    for (const { decision, exit, smoothed } of instances) {
      expect(decision).toHaveLength(15)
      expect(smoothed).toBeUndefined()
      const fires = decision.findIndex((value) => value! > 0)
      expect(exit).toBe(fires < 0 ? 15 : fires)
    }
  })

  it('fit a CRF: smoothed values are the marginals of the reference', async () => {
    await calibrate('crf.json', '--train-first', '266', '--policy', 'adainfer-crf', '--set', 'c2=0.1')
    const { instances } = await apply('crf.json', '--from', '266')
    for (const [i, wanted] of reference.crf.marginals_test.entries()) {
      const { decision, smoothed } = instances[i]!
      for (const [l, value] of wanted.entries()) expect(Math.abs(smoothed![l]! - value)).toBeLessThan(1e-3)
      expect(decision[14]).toBeCloseTo(smoothed![14]!, 9)
    }
  })

  it('give null where a layer is not checked', async () => {
    await calibrate('some.json', '--policy', 'adainfer-crf', '--set', 'layers=3,7,11')
    const { instances } = await apply('some.json', '--from', '379')
    expect(instances).toHaveLength(1)
    const checked = instances[0]!.decision.flatMap((value, layer) => (value === null ? [] : [layer]))
    expect(checked).toEqual([3, 7, 11])
    expect([3, 7, 11, 15]).toContain(instances[0]!.exit)
  })

  it('choose a threshold for a target on values that no instance had a part in', async () => {
    const args = ['--policy', 'adainfer-logistic', '--set', 'per-layer=true', '--target', 'agreement=0.95', '--json']
    const apart = await calibrate('apart.json', ...args, '--train-first', '190')
    expect(matches('calibrate', apart.stdout)).toMatchObject({
      training: { instances: 190 },
      calibration: { instances: 190, reached: true },
    })
    const { stdout } = await calibrate('target.json', ...args)
    expect(matches('calibrate', stdout)).toMatchObject({
      training: { instances: 380 },
      calibration: { target: 'agreement', value: 0.95, instances: 380, reached: true, splits: { count: 20 } },
      bound: null,
      beside: [{ name: 'full', agreement: 1 }, { name: 'gap:0.8' }, { name: 'paper-svm' }, { name: 'paper-crf' }],
    })
    const paper = await calibrate('paper.json', '--policy', 'paper-svm', '--json')
    expect(matches('calibrate', paper.stdout)).toMatchObject({
      kind: 'adainfer-svm',
      features: ['gap', 'top_prob'],
      per_layer: false,
      threshold: 0,
      calibration: null,
    })
  })

  it('bound the disagreement, and say how many prompts that needs', async () => {
    const args = ['--policy', 'adainfer-logistic', '--set', 'per-layer=true']
    const good = await calibrate('bound.json', ...args, '--max-disagreement', '0.05')
    expect(good).toMatchObject({ code: 0, stderr: '' })
    expect(good.stdout).toMatch(/bound: share of answers that differ from full depth at most 5% with 95% confidence/)
    const few = await calibrate('few.json', ...args, '--train-first', '300', '--max-disagreement', '0.02')
    expect(few.code).toBe(0)
    expect(few.stderr).toMatch(/needs at least 149 prompts .* there are 80: this policy runs full depth/)
    const plan = await shoal(['plan', '--layers', '16', '--depth', `adainfer:${at('few.json')}`, '--json'])
    expect(JSON.parse(plan.stdout)).toMatchObject({ checks: [] })
    expect(plan.stderr).toContain('every token runs all layers')
  })

  it('explain a policy in words', async () => {
    const args = [
      '--train-first',
      '100',
      '--policy',
      'adainfer-svm',
      '--set',
      'kernel=rbf',
      '--target',
      'mean-layers=12',
    ]
    await calibrate('words.json', ...args)
    const { code, stdout } = await shoal(['policy', 'show', at('words.json')])
    expect(code).toBe(0)
    expect(stdout).toMatch(
      /^adainfer-svm: a support vector machine, one for all layers \(kernel rbf, C 1, gamma 0\.5\)/,
    )
    expect(stdout).toContain('threshold chosen for mean-layers=12 on 280 instances of')
    expect(stdout).toContain('no bound on the harm was calibrated')
    const json = await shoal(['policy', 'show', at('words.json'), '--json'])
    matches('policy', json.stdout)
    const table = await shoal(['policy', 'apply', at('words.json'), '--traces', TRACES])
    expect(table.stdout).toMatch(/^task +instances +mean depth +agreement/)
    expect(table.stdout).toMatch(/\nall +380 /)
  })

  it('explain a plan in words', async () => {
    const path = 'examples/policies/shortgpt.policy.json'
    const { stdout } = await shoal(['policy', 'show', path])
    expect(stdout).toBe(
      '12 of 16 layers run: 0, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\nleft out: 2, 3, 4, 5\nchosen by ShortGPT: block influence on 4,096 tokens of prose, for ripple-8m\n',
    )
    matches('policy-plan', (await shoal(['policy', 'show', path, '--json'])).stdout)
    expectFailure(await shoal(['policy', 'apply', path, '--traces', TRACES]), 1, /is a plan, which has no classifier/)
  })
})

describe('wrong usage', () => {
  it.each([
    [['calibrate', '--policy', 'adainfer-svm', '-o', 'x'], 2, /--traces/],
    [['calibrate', '--traces', TRACES, '-o', 'x'], 2, /--policy/],
    [['calibrate', '--traces', TRACES, '--policy', 'adainfer-svm'], 2, /--out/],
    [['calibrate', '--traces', TRACES, '--policy', 'tree', '-o', 'x'], 2, /adainfer-svm, adainfer-crf/],
    [['policy', 'apply', 'no-such.json', '--traces', TRACES], 1, /no-such\.json: no such file/],
    [['policy', 'show', TRACES], 1, /traces\.json: is not a policy file/],
    [['policy', 'show'], 2, /missing required argument/],
  ])('%j', async (args, code, line) => expectFailure(await shoal(args), code, line))

  it.each([
    [['--set', 'depth=3'], 2, /unknown setting; known: kernel, C, gamma, c2, label, per-layer, class-weight/],
    [['--set', 'C'], 2, /a value is missing/],
    [['--set', 'C=x'], 2, /--set C=x: it must be a number/],
    [['--set', 'C=1', '--set', 'C=2'], 2, /--set C stands twice/],
    [['--set', 'C=-1'], 2, /C must be greater than 0/],
    [['--set', 'c2=1'], 2, /c2 is not an option of adainfer-svm/],
    [['--set', 'label=truth'], 2, /it must be agreement or stable/],
    [['--set', 'label=correctness'], 2, /needs traces with the gold answer/],
    [['--set', 'layers=15'], 2, /from 0 to 14/],
    [['--set', 'class-weight=1'], 2, /none, balanced or two weights/],
    [['--target', 'speed=2'], 2, /accuracy-loss=0\.01, agreement=0\.98 or mean-layers=12/],
    [['--target', 'agreement=0.9', '--max-disagreement', '0.1'], 2, /either --target or --max-disagreement/],
    [['--target', 'agreement=0.9', '--set', 'threshold=1'], 2, /leave --set threshold= out/],
    [['--target', 'accuracy-loss=0.01'], 2, /needs traces with the gold answer/],
    [['--train-first', '381'], 2, /has 380 instances/],
    [['--measure', 'mean'], 2, /goes with --max-disagreement/],
  ])('calibrate %j', async (args, code, line) => {
    expectFailure(await calibrate('wrong.json', '--policy', 'adainfer-svm', ...args), code, line)
    expect(existsSync(at('wrong.json'))).toBe(false)
  })

  it('apply needs instances and traces of the same number of layers', async () => {
    await calibrate('right.json', '--policy', 'adainfer-svm')
    const args = ['policy', 'apply', at('right.json'), '--traces']
    expectFailure(await shoal([...args, TRACES, '--from', '380']), 2, /--from 380: .* has 380 instances/)
    writeFileSync(
      at('short.json'),
      JSON.stringify({ layers: 2, instances: [{ gap: [0, 1], top: [0, 1], agree: [1, 1] }] }),
    )
    expectFailure(
      await shoal([...args, at('short.json')]),
      1,
      /short\.json: the traces have 2 layers and the policy is for 16/,
    )
  })
})
