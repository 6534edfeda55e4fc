import { openPackage } from '../src/convert/package.js'
import type { KvType } from '../src/engine/cache/kv-type.js'
import { Engine } from '../src/engine/run/engine.js'
import type { RowPadding } from '../src/engine/run/row-padding.js'
import type { StepOutcome, StepResult } from '../src/engine/run/step.js'
import { weightUses } from '../src/engine/run/weight-uses.js'
import type { Hyperparameters } from '../src/families/hyperparameters.js'
import { familyByArchitecture } from '../src/families/index.js'
import { Backend } from '../src/ggml/backend.js'
import { WeightStore } from '../src/ggml/weights.js'

export interface OpenedEngine {
  readonly engine: Engine
  readonly hyperparameters: Hyperparameters
  dispose(): Promise<void>
}

/** An engine on a checkpoint folder in f32, without the model's API around it. */
export async function openEngine(
  folder: string,
  options: { cacheDir: string; kvType?: KvType; context?: number; threads?: number; padding?: RowPadding },
): Promise<OpenedEngine> {
  const { cacheDir, kvType = 'f32', context = 4096, threads = 1, padding = (rows) => rows } = options
  const p = await openPackage(folder, { quantization: 'f32', cacheDir })
  const family = familyByArchitecture('llama', p.path)
  const hyperparameters = family.fromMetadata(p.gguf.metadata, new Set(p.gguf.tensors.keys()))
  const backend = new Backend({ threads })
  const weights = new WeightStore(backend, p.gguf, weightUses(p.gguf, family, hyperparameters), () => null)
  const engine = new Engine({ backend, family, hyperparameters, weights, padding, kvType, context })
  return {
    engine,
    hyperparameters,
    async dispose() {
      engine.dispose()
      weights.dispose()
      await backend.dispose()
    },
  }
}

/** The result of a step that must not have failed. */
export function resultOf(outcome: StepOutcome | undefined): StepResult {
  if (outcome === undefined) throw new Error('the step gave no outcome')
  if ('error' in outcome) throw outcome.error
  return outcome.result
}
