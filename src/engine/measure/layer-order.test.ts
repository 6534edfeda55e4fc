import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'
import { DEFAULT_TEXT } from './layer-order.js'
import { readTextData } from './text-data.js'

const LAYERS = 6
const VOCABULARY = 64
const workspace = useWorkspace()
let model: Model
let data: string
let texts: number[][]
beforeAll(async () => {
  model = await workspace.loadRandom(11, { layers: LAYERS })
  texts = [24, 17, 30].map((length, t) =>
    Array.from({ length }, (_, i) => (i * i * (t + 3) + 11 * t + 5 * i) % VOCABULARY),
  )
  data = join(workspace.folder, 'calibration.jsonl')
  writeFileSync(data, texts.map((tokens) => `${JSON.stringify({ tokens })}\n`).join(''))
})

/** Loss of the texts where every token, the prompt's one too, runs a plan: one token after the other. */
async function lossUnder(plan: readonly number[]): Promise<number> {
  let loss = 0
  for (const ids of texts) {
    const { logits } = await model.predict(ids.slice(0, 1), {
      depth: `layers:${plan.join(',')},prompt=plan`,
      continuation: ids.slice(1, -1),
    })
    logits.forEach((row, i) => {
      const most = Math.max(...row)
      loss +=
        most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) - (row[ids[i + 1] as number] as number)
    })
  }
  return loss
}

async function planOf(spec: string): Promise<readonly number[]> {
  const policy = await model.policy(spec)
  if (policy.kind !== 'skip' || policy.everyToken === undefined) throw new Error('no plan')
  return policy.everyToken
}

describe('sleb', () => {
  it('takes out, one after the other, the layer that costs the least loss', async () => {
    let kept = [0, 1, 2, 3, 4, 5]
    while (kept.length > 2) {
      const losses: { plan: number[]; loss: number }[] = []
      for (const layer of kept.slice(1, -1)) {
        const plan = kept.filter((l) => l !== layer)
        losses.push({ plan, loss: await lossUnder(plan) })
      }
      kept = losses.reduce((best, next) => (next.loss < best.loss ? next : best)).plan
      expect(await planOf(`sleb:${kept.length},data=${data}`)).toEqual(kept)
    }
  })

  it('is measured once', async () => {
    const memory = join(workspace.folder, 'cache', 'machine.json')
    const before = readFileSync(memory, 'utf8')
    const seen: string[] = []
    const again = await workspace.load(model.path)
    await again.policy(`sleb:3,data=${data}`, { onMeasure: ({ what }) => seen.push(what) })
    expect(seen).toEqual([])
    // What says what cannot be is measured anew.
    writeFileSync(memory, before.replaceAll(/("layer order[^"]*": )\[[^\]]*\]/g, '$1[0, 0, 1, 2, 3, 4]'))
    const damaged = await workspace.load(model.path)
    expect(await damaged.policy(`sleb:3,data=${data}`, { onMeasure: ({ what }) => seen.push(what) })).toMatchObject({
      everyToken: await planOf(`sleb:3,data=${data}`),
    })
    expect(seen.length).toBeGreaterThan(0)
  })
})

describe('shortgpt', () => {
  it('takes out the layers of least block influence', async () => {
    const h = model.hyperparameters.hidden
    const similarity = new Float64Array(LAYERS)
    for (const ids of texts) {
      const { hidden } = await model.trace(ids)
      for (let l = 1; l < LAYERS; l++) {
        for (let p = 0; p < ids.length; p++) {
          const [a, b] = [hidden[l - 1]!, hidden[l]!].map((rows) => rows.subarray(p * h, (p + 1) * h))
          let [dot, aa, bb] = [0, 0, 0]
          a!.forEach((x, i) => {
            const y = b![i] as number
            dot += x * y
            aa += x * x
            bb += y * y
          })
          similarity[l]! += dot / Math.sqrt(aa * bb)
        }
      }
    }
    // The first layer of a random model turns the embedding around: nothing has more influence.
    const order = [1, 2, 3, 4, 5].sort((a, b) => similarity[b]! - similarity[a]!)
    for (let n = 1; n < LAYERS; n++) {
      const kept = await planOf(`shortgpt:${n},data=${data}`)
      expect(kept.filter((l) => l > 0)).toEqual(
        order.slice(order.length - kept.filter((l) => l > 0).length).sort((a, b) => a - b),
      )
    }
  })

  it('stops when it is asked to, and needs text that it can read', async () => {
    const other = await workspace.load(model.path)
    await expect(other.policy(`sleb:3,data=${data}x`)).rejects.toMatchObject({ code: 'file_missing' })
    await expect(other.policy('sleb:3')).rejects.toThrow(/no tokenizer/)
  })
})

it('has a text of its own to measure on', async () => {
  const { tokenizer } = await workspace.load('ripple-8m')
  const { texts: windows } = await readTextData(DEFAULT_TEXT, {
    tokenizer,
    vocabulary: 4096,
    window: 256,
    promptShare: 0,
  })
  expect(windows.length).toBeGreaterThan(6)
})
