import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const SMOLLM2 = 'smollm2-135m-instruct-q4_1.gguf'
/** Under Gemma's terms of use: never beside the checkout by itself. */
export const GEMMA3 = 'gemma-3-270m-q4_k_m.gguf'

const SHARED = fileURLToPath(new URL('../../shared', import.meta.url))

/**
 * Path of a real model's file, in the folder that `SHOAL_MODELS` names or in `shared/models` beside the checkout. Null, with
 * a line that says so, where neither has it; an error where the shared folder lacks what it always has.
 * @param {string} name
 */
export function realModel(name) {
  const folders = [process.env.SHOAL_MODELS, join(SHARED, 'models')].filter((folder) => folder !== undefined)
  const folder = folders.find((candidate) => existsSync(join(candidate, name)))
  if (folder !== undefined) return join(folder, name)
  if (existsSync(SHARED) && name === SMOLLM2) throw new Error(`${join(SHARED, 'models')} lacks ${name}`)
  console.log(`skipped: ${name} is not here; SHOAL_MODELS may name its folder`)
  return null
}
