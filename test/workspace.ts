import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import type { LoadOptions, Model } from '../src/engine/api.js'
import { loadModel } from '../src/engine/load.js'
import { type LlamaShape, type RandomCheckpoint, writeRandomCheckpoint } from './random-checkpoint.js'

/**
 * A temporary folder with a cache of converted models, for the tests of one file, which command lines use too; models are
 * disposed at the end.
 */
export interface Workspace {
  readonly folder: string
  /** One thread unless said otherwise: several spin against each other on a busy machine. */
  load(model: string, options?: LoadOptions): Promise<Model>
  random(seed: number, shape?: LlamaShape): Promise<RandomCheckpoint>
  /** A random checkpoint, loaded. */
  loadRandom(seed: number, shape?: LlamaShape, options?: LoadOptions): Promise<Model>
}

export function useWorkspace(): Workspace {
  let folder = ''
  let count = 0
  let cacheBefore: string | undefined
  const models: Model[] = []
  const cache = (): string => join(folder, 'cache')
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'shoal-test-'))
    cacheBefore = process.env.SHOAL_CACHE
    process.env.SHOAL_CACHE = cache()
  })
  afterAll(async () => {
    if (cacheBefore === undefined) delete process.env.SHOAL_CACHE
    else process.env.SHOAL_CACHE = cacheBefore
    for (const model of models) await model.dispose()
    await rm(folder, { recursive: true, force: true })
  })
  const workspace: Workspace = {
    get folder() {
      return folder
    },
    async load(model, options = {}) {
      const loaded = await loadModel(model, { thread: false, threads: 1, cacheDir: cache(), ...options })
      models.push(loaded)
      return loaded
    },
    random: (seed, shape) => writeRandomCheckpoint(join(folder, `random-${count++}`), seed, shape),
    async loadRandom(seed, shape, options) {
      return workspace.load((await workspace.random(seed, shape)).folder, options)
    },
  }
  return workspace
}
