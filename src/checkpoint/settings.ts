import { FileError } from '../errors.js'
import type { JsonObject } from '../json.js'

/** What `shoal.json` beside config.json says of how a checkpoint is meant to be run. */
export interface CheckpointSettings {
  /** A SPEC of the `--depth` grammar: the depth that the checkpoint was made for. */
  readonly depth?: string
  /** Strings that end a chat's answer. */
  readonly chatStop?: readonly string[]
}

const KNOWN = ['depth', 'chatStop']

export function parseSettings(path: string, json: JsonObject): CheckpointSettings {
  const unknown = Object.keys(json).find((key) => !KNOWN.includes(key))
  if (unknown !== undefined) throw new FileError(path, `unknown key ${unknown}; known are ${KNOWN.join(', ')}`)
  const { depth, chatStop } = json
  if (depth !== undefined && (typeof depth !== 'string' || depth === '')) {
    throw new FileError(path, 'depth must be a string such as layers:0,2,5')
  }
  if (chatStop !== undefined && !isListOfText(chatStop)) {
    throw new FileError(path, 'chatStop must be a list of strings that are not empty')
  }
  return { ...(depth !== undefined && { depth }), ...(chatStop !== undefined && { chatStop }) }
}

function isListOfText(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string' && entry !== '')
}
