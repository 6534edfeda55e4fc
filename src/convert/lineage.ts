import { join } from 'node:path'
import { readGguf } from '../checkpoint/gguf.js'
import { baseModelsOfCard } from '../checkpoint/model-card.js'
import { readOptionalTextFile } from '../checkpoint/text-file.js'
import { DEFAULT_MODEL, locateModel } from './package.js'

/**
 * The models that a model says it was made from: `base_model` of the README.md in its folder, or `general.base_model.*`
 * of its GGUF file. Empty where it says nothing.
 * @throws FileError where there is no such model
 */
export async function baseModels(model: string = DEFAULT_MODEL): Promise<string[]> {
  const { kind, path } = locateModel(model)
  if (kind === 'folder') return baseModelsOfCard((await readOptionalTextFile(join(path, 'README.md'))) ?? '')
  const { values } = (await readGguf(path)).metadata
  const names: string[] = []
  for (let i = 0; ; i++) {
    const name = values.get(`general.base_model.${i}.name`)
    if (name?.type !== 'string') return names
    names.push(name.value)
  }
}
