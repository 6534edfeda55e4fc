import { making } from '../../ggml/making.js'

/** Something made for one shape, that holds native memory. */
interface Cached {
  readonly memory: number
  dispose(): void
}

/** Graphs by shape, the least recently used going first once they are too many or too large. */
export class GraphCache<G extends Cached> {
  private readonly graphs = new Map<string, G>()
  private readonly most: number
  private readonly mostBytes: number
  private bytes = 0

  constructor(options: { most: number; mostBytes: number }) {
    this.most = options.most
    this.mostBytes = options.mostBytes
  }

  get(key: string, build: () => G): G {
    let graph = this.graphs.get(key)
    if (graph !== undefined) {
      this.graphs.delete(key)
      this.graphs.set(key, graph)
      return graph
    }
    graph = making(build)
    this.bytes += graph.memory
    while (this.graphs.size > 0 && (this.graphs.size >= this.most || this.bytes > this.mostBytes)) this.evict()
    this.graphs.set(key, graph)
    return graph
  }

  clear(): void {
    for (const graph of this.graphs.values()) graph.dispose()
    this.graphs.clear()
    this.bytes = 0
  }

  private evict(): void {
    const [key, graph] = this.graphs.entries().next().value as [string, G]
    this.graphs.delete(key)
    this.bytes -= graph.memory
    graph.dispose()
  }
}
