import { describe, expect, it } from 'vitest'
import { useWorkspace } from '../../../test/workspace.js'
import type { Model } from '../api.js'
import { KvRoom } from './kv-room.js'

const workspace = useWorkspace()
const SHAPE = { tokenizer: true, layers: 3, kvHeads: 2 } as const
/** A slot of up to 256 positions. */
const SLOT = 256

/** A model whose cache has room for so many slots. */
async function withRoom(slots: number): Promise<Model> {
  const { kv } = await (await workspace.loadRandom(62, SHAPE)).status()
  return workspace.loadRandom(62, SHAPE, { kvMemory: slots * kv.bytes, context: 4 * SLOT, slots: 8 })
}

describe('the account of the cache', () => {
  it('takes from those who have been idle for longest, and only as much as is needed', () => {
    const room = new KvRoom(1000, 1)
    const gone: string[] = []
    const idle = (name: string, cells: number) => ({ cells, forget: () => void gone.push(name) })
    const young = idle('young', 200)
    room.keep(idle('old', 300))
    room.keep(idle('middle', 300))
    room.keep(young)
    expect(room.take(200)).toBe(true)
    expect(gone).toEqual([])
    expect(room.take(400)).toBe(true)
    expect(gone).toEqual(['old', 'middle'])
    expect([room.reserved, room.idle]).toEqual([600, 200])
    expect(room.take(500)).toBe(false)
    expect(gone).toEqual(['old', 'middle'])
    room.wake(young)
    expect(room.take(400)).toBe(true)
    room.give(1000)
    expect([room.reserved, room.idle]).toEqual([0, 0])
  })
})

describe('generations and the memory of the cache', () => {
  it('wait until there is room for all that they may need, and say the same', async () => {
    const narrow = await withRoom(3)
    const wide = await workspace.loadRandom(62, SHAPE, { context: 4 * SLOT })
    const options = { maxTokens: 300, ignoreEos: true } as const
    const all = [3, 4, 5, 6].map((id) => narrow.generate([id], options))
    const short = narrow.generate([7], { maxTokens: 5, ignoreEos: true })
    await all[0]?.[Symbol.asyncIterator]().next()
    const { running, waiting, kv } = await narrow.status()
    expect({ running, waiting }).toEqual({ running: 1, waiting: 4 })
    expect(kv.reservedBytes).toBe((2 * kv.mostBytes) / 3)
    for (const [i, { result }] of all.entries()) {
      expect((await result).tokens).toEqual((await wide.generate([3 + i], options).result).tokens)
    }
    expect((await short.result).tokens).toHaveLength(5)
    expect((await narrow.status()).kv).toMatchObject({ reservedBytes: 0, idleBytes: 0 })
    expect((await narrow.status()).kv.bytes).toBeLessThanOrEqual(kv.mostBytes)
  })

  it('are refused where all of it is too little, beams too', async () => {
    const narrow = await withRoom(2)
    const error = { code: 'kv_memory', message: expect.stringMatching(/kvMemory/) as string }
    await expect(narrow.generate([1], { maxTokens: 600 }).result).rejects.toMatchObject(error)
    await expect(narrow.beamSearch([1], { beams: 3, maxTokens: 4 })).rejects.toMatchObject(error)
    expect((await narrow.beamSearch([1], { beams: 2, maxTokens: 4 })).tokens.length).toBeGreaterThan(0)
    await expect(workspace.loadRandom(62, SHAPE, { kvMemory: 10 })).rejects.toThrow(/kvMemory must be/)
  })

  it('take what idle chats hold; those feed their text anew', async () => {
    const narrow = await withRoom(2)
    const chats = [narrow.chat({ maxTokens: 4 }), narrow.chat({ maxTokens: 4 }), narrow.chat({ maxTokens: 4 })]
    const fresh = async (text: string, i: number): Promise<readonly number[]> =>
      (await narrow.generate([...chats[i]!.messages, { role: 'user', content: text }], { maxTokens: 4 }).result).tokens
    for (const text of ['big', 'hot', 'the sea']) {
      for (const [i, chat] of chats.entries()) {
        const expected = await fresh(text, i)
        expect((await chat.send(text).result).tokens).toEqual(expected)
        const { mostBytes, idleBytes, reservedBytes } = (await narrow.status()).kv
        expect(idleBytes).toBeLessThanOrEqual(mostBytes)
        expect(reservedBytes).toBe(0)
      }
    }
    for (const chat of chats) chat.dispose()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect((await narrow.status()).kv.idleBytes).toBe(0)
  })
})
