import type { DepthModel } from '../depth/definition.js'
import type { Policy } from '../depth/policy.js'
import { measurementsOf, parseDepth } from '../depth/spec.js'
import type { Depth, PolicyOptions } from './api.js'
import type { Measurements } from './measure/measurements.js'

/** SPECs to policies for one loaded model. */
export class Policies {
  private readonly model: DepthModel
  private readonly measurements: Measurements

  /** @param fingerprint read only where a policy asks for it */
  constructor(layers: number, measurements: Measurements, fingerprint: () => string) {
    this.measurements = measurements
    this.model = {
      layers,
      get fingerprint() {
        return fingerprint()
      },
      ...measurements.known,
    }
  }

  /**
   * The policy at once where nothing is to be measured for it. Throws SpecError where the grammar is wrong; what a
   * measurement makes impossible rejects.
   */
  resolve(depth: Depth, options: PolicyOptions = {}): Policy | Promise<Policy> {
    if (typeof depth !== 'string') return depth
    const unknown = measurementsOf(depth, this.model).filter((measurement) => !this.measurements.has(measurement))
    return unknown.length === 0 ? parseDepth(depth, this.model) : this.measured(depth, unknown, options)
  }

  /** Throws SpecError where a SPEC is wrong whatever measurements say. */
  check(depth: string): void {
    const needed = measurementsOf(depth, this.model)
    if (needed.every((measurement) => this.measurements.has(measurement))) parseDepth(depth, this.model)
  }

  private async measured(
    depth: string,
    unknown: Parameters<Measurements['measure']>[0][],
    options: PolicyOptions,
  ): Promise<Policy> {
    for (const measurement of unknown) await this.measurements.measure(measurement, options)
    return parseDepth(depth, this.model)
  }
}
