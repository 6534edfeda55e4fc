import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { LoadOptions, Model } from '../src/engine/api.js'
import { type Ended, shoal as run } from './cli-runner.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const LAYERS = 9
const workspace = useWorkspace()
let folder: string
beforeAll(async () => {
  ;({ folder } = await workspace.random(3, { layers: LAYERS }))
  const texts = Array.from({ length: 20 }, (_, t) =>
    Array.from({ length: 24 + t }, (_, i) => (i * i * (t + 3) + 7 * t + 5 * i) % 64),
  )
  writeFileSync(at('texts.jsonl'), texts.map((tokens) => `${JSON.stringify({ tokens })}\n`).join(''))
})

const at = (name: string): string => join(workspace.folder, name)
const load = (model: string | undefined, options: LoadOptions): Promise<Model> => workspace.load(model ?? '', options)

/** Random checkpoints have no tokenizer, and every command says so. */
async function shoal(...args: Parameters<typeof run>): Promise<Ended> {
  const ended = await run(...args)
  const said = 'shoal: warning: no tokenizer.json: the model works with token ids only\n'
  return { ...ended, stderr: ended.stderr.replace(said, '') }
}

interface Result {
  readonly evaluated: number
  readonly dynamic: {
    readonly held_out: { readonly loss: number }
    readonly plans: number[][]
    readonly out: string
  } | null
  readonly targets: readonly {
    readonly target: number
    readonly plan: number[]
    readonly balanced_plan: number[]
    readonly is_balanced: boolean
    readonly out: string
    readonly seen: { readonly texts: number; readonly found: number; readonly balanced: number }
    readonly held_out: { readonly texts: number; readonly found: number; readonly full: number }
  }[]
}

function search(args: readonly string[], overrides: Parameters<typeof shoal>[1] = {}): Promise<Ended> {
  const all = [
    'search',
    folder,
    '--texts',
    at('texts.jsonl'),
    '--by',
    'layers',
    '--samples',
    '6',
    '--held-out',
    '8',
    ...args,
  ]
  return shoal(all, { loadModel: load, ...overrides })
}

describe('shoal search', () => {
  it('writes plans that lose no more than the balanced ones where it looked, and says what they lose elsewhere', async () => {
    const ended = await search(['--speedup', '1.5,2,3', '--dynamic', '2', '-o', at('mine.policy.json'), '--json'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const { targets, dynamic } = matches('search', ended.stdout) as unknown as Result
    expect(targets.map(({ plan }) => plan.length)).toEqual([6, 4, 3])
    for (const { target, plan, balanced_plan: balanced, is_balanced: same, seen, held_out: heldOut, out } of targets) {
      expect(seen.found).toBeLessThanOrEqual(seen.balanced)
      expect(same).toBe(plan.join() === balanced.join())
      expect([seen.texts, heldOut.texts]).toEqual([6, 8])
      expect(out).toBe(at(`mine-${target}x.policy.json`))
      expect(matches('policy-plan', readFileSync(out, 'utf8'))).toMatchObject({ layers: plan, search: { target } })
      const scored = await shoal(['score', folder, '--tokens', '5,6,7,8,9', '--depth', `plan:${out}`, '--json'], {
        loadModel: load,
      })
      expect(scored).toMatchObject({ code: 0, stderr: '' })
      expect(JSON.parse(scored.stdout)).toMatchObject({ mean_depth: plan.length })
      const shown = await shoal(['policy', 'show', out])
      expect(shown.stdout).toMatch(/searched on texts\.jsonl: \d+ plans evaluated, prompts at full depth\n/)
    }
    expect(dynamic?.out).toBe(at('mine-dynamic-2x.policy.json'))
    const { out } = dynamic as { out: string }
    matches('policy-dynamic', readFileSync(out, 'utf8'))
    const depth = ['--tokens', '5,6,7,8,9', '--depth', `dynamic:${out}`]
    expect(await shoal(['score', folder, ...depth, '--json'], { loadModel: load })).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect((await shoal(['policy', 'show', out])).stdout).toMatch(/plans? for a model of 9 layers/)
    expect(existsSync(at('mine.policy.json.search.jsonl'))).toBe(false)
  })

  it('goes on where it was stopped, and finds the same', async () => {
    const args = ['--speedup', '1.5,2', '-o', at('often.policy.json'), '--json']
    const journal = at('often.policy.json.search.jsonl')
    let kept = 0
    let ended: Ended | null = null
    for (let runs = 0; ended === null; runs++) {
      expect(runs).toBeLessThan(40)
      const stop = new AbortController()
      let evaluations = 0
      const loadModel = async (name: string | undefined, options: LoadOptions): Promise<Model> => {
        const model = await load(name, options)
        const planLosses = model.planLosses.bind(model)
        model.planLosses = (...given) => {
          const losses = planLosses(...given)
          return {
            ...losses,
            of: (plan, range) => {
              if (++evaluations > 12) stop.abort()
              return losses.of(plan, range)
            },
          }
        }
        return model
      }
      const stopped = await search(args, { loadModel, signal: stop.signal })
      if (stopped.code === 0) {
        ended = stopped
        break
      }
      expect(stopped.code).toBe(130)
      expect(stopped.stderr).toContain(`${journal} keeps what was evaluated`)
      if (runs > 0) expect(stopped.stderr).toMatch(/going on with \d+ plans/)
      const lines = readFileSync(journal, 'utf8').split('\n').length
      expect(lines).toBeGreaterThan(kept)
      kept = lines - 1
      // As if the power had gone while a line was written.
      truncateSync(journal, readFileSync(journal).length - 3)
    }
    expect(kept).toBeGreaterThan(20)
    const plans = (text: string) => (JSON.parse(text) as Result).targets.map(({ plan, seen }) => ({ plan, seen }))
    const straight = await search(['--speedup', '1.5,2', '-o', at('straight.policy.json'), '--json'])
    expect(plans(ended.stdout)).toEqual(plans(straight.stdout))
    expect(existsSync(journal)).toBe(false)
  })

  it('shows a table and a verdict, under the plan in the prompt too', async () => {
    const ended = await search(['--speedup', '3', '--prompt', 'plan'])
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    expect(ended.stdout).toMatch(/3x: 3 of 9 layers\n +loss +perplexity +layers\nfull .*\nbalanced .*0,4,8\nfound /)
    expect(ended.stdout).toMatch(/plans evaluated on 6 texts in \d+ s; losses in nats per token on 8 texts/)
  })

  it('says in one line what is wrong', async () => {
    const failure = async (args: readonly string[], code: number, line: RegExp): Promise<void> => {
      const ended = await shoal(['search', ...args], { loadModel: load })
      expect(ended).toMatchObject({ code, stdout: '' })
      expect(ended.stderr).toMatch(/^shoal: [^\n]+\n$/)
      expect(ended.stderr).toMatch(line)
    }
    const data = ['--texts', at('texts.jsonl')]
    await failure([folder, '--speedup', '0.5', ...data], 2, /a number from 1/)
    await failure([folder, '--speedup', '2,2', ...data], 2, /stands twice/)
    await failure([folder, '--speedup', '2'], 2, /--texts/)
    await failure([folder, '--speedup', '2,3', '--dynamic', '4', ...data], 2, /must be one of several --speedup/)
    await failure([folder, '--speedup', '2', '--texts', at('none.jsonl')], 1, /none\.jsonl: no such file/)
    writeFileSync(at('one.jsonl'), '{"tokens":[1,2,3]}\n')
    await failure([folder, '--speedup', '2', '--texts', at('one.jsonl')], 1, /a single text/)
    writeFileSync(at('text.txt'), 'Once upon a time')
    await failure([folder, '--speedup', '2', '--texts', at('text.txt')], 1, /no tokenizer/)
    writeFileSync(at('x.policy.json.search.jsonl'), '{"format":"shoal-search","version":1,"run":{"model":"other"}}\n')
    const out = ['-o', at('x.policy.json'), '--by', 'layers']
    await failure([folder, '--speedup', '2', ...data, ...out], 1, /was begun by a run with model "other"/)
  })
})

describe('shoal policy import', () => {
  it('makes a plan of a published list', async () => {
    writeFileSync(at('skip_layers.json'), JSON.stringify({ a_b: { attention: [3, 5, 7], mlp: [3, 5] } }))
    const given = [at('skip_layers.json'), '-o', at('swift.policy.json')]
    const args = ['policy', 'import', ...given]
    const refused = await shoal([...args, '--layers', String(LAYERS)])
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/half of layers 7/)
    const ended = await shoal(['policy', 'import', folder, ...given, '--whole-layers', '--json'], { loadModel: load })
    expect(ended.stderr).toMatch(/layers 7 are left out by half/)
    expect(matches('policy-plan', ended.stdout)).toMatchObject({
      layers: [0, 1, 2, 4, 6, 7, 8],
      method: "SWIFT's skip_layers.json, a_b",
      model: { layers: LAYERS },
    })
    const shown = await shoal(['policy', 'show', at('swift.policy.json')])
    expect(shown.stdout).toContain('left out: 3, 5\n')
    expect((await shoal(['policy', 'import', folder, ...given, '--layers', '9'])).code).toBe(2)
  })
})
