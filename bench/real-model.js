import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const SMOLLM2 = 'smollm2-135m-instruct-q4_1.gguf'

/** Path of a real model's file, from `SHOAL_MODELS` or the folder beside the checkout; null where there is none. */
export function realModel(name) {
  const folders = [process.env.SHOAL_MODELS, fileURLToPath(new URL('../../shared/models', import.meta.url))]
  for (const folder of folders) {
    if (folder !== undefined && existsSync(join(folder, name))) return join(folder, name)
  }
  return null
}
