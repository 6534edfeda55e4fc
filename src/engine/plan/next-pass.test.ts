import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { after, type ClimbDepth, type Climber, checksAt } from './climber.js'
import { nextPass, type PassLimits } from './next-pass.js'
import { type Pass, passText } from './pass.js'

const LAYERS = 8
const LIMITS: PassLimits = { layers: LAYERS, mostLayers: () => Number.POSITIVE_INFINITY, padding: (rows) => rows }

/** A climber whose state a test changes. */
type State = { -readonly [K in keyof Omit<Climber, 'sequence'>]: Climber[K] } & {
  readonly sequence: { readonly id: number; readonly cached: number[]; readonly unfinished: Map<number, number[]> }
}

function exits(checks: readonly number[], options: Partial<Extract<ClimbDepth, { kind: 'exit' }>> = {}): ClimbDepth {
  return { kind: 'exit', checks: new Set(checks), last: LAYERS - 1, needs: {}, mayStop: true, ...options }
}

function plan(...layers: number[]): ClimbDepth {
  return { kind: 'plan', layers }
}

/** @param cached positions that each layer has seen before; a number for all of them */
function climber(
  depth: ClimbDepth,
  { rows = 1, cached = 0, id = 0 }: { rows?: number; cached?: number | number[]; id?: number } = {},
): State {
  const seen = typeof cached === 'number' ? Array<number>(LAYERS).fill(cached) : cached
  const start = Math.max(...seen)
  return {
    sequence: { id, cached: [...seen], unfinished: new Map() },
    depth,
    bridges: new Map(),
    start,
    end: start + rows,
    top: depth.kind === 'plan' ? (depth.layers.at(-1) as number) : LAYERS - 1,
    wantedFrom: start + rows - 1,
    embedded: false,
    next: depth.kind === 'plan' ? (depth.layers[0] as number) : 0,
    stoppedAt: null,
  }
}

/** What running a pass does to the climbers. @param stops whether a climber stops at a check after a layer */
function run(pass: Pass, climbers: readonly State[], stops: (feed: number, layer: number) => boolean): void {
  const last = pass.layers.at(-1)
  for (const { feed, from, to } of [...pass.rows, ...pass.riders]) {
    const c = climbers[feed] as State
    if (pass.cached) {
      c.sequence.unfinished.delete(pass.layers[0] as number)
      continue
    }
    for (const layer of pass.layers) c.sequence.cached[layer] = to
    c.embedded = true
    if (!pass.narrowed || last === c.top) continue
    const left = c.sequence.unfinished.get(last as number) ?? []
    for (let p = from; p < c.end - 1; p++) left.push(p)
    c.sequence.unfinished.set(last as number, left)
  }
  for (const feed of pass.decides) {
    const c = climbers[feed] as State
    c.next = after(c, last as number)
    if (checksAt(c, last as number) && stops(feed, last as number)) c.next = null
    if (c.next === null) c.stoppedAt = last as number
  }
}

/** All passes of a step. */
function passesOf(
  climbers: readonly State[],
  limits = LIMITS,
  stops: (feed: number, layer: number) => boolean = () => false,
): Pass[] {
  const passes: Pass[] = []
  for (let pass = nextPass(climbers, limits); pass !== null; pass = nextPass(climbers, limits)) {
    passes.push(pass)
    run(pass, climbers, stops)
    if (passes.length > 1000) throw new Error('the step does not end')
  }
  return passes
}

function texts(
  climbers: readonly State[],
  limits = LIMITS,
  stops?: (feed: number, layer: number) => boolean,
): string[] {
  const names = {
    sequence: (feed: number) => (climbers[feed] as State).sequence.id,
    decides: (feed: number) => (climbers[feed]?.depth.kind === 'plan' ? 'ends' : 'asks'),
  }
  return passesOf(climbers, limits, stops).map((pass) => passText(pass, names))
}

describe('the passes of a step', () => {
  it('are one for a plan', () => {
    expect(texts([climber(plan(0, 1, 2, 5, 7))])).toEqual([
      'embedding, layers 0-2,5,7, row 0 of sequence 0: sequence 0 ends',
    ])
  })

  it('end at checks', () => {
    expect(texts([climber(exits([2, 5]), { cached: 4 })], LIMITS, (_, layer) => layer === 5)).toEqual([
      'embedding, layers 0-2, row 4 of sequence 0: sequence 0 asks',
      'layers 3-5, row 4 of sequence 0: sequence 0 asks',
    ])
  })

  it('take the rows that wait along, where the layer has not seen them', () => {
    const waiting = climber(exits([2]), { cached: [9, 9, 9, 5, 5, 5, 5, 5] })
    expect(texts([waiting])).toEqual([
      'embedding, layers 0-2, row 9 of sequence 0: sequence 0 asks',
      'layers 3-7, rows 5-9 of sequence 0 (other rows leave keys and values): sequence 0 asks',
    ])
  })

  it('serve all that run the same layers, and wait for who comes from below', () => {
    const three = [
      climber(plan(0, 1, 4, 7), { id: 1, cached: 3 }),
      climber(plan(0, 1, 2, 3, 4, 5, 6, 7), { id: 2, cached: 6 }),
      climber(exits([1]), { id: 3, cached: 2 }),
    ]
    const stops = (feed: number): boolean => feed === 2
    expect(texts(three, LIMITS, stops)).toEqual([
      'embedding, layers 0-1, row 3 of sequence 1, row 6 of sequence 2, row 2 of sequence 3: sequence 1 ends, sequence 2 ends, sequence 3 asks',
      'layers 2-3, row 6 of sequence 2: sequence 2 ends',
      'layer 4, row 3 of sequence 1, row 6 of sequence 2: sequence 1 ends, sequence 2 ends',
      'layers 5-6, row 6 of sequence 2: sequence 2 ends',
      'layer 7, row 3 of sequence 1, row 6 of sequence 2: sequence 1 ends, sequence 2 ends',
    ])
  })

  it('send the last row of a prompt ahead where a check follows, and the others after it where the token goes on', () => {
    const ahead = [
      'embedding, layers 0-2, rows 0-39 of sequence 0: sequence 0 asks',
      'layer 3, rows 0-39 of sequence 0 (other rows leave keys and values): sequence 0 asks',
    ]
    const told = (stop: boolean): string[] => texts([climber(exits([3]), { rows: 40 })], LIMITS, () => stop)
    expect(told(true)).toEqual(ahead)
    expect(told(false)).toEqual([
      ...ahead,
      'layer 3, rows 0-38 of sequence 0 (the rest of the layer)',
      'layers 4-7, rows 0-39 of sequence 0 (other rows leave keys and values): sequence 0 asks',
    ])
  })

  it('embed before a policy reads what goes into the first layer, and keep what it reads', () => {
    const reads = exits([0, 4], { needs: { hidden: true, sublayers: true } })
    const passes = passesOf([climber(reads)])
    expect(passes.map(({ layers, inputs, sublayers }) => ({ layers, inputs, sublayers }))).toEqual([
      { layers: [], inputs: [], sublayers: false },
      { layers: [0], inputs: [0], sublayers: true },
      { layers: [1, 2, 3], inputs: [], sublayers: false },
      { layers: [4], inputs: [0], sublayers: true },
      { layers: [5, 6, 7], inputs: [], sublayers: false },
    ])
  })

  it('are no longer than others may wait', () => {
    const most = { ...LIMITS, mostLayers: (rows: number) => (rows > 10 ? 3 : 8) }
    const lengths = (rows: number): number[] =>
      passesOf([climber(plan(0, 1, 2, 3, 4, 5, 6, 7), { rows })], most).map(({ layers }) => layers.length)
    expect(lengths(20)).toEqual([3, 3, 2])
    expect(lengths(2)).toEqual([8])
  })

  it('give places that cost nothing to rows that wait for sequences which have stopped', () => {
    const stopped = climber(exits([2]), { id: 1, cached: [6, 6, 6, 2, 2, 2, 2, 2] })
    const going = climber(exits([2]), { id: 2, cached: 9 })
    const fours = { ...LIMITS, padding: (rows: number) => Math.ceil(rows / 4) * 4 }
    expect(texts([stopped, going], fours, (feed) => feed === 0).at(-1)).toBe(
      'layers 3-7, row 9 of sequence 2 (in free places rows 2-4 of sequence 1): sequence 2 asks',
    )
  })

  it('keep those apart whose bridges differ', () => {
    const [a, b, c] = [1, 2, 3].map((id) => climber(plan(0, 3, 7), { id }))
    const same = {}
    a!.bridges = new Map([[0, same]])
    b!.bridges = new Map([[0, same]])
    c!.bridges = new Map([[0, {}]])
    const passes = passesOf([a!, b!, c!])
    expect(passes.map(({ rows }) => rows.map(({ feed }) => feed))).toEqual([[0, 1], [2], [0, 1, 2]])
    expect(passes.map(({ bridged }) => bridged)).toEqual([[0], [0], []])
  })

  it('are none where nothing could begin', () => {
    expect(nextPass([null, null], LIMITS)).toBeNull()
    expect(nextPass([], LIMITS)).toBeNull()
  })
})

describe('whatever sequences do', () => {
  const depth = fc.oneof(
    fc
      .tuple(fc.subarray([0, 1, 2, 3, 4, 5, 6]), fc.boolean(), fc.boolean())
      .map(([checks, hidden, mayStop]) => exits(checks, { needs: { hidden }, mayStop })),
    fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 1 }).map((layers) => plan(...layers)),
  )
  const feed = fc.record({ depth, rows: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40 })), stop: fc.nat(9) })

  it('every row runs each of its layers once, from below, and sees all positions before it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(feed, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: LAYERS }),
        fc.integer({ min: 1, max: 8 }),
        (sequences, most, pad) => {
          const limits = {
            layers: LAYERS,
            mostLayers: () => most,
            padding: (rows: number) => Math.ceil(rows / pad) * pad,
          }
          const states = sequences.map(() => ({
            cached: Array<number>(LAYERS).fill(0),
            unfinished: new Map<number, number[]>(),
          }))
          // A sequence goes on under one kind of policy: plans may only shrink.
          const steps = Math.max(...sequences.map((feeds) => feeds.length))
          for (let step = 0; step < steps; step++) {
            const going = sequences.flatMap((feeds, i) => {
              const one = feeds[step]
              if (one === undefined || feeds[0]?.depth.kind !== one.depth.kind) return []
              if (one.depth.kind === 'plan' && one.depth !== feeds[0]?.depth) return []
              return [{ ...one, state: states[i] as (typeof states)[number], id: i }]
            })
            const climbers = going.map(({ depth, rows, state, id }): State => {
              const made = climber(depth, { rows, cached: state.cached, id })
              return { ...made, sequence: { id, cached: state.cached, unfinished: state.unfinished } }
            })
            check(climbers, limits, (i, layer) => (going[i]?.stop ?? 0) <= layer)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  /** Runs a step and throws where a law is broken. */
  function check(climbers: State[], limits: PassLimits, stops: (feed: number, layer: number) => boolean): void {
    for (let pass = nextPass(climbers, limits); pass !== null; pass = nextPass(climbers, limits)) {
      const fed = new Set(pass.rows.map(({ feed }) => feed))
      for (const { feed, from, to } of [...pass.rows, ...pass.riders]) {
        const { sequence, depth, start } = climbers[feed] as State
        if (pass.cached) expect(to).toBeLessThanOrEqual(sequence.cached[pass.layers[0] as number] as number)
        else {
          for (const layer of pass.layers) expect(sequence.cached[layer]).toBe(from)
          const below = (pass.layers[0] ?? 0) - 1
          // What goes into a layer has come out of the one below.
          if (depth.kind === 'exit' && below >= 0) {
            expect(sequence.cached[below]).toBeGreaterThanOrEqual(to)
            expect((sequence.unfinished.get(below) ?? []).filter((p) => p >= from && p < to)).toEqual([])
          }
          if (depth.kind === 'plan') expect(from).toBe(start)
        }
      }
      expect(pass.decides.every((feed) => fed.has(feed))).toBe(true)
      expect(pass.riders.some(({ feed }) => fed.has(feed))).toBe(false)
      run(pass, climbers, stops)
    }
    for (const { sequence, depth, stoppedAt } of climbers) {
      expect(stoppedAt).not.toBeNull()
      if (depth.kind !== 'exit') continue
      // The staircase.
      sequence.cached.forEach((count, layer) => {
        if (layer > 0) expect(count).toBeLessThanOrEqual(sequence.cached[layer - 1] as number)
      })
    }
  }
})
