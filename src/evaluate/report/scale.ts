/** Maps a value to a place on the page, and knows where its ticks are. */
export interface Scale {
  readonly place: (value: number) => number
  readonly domain: readonly [number, number]
  readonly ticks: readonly number[]
  /** A tick with as many decimals as the ticks need. */
  readonly format: (value: number) => string
}

export interface DomainOptions {
  /** The domain never reaches beyond these. */
  readonly floor?: number
  readonly ceiling?: number
  /** Narrower data are widened to this span, so that noise does not fill the panel. */
  readonly minSpan?: number
  /** Room left at both ends, as a share of the span; default 0.06. */
  readonly margin?: number
}

/** The range of the finite values with some room around it; [0, 1] where there is none. */
export function domainOf(values: Iterable<number>, options: DomainOptions = {}): [number, number] {
  const { floor = -Infinity, ceiling = Infinity, minSpan = 0, margin = 0.06 } = options
  let low = Infinity
  let high = -Infinity
  for (const value of values) {
    if (!Number.isFinite(value)) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  if (!Number.isFinite(high - low)) return [0, 1]
  const span = Math.max(high - low, minSpan, Math.abs(high) * 1e-6, 1e-9)
  const room = (span - (high - low)) / 2 + span * margin
  low = Math.max(low - room, floor)
  high = Math.min(high + room, ceiling)
  return low < high ? [low, high] : [low - span, low + span]
}

/** A linear scale with about `count` ticks at multiples of 1, 2 or 5 times a power of ten. */
export function linearScale(domain: readonly [number, number], range: readonly [number, number], count: number): Scale {
  const [low, high] = domain
  const step = tickStep((high - low) / Math.max(1, count))
  const first = Math.ceil(low / step - 1e-9)
  const last = Math.floor(high / step + 1e-9)
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9))
  return {
    domain,
    // What lies outside the domain stays at its edge.
    place: (value) => range[0] + Math.min(1, Math.max(0, (value - low) / (high - low))) * (range[1] - range[0]),
    ticks: Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step),
    format: (value) => (Math.abs(value) < step / 2 ? 0 : value).toFixed(Math.min(decimals, 20)),
  }
}

/** The multiple of 1, 2 or 5 that is nearest by ratio. */
function tickStep(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(wanted))
  const rest = wanted / power
  return power * (rest < Math.SQRT2 ? 1 : rest < Math.sqrt(10) ? 2 : rest < Math.sqrt(50) ? 5 : 10)
}
