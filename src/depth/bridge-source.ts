import { readSync } from 'node:fs'
import type { BridgeSet } from './bridge.js'
import type { DepthModel } from './definition.js'
import type { Measurement } from './measurement.js'
import { withPolicyFile } from './policy-document.js'
import type { SpecArguments } from './spec-arguments.js'

/** What must be read before a SPEC that names this file of bridges can be parsed. Throws FileError. */
export function neededBridges(path: string): Measurement {
  const stamp = withPolicyFile(path, (_, { dev, ino, size, mtimeMs }) => [dev, ino, size, mtimeMs].join(' '))
  return { kind: 'bridges', path, stamp }
}

/** True where a file is GGUF, as far as its first four bytes tell. Throws FileError. */
export function isGguf(path: string): boolean {
  return withPolicyFile(path, (fd) => {
    const magic = Buffer.alloc(4)
    return readSync(fd, magic, 0, 4, 0) === 4 && magic.toString('latin1') === 'GGUF'
  })
}

/** The bridges of a file that `needs` has named. Throws SpecError where they are for another number of layers. */
export function loadedBridges(args: SpecArguments, model: DepthModel | undefined, path: string): BridgeSet {
  if (model?.bridges === undefined) throw args.error(`${path} holds bridges, which need a model that is loaded`)
  const set = model.bridges(path)
  if (set.layers !== model.layers) {
    throw args.error(`${path} was made for a model of ${set.layers} layers and this one has ${model.layers}`)
  }
  return set
}
