import { describe, expect, it, vi } from 'vitest'
import { Backend } from '../../ggml/backend.js'
import { Graph } from '../../ggml/graph.js'
import { GraphCache } from './graph-cache.js'

function create(most: number, mostBytes: number) {
  const log: string[] = []
  const cache = new GraphCache<{ memory: number; dispose(): void }>({ most, mostBytes })
  const get = (key: string, memory = 1) =>
    cache.get(key, () => {
      log.push(`+${key}`)
      return { memory, dispose: () => log.push(`-${key}`) }
    })
  return { cache, get, log }
}

describe('the cache of graphs', () => {
  it('builds once, and lets the least recently used go first', () => {
    const { get, log } = create(2, 100)
    expect(get('a')).toBe(get('a'))
    get('b')
    get('a')
    get('c')
    get('a')
    get('b')
    expect(log).toEqual(['+a', '+b', '+c', '-b', '+b', '-c'])
  })

  it('gives back what was made where the rest cannot be', async () => {
    const backend = new Backend({ threads: 1 })
    const disposed: unknown[] = []
    const graphs = vi.spyOn(Graph.prototype, 'dispose').mockImplementation(function (this: Graph) {
      disposed.push(this)
    })
    const made: unknown[] = []
    const cache = new GraphCache<Graph>({ most: 2, mostBytes: 100 })
    const fail = (): Graph => {
      made.push(new Graph(backend, 4), new Graph(backend, 4))
      throw new Error('no such layer')
    }
    try {
      expect(() => cache.get('a', fail)).toThrow('no such layer')
      const kept = cache.get('a', () => new Graph(backend, 4))
      expect(disposed).toEqual(made.reverse())
      expect(cache.get('a', fail)).toBe(kept)
    } finally {
      graphs.mockRestore()
    }
    await backend.dispose()
  })

  it('bounds memory, but keeps one graph however large it is', () => {
    const { get, log } = create(10, 100)
    get('a', 40)
    get('b', 40)
    get('c', 40)
    expect(log).toEqual(['+a', '+b', '+c', '-a'])
    get('d', 500)
    get('d', 500)
    expect(log.slice(4)).toEqual(['+d', '-b', '-c'])
    get('e', 100)
    expect(log.slice(7)).toEqual(['+e', '-d'])
  })

  it('disposes all of them when it is cleared', () => {
    const { cache, get, log } = create(10, 100)
    get('a', 60)
    get('b', 30)
    cache.clear()
    get('c', 90)
    expect(log).toEqual(['+a', '+b', '-a', '-b', '+c'])
  })
})
