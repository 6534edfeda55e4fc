import { UnsupportedError } from '../errors.js'
import { bloom } from './bloom.js'
import type { Family } from './family.js'
import { llama } from './llama.js'
import { opt } from './opt.js'

/** Every model family. A new one is a file and a line here. */
export const FAMILIES: readonly Family[] = [llama, opt, bloom]

/** @throws UnsupportedError that names the families there are */
export function familyByModelType(modelType: string, path: string): Family {
  const family = FAMILIES.find((f) => f.modelTypes.includes(modelType))
  if (family === undefined)
    throw unknown(
      path,
      `model_type "${modelType}"`,
      FAMILIES.flatMap((f) => f.modelTypes),
    )
  return family
}

/** @throws UnsupportedError that names the architectures there are */
export function familyByArchitecture(architecture: string, path: string): Family {
  const family = FAMILIES.find((f) => f.architecture === architecture)
  if (family === undefined)
    throw unknown(
      path,
      `architecture "${architecture}"`,
      FAMILIES.map((f) => f.architecture),
    )
  return family
}

function unknown(path: string, what: string, known: readonly string[]): UnsupportedError {
  return new UnsupportedError(`${path}: ${what} is not supported; supported: ${known.join(', ')}`)
}
