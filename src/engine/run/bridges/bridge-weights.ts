import type { Bridge } from '../../../depth/bridge.js'
import type { Backend } from '../../../ggml/backend.js'
import type { Graph, Tensor } from '../../../ggml/graph.js'
import { making } from '../../../ggml/making.js'
import { StoredTensor } from '../../../ggml/store.js'

/** A bridge whose weights lie where graphs can use them. */
export class LoadedBridge {
  private readonly factors: readonly StoredTensor[]
  private readonly bias: StoredTensor

  constructor(
    backend: Backend,
    readonly bridge: Bridge,
    /** Tells it from others in the keys of graphs. */
    readonly id: number,
  ) {
    this.factors = bridge.factors.map(({ type, columns, rows, data }) => {
      const stored = new StoredTensor(backend, type, columns, rows)
      stored.view.set(data)
      return stored
    })
    this.bias = new StoredTensor(backend, 'f32', bridge.bias.length)
    this.bias.view.set(new Uint8Array(bridge.bias.buffer, bridge.bias.byteOffset, bridge.bias.byteLength))
  }

  get bytes(): number {
    return [...this.factors, this.bias].reduce((sum, { tensor }) => sum + tensor.bytes, 0)
  }

  /** hidden + scale (W x + b). @param x [H, rows] @param hidden [H, rows] */
  apply(g: Graph, hidden: Tensor, x: Tensor, scale = 1): Tensor {
    const product = this.factors.reduce((row, { tensor }) => g.mulMat(tensor, row), g.contiguous(x))
    const mapped = g.add(product, this.bias.tensor)
    return g.add(hidden, scale === 1 ? mapped : g.scale(mapped, scale))
  }

  dispose(): void {
    for (const factor of this.factors) factor.dispose()
    this.bias.dispose()
  }
}

/** Bytes of bridges that are kept: those of hundreds of plans of a small model, of a few of a large one. */
const MOST_BYTES = 512 << 20

/** The bridges that an engine has loaded; what was not used for longest goes first. */
export class BridgeWeights {
  private readonly loaded = new Map<Bridge, LoadedBridge>()
  /** What was asked for since `trim`. */
  private readonly used = new Set<LoadedBridge>()
  private next = 0
  private bytes = 0

  /** @param onDrop called before weights go: graphs that name them must go too */
  constructor(
    private readonly backend: Backend,
    private readonly onDrop: () => void,
  ) {}

  get(bridge: Bridge): LoadedBridge {
    const known = this.loaded.get(bridge)
    const loaded = known ?? making(() => new LoadedBridge(this.backend, bridge, this.next++))
    if (known === undefined) this.bytes += loaded.bytes
    this.loaded.delete(bridge)
    this.loaded.set(bridge, loaded)
    this.used.add(loaded)
    return loaded
  }

  /** To be called where nothing runs. What the last step used stays: a lens of a large model may be more than is kept. */
  trim(): void {
    const { used, loaded: all } = this
    const old = this.bytes <= MOST_BYTES ? [] : [...all].filter(([, loaded]) => !used.has(loaded))
    used.clear()
    if (old.length === 0) return
    this.onDrop()
    for (const [bridge, loaded] of old) {
      if (this.bytes <= MOST_BYTES / 2) return
      this.loaded.delete(bridge)
      this.bytes -= loaded.bytes
      loaded.dispose()
    }
  }

  dispose(): void {
    for (const loaded of this.loaded.values()) loaded.dispose()
    this.loaded.clear()
  }
}
