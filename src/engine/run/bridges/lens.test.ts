import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { largestDifference, rowOf } from '../../../../test/compare.js'
import { type OpenedEngine, openEngine, resultOf } from '../../../../test/open-engine.js'
import { randomBridge } from '../../../../test/random-bridge.js'
import { useWorkspace } from '../../../../test/workspace.js'
import type { Bridge } from '../../../depth/bridge.js'
import { allLayers } from '../../../depth/plan.js'
import type { ExitPolicy } from '../../../depth/policy.js'
import type { Model } from '../../api.js'
import { type TokenDepth, toTheTop } from '../../plan/token-depth.js'

const LAYERS = 5
const HIDDEN = 32
const VOCABULARY = 64
const SHAPE = { layers: LAYERS, kvHeads: 2, hidden: HIDDEN, vocabulary: VOCABULARY }
const IDS = Array.from({ length: 24 }, (_, i) => (i * i + 3 * i + 5) % VOCABULARY)
const TOKENS = [2, 5, 9, 40, 63]

function lensFor(seed: number, size = 0.1): Bridge[] {
  return allLayers(LAYERS - 1).map((from) =>
    randomBridge({ from, to: LAYERS }, { hidden: HIDDEN, seed: seed + from, size }),
  )
}

const workspace = useWorkspace()
let opened: OpenedEngine
let model: Model
/** [layer][position]: head of the row as it is, and of the row mapped by hand with lens 3. */
let raw: Float32Array[]
let mapped: Float32Array[]

beforeAll(async () => {
  const { folder } = await workspace.random(7, SHAPE)
  opened = await openEngine(folder, { cacheDir: workspace.folder })
  model = await workspace.load(folder, { kvType: 'f32' })
  raw = await headsOf([])
  mapped = await headsOf(lensFor(3))
})
afterAll(() => opened.dispose())

/** Logits [S, V] after each layer, each row mapped in plain numbers before the head and put back after it. */
async function headsOf(lens: readonly Bridge[]): Promise<Float32Array[]> {
  const sequence = opened.engine.createSequence()
  const logits = allLayers(LAYERS).map(() => new Float32Array(IDS.length * VOCABULARY))
  const places = IDS.map((_, position) => ({ sequence, position }))
  await opened.engine.rise([{ sequence, ids: IDS }], { layers: allLayers(LAYERS) }, async (rows) => {
    const bridge = lens.find(({ from }) => from === rows.layer)
    const before = places.map(({ position }) => rows.hidden(sequence, position))
    for (const [p, row] of before.entries()) if (bridge) rows.write(sequence, p, applied(bridge, row))
    if (rows.layer >= 0)
      await rows.head(places, (p, values) => (logits[rows.layer] as Float32Array).set(values, p * VOCABULARY))
    for (const [p, row] of before.entries()) rows.write(sequence, p, row)
  })
  sequence.dispose()
  return logits
}

/** hidden + W hidden + b in plain numbers. */
function applied({ factors, bias }: Bridge, hidden: Float32Array): Float32Array {
  const values = new Float32Array((factors[0] as Bridge['factors'][number]).data.buffer)
  return hidden.map(
    (value, r) =>
      value + (bias[r] as number) + hidden.reduce((sum, x, c) => sum + x * (values[r * HIDDEN + c] as number), 0),
  )
}

function stopAt(stop: number, how: 'checked' | 'beforehand' | 'cut', lens: readonly Bridge[]): TokenDepth {
  const exit = { kind: 'exit', needs: {}, mayStop: true, lens } as const
  if (how === 'beforehand') return { ...exit, checkTokens: null, checks: new Set(), last: stop, exits: () => false }
  return {
    ...exit,
    checkTokens: how === 'cut' ? TOKENS : null,
    checks: new Set(allLayers(LAYERS - 1)),
    last: LAYERS - 1,
    exits: ({ layer }) => layer === stop,
  }
}

function policyOf(
  lens: readonly Bridge[],
  name: string,
  threshold = 0.03,
  checkTokens?: readonly number[],
): ExitPolicy {
  return {
    kind: 'exit',
    spec: `gap through ${name}`,
    lens,
    ...(checkTokens && { checkTokens }),
    checkLayers: (layers) => allLayers(layers - 1),
    exits: ({ gap }) => gap > threshold,
  }
}

describe('a lens', () => {
  it.each(['checked', 'beforehand', 'cut'] as const)(
    'is what a token says where it stops, and leaves no trace in what comes after (%s)',
    async (how) => {
      const lens = lensFor(3)
      const sequence = opened.engine.createSequence()
      for (const [position, id] of IDS.entries()) {
        const stop = (position * 3 + 1) % LAYERS
        const depth = stop === LAYERS - 1 ? toTheTop(LAYERS) : stopAt(stop, how, lens)
        const { logits } = resultOf((await opened.engine.step([{ sequence, ids: [id], depth }]))[0])
        expect(largestDifference(logits, rowOf(mapped[stop] as Float32Array, position, VOCABULARY))).toBeLessThan(1e-4)
        if (stop < LAYERS - 1)
          expect(largestDifference(logits, rowOf(raw[stop] as Float32Array, position, VOCABULARY))).toBeGreaterThan(
            1e-2,
          )
      }
      sequence.dispose()
    },
  )

  it.each([null, TOKENS])('is what checks read (tokens %j)', async (checkTokens) => {
    const seen: { layer: number; logits: Float32Array; hidden: Float32Array; top: number }[] = []
    const depth: TokenDepth = {
      ...stopAt(LAYERS - 1, 'checked', lensFor(3)),
      kind: 'exit',
      checkTokens,
      needs: { logits: true, hidden: true },
      exits: (check) => seen.push(check) < 0,
    } as TokenDepth
    const sequence = opened.engine.createSequence()
    await opened.engine.step([{ sequence, ids: IDS, depth }])
    sequence.dispose()
    expect(seen.map(({ layer }) => layer)).toEqual(allLayers(LAYERS - 1))
    for (const { layer, logits, top } of seen) {
      const all = rowOf(mapped[layer] as Float32Array, IDS.length - 1, VOCABULARY)
      const expected = checkTokens === null ? all : Float32Array.from(checkTokens, (id) => all[id] as number)
      expect(largestDifference(logits, expected)).toBeLessThan(1e-4)
      expect(top).toBe((checkTokens ?? [...all.keys()])[expected.indexOf(Math.max(...expected))])
    }
  })

  it('is what rows are shown through, where it is asked for', async () => {
    const lens = lensFor(3)
    const sequence = opened.engine.createSequence()
    const places = IDS.map((_, position) => ({ sequence, position }))
    await opened.engine.rise([{ sequence, ids: IDS }], { layers: allLayers(LAYERS) }, async (rows) => {
      const bridge = lens[rows.layer]
      if (bridge === undefined) return
      const logits = new Float32Array(IDS.length * VOCABULARY)
      await rows.head(places, (p, values) => logits.set(values, p * VOCABULARY), bridge)
      expect(largestDifference(logits, mapped[rows.layer] as Float32Array)).toBeLessThan(1e-4)
    })
    sequence.dispose()
  })

  it('gives a batch of different lenses what each gets alone', async () => {
    const lens = lensFor(3)
    const depths = [
      policyOf(lens, 'one'),
      policyOf(lens, 'one again', 0.05),
      policyOf(lensFor(20), 'another'),
      policyOf([], 'none'),
      policyOf(lens.slice(1, 3), 'some layers'),
      policyOf(lens, 'one with a cut-down head', 0.1, TOKENS),
      policyOf(lensFor(20), 'another with a cut-down head', 0.1, TOKENS),
      'exit:2',
      'unified:2x,by=layers',
      'full',
    ]
    const options = { maxTokens: 12, ignoreEos: true }
    const prompt = (i: number): number[] => IDS.slice(i, i + 5)
    const together = await Promise.all(
      depths.map((depth, i) => model.generate(prompt(i), { ...options, depth }).result),
    )
    for (const [i, depth] of depths.entries()) {
      const alone = await model.generate(prompt(i), { ...options, depth }).result
      expect(together[i]?.tokens, `depth ${i}`).toEqual(alone.tokens)
      if (i < 3) expect(alone.tokens.length).toBe(12)
    }
  })

  it('of zeros changes nothing', async () => {
    const options = { maxTokens: 16, ignoreEos: true }
    const zeros = await model.generate(IDS, { ...options, depth: policyOf(lensFor(3, 0), 'zeros') }).result
    const none = await model.generate(IDS, { ...options, depth: policyOf([], 'none') }).result
    expect(zeros.tokens).toEqual(none.tokens)
    expect(zeros.meanDepth).toBe(none.meanDepth)
    expect(none.meanDepth).toBeLessThan(LAYERS)
  })

  it('drafts without a trace in the result', async () => {
    const options = { maxTokens: 24, ignoreEos: true }
    const full = await model.generate(IDS, options).result
    const depth = policyOf(lensFor(3), 'drafts')
    const drafted = await model.generate(IDS, { ...options, depth, lossless: { drafts: 3 } }).result
    expect(drafted.tokens).toEqual(full.tokens)
  })

  it('that does not fit ends its own generation and no other', async () => {
    const [first] = lensFor(3) as [Bridge]
    const bad = [
      { lens: [{ ...first, bias: first.bias.slice(1) }], message: /lens of layer 0 is not one of 32 dimensions/ },
      { lens: [{ ...first, to: 3 }], message: /does not lead from the hidden state of layers 0 to 3 to the end, 5/ },
      { lens: [{ ...first, on: 'mlp' as const }], message: /does not lead from the hidden state/ },
      { lens: [first, first], message: /two maps after one layer/ },
    ]
    const good = model.generate([1, 2, 3], { depth: policyOf([first], 'good'), maxTokens: 4, ignoreEos: true })
    for (const { lens, message } of bad) {
      const { result } = model.generate([1, 2, 3], { depth: policyOf(lens, 'bad'), maxTokens: 4 })
      await expect(result).rejects.toMatchObject({ code: 'input_invalid', message: expect.stringMatching(message) })
    }
    expect((await good.result).tokens).toHaveLength(4)
  })
})
