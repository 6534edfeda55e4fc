import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { straightCosts } from '../../test/straight-costs.js'
import { SpecError } from '../errors.js'
import { allLayers } from './plan.js'
import type { Policy } from './policy.js'
import { depthHelp, POLICIES, parseDepth } from './spec.js'

const parse = (spec: string, layers = 16) => parseDepth(spec, { layers })

function refusal(spec: string, layers = 16): string {
  try {
    parse(spec, layers)
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError)
    const { message } = error as SpecError
    expect(message).not.toContain('\n')
    return message
  }
  throw new Error(`${spec} was accepted`)
}

function plan(policy: Policy, layers = 16): readonly number[] {
  if (policy.kind !== 'skip') throw new Error('not a skip policy')
  return policy.plan(
    { position: 3, generated: 1, layers },
    policy.startSequence?.({ layers, promptTokens: 3, maxTokens: 8 }),
  )
}

function checks(spec: string, layers = 16): readonly number[] {
  const policy = parse(spec, layers)
  if (policy.kind !== 'exit') throw new Error('not an exit policy')
  return policy.checkLayers(layers)
}

describe('the grammar', () => {
  it.each([
    ['full', 'full'],
    [' full ', 'full'],
    ['layers: 0, 2 ,5', 'layers:0,2,5'],
    ['layers:00,2', 'layers:0,2'],
    ['layers:0,2,prompt=full', 'layers:0,2'],
    ['layers:0,2,prompt=plan', 'layers:0,2,prompt=plan'],
    ['exit:11', 'exit:11'],
    ['gap:.80', 'gap:0.8'],
    ['gap:8e-1,every=1,from=0', 'gap:0.8'],
    ['gap:-0', 'gap:0'],
    ['gap:0.8,every=2,from=4', 'gap:0.8,from=4,every=2'],
    ['gap:0.8,layers=3,5,7', 'gap:0.8,layers=3,5,7'],
    ['entropy:.30,every=1', 'entropy:0.3'],
    ['entropy:2,every=2,from=4', 'entropy:2,from=4,every=2'],
    ['patience:03', 'patience:3'],
    ['patience:3,from=2', 'patience:3,from=2'],
    ['calm:0.9,measure=gap,decay=4', 'calm:0.9'],
    ['calm:0.9,from=4,decay=0,measure=max', 'calm:0.9,measure=max,decay=0,from=4'],
    ['calm:0.9,layers=3,5,measure=state', 'calm:0.9,measure=state,layers=3,5'],
    ['bottom:8,prompt=full', 'bottom:8'],
    ['random:8,seed=1', 'random:8'],
    ['random:8,prompt=plan,seed=2', 'random:8,seed=2,prompt=plan'],
    ['skipdecode:2.0x,warmup=1', 'skipdecode:2x'],
    ['skipdecode:2x,max=14,min=2', 'skipdecode:2x'],
    ['skipdecode:2x,min=4,max=12', 'skipdecode:2x,max=12'],
    ['skipdecode:2x,max=16,warmup=0,min=2', 'skipdecode:2x,warmup=0,min=2,max=16'],
    ['unified:2.0x', 'unified:2x,by=layers'],
    ['unified:2x,by=layers', 'unified:2x,by=layers'],
    ['unified:2x,prompt=plan,rule=reference,by=layers', 'unified:2x,by=layers,rule=reference,prompt=plan'],
    ['unified:1.5X,rule=balanced', 'unified:1.5x,by=layers'],
  ])('reads %j as %s', (spec, canonical) => {
    expect(parse(spec).spec).toBe(canonical)
  })

  it.each([
    [
      '',
      'the kind of policy is missing; known: adainfer, bottom, calm, dynamic, entropy, exit, full, gap, layers, patience, plan, random, shortgpt, skipdecode, sleb, unified',
    ],
    [':3', 'the kind of policy is missing'],
    [
      'gpa:0.8',
      'unknown kind "gpa"; known: adainfer, bottom, calm, dynamic, entropy, exit, full, gap, layers, patience, plan, random, shortgpt, skipdecode, sleb, unified; did you mean gap?',
    ],
    ['gapp:0.8', 'unified; did you mean gap?'],
    ['patient:3', 'unified; did you mean patience?'],
    ['constructor', 'unknown kind "constructor"'],
    ['full:3', 'full takes no value'],
    ['full,prompt=plan', 'unknown key "prompt" for full; it has none'],
    ['full:', 'nothing follows ":"'],
    ['full,', 'nothing follows ","'],
    ['exit', 'the layer is missing, e.g. exit:11'],
    ['exit:', 'nothing follows ":"'],
    ['exit:16', 'layer 16 does not exist; the model has 16 layers, 0 to 15'],
    ['exit:-1', '"-1" is not a layer'],
    ['exit:1.5', '"1.5" is not a layer'],
    ['exit:3,5', 'exit takes one value, and "5" is no key=value'],
    ['exit:3,from=1', 'unknown key "from" for exit; known: lens'],
    ['layers:', 'nothing follows ":"'],
    ['layers', 'the list of layers is missing, e.g. layers:0,2,5'],
    ['layers:prompt=plan', 'the list of layers is missing'],
    ['layers:0,,5', 'a value is missing'],
    ['layers:0,5,2', 'layer 2 stands after 5; layers must ascend'],
    ['layers:0,5,5', 'layer 5 is listed twice'],
    ['layers:0,16', 'layer 16 does not exist'],
    ['layers:0,99999999999999999999', 'does not exist'],
    ['layers:0,x', '"x" is not a layer'],
    ['layers:0,a\nb', '"a\\nb" is not a layer'],
    ['layers:0,2,prompt=half', 'prompt= must be full or plan, not "half"'],
    ['layers:0,2,prompt=', '"prompt=" has no value'],
    ['layers:0,2,prompt=plan,5', 'prompt= takes one value, and "5" is no key=value'],
    ['layers:0,2,prompt=plan,prompt=plan', '"prompt" stands twice'],
    ['gap:abc', 'the threshold must be a number from 0 to 1, not "abc"'],
    ['gap:80', 'the threshold must be a number from 0 to 1, not "80"'],
    ['gap:-0.1', 'the threshold must be a number'],
    ['gap:0x1', 'the threshold must be a number'],
    ['gap:NaN', 'the threshold must be a number'],
    ['gap', 'the threshold is missing, e.g. gap:0.8'],
    ['gap:0.8,form=4', 'unknown key "form" for gap; known: from, every, layers, lens; did you mean from?'],
    ['gap:0.8,from=16', 'layer 16 does not exist'],
    ['gap:0.8,every=0', 'every= must be a whole number from 1, not "0"'],
    ['gap:0.8,every=1.5', 'every= must be a whole number from 1'],
    ['gap:0.8,layers=', '"layers=" has no value'],
    ['gap:0.8,layers=7,5', 'layer 5 stands after 7'],
    ['gap:0.8,layers=3,5,from=2', 'layers= stands instead of from= and every='],
    ['gap:0.8,from=0,layers=3', 'layers= stands instead of from= and every='],
    ['entropy', 'the threshold in nats is missing, e.g. entropy:0.3'],
    ['entropy:-1', 'the threshold in nats must be a number from 0 to 20, not "-1"'],
    ['entropy:0.3,measure=gap', 'unknown key "measure" for entropy; known: from, every, layers, lens'],
    ['patience', 'the number of checks is missing, e.g. patience:3'],
    ['patience:1.5', 'the number of checks must be a whole number from 0, not "1.5"'],
    ['patience:-1', 'the number of checks must be a whole number from 0'],
    ['calm:1.1', 'the threshold must be a number from 0 to 1, not "1.1"'],
    ['calm:0.9,measure=entropy', 'measure= must be gap or max or state, not "entropy"'],
    ['calm:0.9,decay=-1', 'decay= must be at least 0, not -1'],
    ['calm:0.9,temperature=4', 'unknown key "temperature" for calm; known: measure, decay, from, every, layers'],
    ['bottom:0', 'the number of layers must be a whole number from 1 to 16, not "0"'],
    ['bottom:17', 'the number of layers must be a whole number from 1 to 16'],
    ['bottom:8,seed=1', 'unknown key "seed" for bottom; known: prompt'],
    ['random:1', 'first and last included, must be a whole number from 2 to 16, not "1"'],
    ['random:8,seed=-1', 'seed= must be a whole number from 0, not "-1"'],
    ['random:8,from=1', 'unknown key "from" for random; known: seed, prompt'],
    ['plan', 'the policy file is missing, e.g. plan:policy.json'],
    ['skipdecode:2', 'the target speedup must be a number from 1 with an x, e.g. skipdecode:2x'],
    [
      'skipdecode:9x',
      'runs 1.78 of 16 layers on average, and 2 run at least (warm-up and the last layer); the largest',
    ],
    ['skipdecode:9x', 'the largest possible target is 8x'],
    ['skipdecode:4x,min=6', 'and 6 run at least (min=); the largest possible target is 2.66x'],
    ['skipdecode:2x,max=7', 'a target of 2x runs 8 of 16 layers on average, and max= allows only 7'],
    ['skipdecode:2x,warmup=16', 'warmup= must be a whole number from 0 to 15, not "16"'],
    ['skipdecode:2x,min=1', 'min= must be a whole number from 2 to 16, not "1"'],
    ['skipdecode:2x,max=17', 'max= must be a whole number from 2 to 16, not "17"'],
    ['skipdecode:2x,prompt=full', 'unknown key "prompt" for skipdecode; known: warmup, min, max'],
    ['unified:2', 'the target speedup must be a number from 1 with an x, e.g. unified:2x'],
    ['unified:0.5x', 'the target speedup must be a number from 1'],
    ['unified:x', 'the target speedup must be a number'],
    ['unified:1e999x', 'the target speedup must be a number'],
    ['unified:2x,by=time', 'by=time needs a model that is loaded; without one the target counts layers'],
    ['unified:2x,by=hand', 'by= must be layers or time, not "hand"'],
    ['unified:2x,rule=paper', 'rule= must be balanced or reference, not "paper"'],
    ['unified:2x,batch=0', 'batch= must be a whole number from 1 to 1024, not "0"'],
    ['unified:2x,by=layers,batch=8', 'batch= is for by=time'],
    ['unified:2x,speed=8', 'unknown key "speed" for unified; known: batch, by, rule, bridge, prompt'],
    ['unified:16x,rule=reference', 'int(16 / 16) = 1'],
  ])('refuses %j in one line', (spec, reason) => {
    expect(refusal(spec)).toContain(reason)
  })

  it('throws nothing but SpecError, whatever the text, and what it accepts is canonical', () => {
    const piece = fc.constantFrom(
      'full',
      'layers',
      'exit',
      'gap',
      'unified',
      'entropy',
      'patience',
      'calm',
      'bottom',
      'random',
      'skipdecode',
      ':',
      ',',
      '=',
      '0',
      '2',
      '5',
      '0.8',
      '2x',
      'from',
      'every',
      'layers',
      'prompt',
      'plan',
      'rule',
      'reference',
      'by',
      'measure',
      'state',
      'decay',
      'seed',
      'warmup',
      'min',
      'max',
      ' ',
      '-',
      '1e3',
    )
    const spec = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 12 }).map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(spec, fc.integer({ min: 1, max: 40 }), (text, layers) => {
        let policy: Policy
        try {
          policy = parse(text, layers)
        } catch (error) {
          expect(error).toBeInstanceOf(SpecError)
          expect((error as SpecError).message).not.toContain('\n')
          return
        }
        expect(parse(policy.spec, layers).spec).toBe(policy.spec)
      }),
      { numRuns: 500 },
    )
  })

  it('explains every policy in two lines of help', () => {
    const lines = depthHelp().split('\n')
    expect(lines).toHaveLength(2 * POLICIES.length)
    expect(lines[lines.findIndex((line) => line.startsWith('  gap')) + 1]).toContain('P(top1) - P(top2)')
  })

  it('refuses a model that it was not parsed for', () => {
    expect(() => plan(parse('full', 16), 12)).toThrow(
      'depth "full" was made for a model of 16 layers and this one has 12',
    )
    const policy = parse('gap:0.8', 16)
    if (policy.kind === 'exit') expect(() => policy.checkLayers(12)).toThrow(/16 layers/)
  })
})

describe('full and layers', () => {
  it('full runs every layer', () => {
    expect(plan(parse('full', 4), 4)).toEqual([0, 1, 2, 3])
  })

  it('layers runs these layers, the prompt every layer unless prompt=plan', () => {
    const policy = parse('layers:0,2,5')
    expect(plan(policy)).toEqual([0, 2, 5])
    expect(policy).toMatchObject({ prompt: 'full' })
    expect(parse('layers:0,2,5,prompt=plan')).toMatchObject({ prompt: 'plan' })
  })

  it('keeps any list of layers through its canonical SPEC', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(31), { minLength: 1 }), fc.constantFrom('', ',prompt=plan'), (list, prompt) => {
        const sorted = [...list].sort((a, b) => a - b)
        const policy = parse(`layers:${sorted.join(',')}${prompt}`, 32)
        expect(plan(policy, 32)).toEqual(sorted)
        expect(parse(policy.spec, 32)).toMatchObject({ spec: policy.spec, prompt: prompt === '' ? 'full' : 'plan' })
      }),
    )
  })
})

describe('exit', () => {
  it('stops after its layer without a check', () => {
    expect(checks('exit:11')).toEqual([])
    expect(parse('exit:11')).toMatchObject({ kind: 'exit' })
    const policy = parse('exit:11')
    if (policy.kind === 'exit') expect(policy.lastLayer?.(16)).toBe(11)
  })
})

describe('bottom', () => {
  it('runs the first layers, in the prompt too where prompt=plan', () => {
    expect(plan(parse('bottom:3'))).toEqual([0, 1, 2])
    expect(plan(parse('bottom:16'))).toHaveLength(16)
    expect(parse('bottom:3')).toMatchObject({ prompt: 'full' })
    expect(parse('bottom:3,prompt=plan')).toMatchObject({ prompt: 'plan' })
  })
})

describe('entropy', () => {
  it('exits on an entropy strictly below the threshold', () => {
    const policy = parse('entropy:0.3')
    if (policy.kind !== 'exit') throw new Error('not an exit policy')
    const at = (entropy: number) =>
      policy.exits({ entropy } as Parameters<typeof policy.exits>[0], undefined, undefined)
    expect(at(0.3)).toBe(false)
    expect(at(0.2999999)).toBe(true)
    expect(at(Number.NaN)).toBe(false)
    expect(policy.needs).toEqual({ logits: true })
    expect(checks('entropy:0.3,from=4,every=4')).toEqual([4, 8, 12])
  })
})

describe('gap', () => {
  it('checks every layer but the last, or those that the keys choose', () => {
    expect(checks('gap:0.8', 4)).toEqual([0, 1, 2])
    expect(checks('gap:0.8,from=4,every=3')).toEqual([4, 7, 10, 13])
    expect(checks('gap:0.8,every=5')).toEqual([0, 5, 10])
    expect(checks('gap:0.8,layers=3,7,15')).toEqual([3, 7])
  })

  it('exits on a gap strictly above the threshold', () => {
    const policy = parse('gap:0.8')
    if (policy.kind !== 'exit') throw new Error('not an exit policy')
    const at = (gap: number) => policy.exits({ gap } as Parameters<typeof policy.exits>[0], undefined, undefined)
    expect(at(0.8)).toBe(false)
    expect(at(0.8000001)).toBe(true)
    expect(at(Number.NaN)).toBe(false)
  })

  it('notes when nothing is checked', () => {
    expect(parse('gap:0.8').notes).toEqual([])
    for (const spec of ['gap:0.8,layers=15', 'gap:0.8,from=15']) {
      expect(checks(spec)).toEqual([])
      expect(parse(spec).notes).toEqual(['no layer below the last one is checked, so every token runs all layers'])
    }
    expect(checks('gap:0.8', 1)).toEqual([])
  })

  it('keeps threshold and checks through its canonical SPEC', () => {
    const keys = fc.oneof(
      fc.constant(''),
      fc.tuple(fc.nat(15), fc.integer({ min: 1, max: 20 })).map(([from, every]) => `,from=${from},every=${every}`),
      fc.uniqueArray(fc.nat(15), { minLength: 1 }).map((list) => `,layers=${list.sort((a, b) => a - b).join(',')}`),
    )
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), keys, (threshold, suffix) => {
        const spec = `gap:${threshold}${suffix}`
        const policy = parse(spec)
        expect(checks(policy.spec)).toEqual(checks(spec))
        expect(parse(policy.spec).spec).toBe(policy.spec)
        expect(Number(policy.spec.split(/[:,]/)[1])).toBe(threshold)
      }),
    )
  })
})

it('docs/depth.md: every SPEC in it is one, in its canonical form', () => {
  const text = readFileSync(new URL('../../docs/depth.md', import.meta.url), 'utf8')
  const specs = [
    ...text.matchAll(
      /(?:`|--depth )(full|(?:layers|unified|exit|gap|entropy|patience|calm|skipdecode|bottom|random|shortgpt|sleb):\d[^`\s]*)(?=[`\s])/g,
    ),
  ].map((m) => m[1]!)
  expect(specs.length).toBeGreaterThan(25)
  const costs = () => straightCosts(32, 1, 0)
  for (const spec of specs) expect(parseDepth(spec, { layers: 32, costs, order: () => allLayers(32) }).spec).toBe(spec)
})
