import { join } from 'node:path'
import { writeAtomicFile } from '../checkpoint/atomic-file.js'
import { makeFolder } from '../checkpoint/make-folder.js'
import { readOptionalJsonFile } from '../checkpoint/text-file.js'
import type { Backend } from '../ggml/backend.js'
import { GGML_VERSION } from '../ggml/library.js'
import { isJsonObject, type JsonObject } from '../json.js'

/** What was measured on this machine, kept in `machine.json` of the cache: one value per name. */
export class MachineMemory {
  private constructor(
    private readonly folder: string,
    private entries: JsonObject,
  ) {}

  /** What cannot be read counts as empty, and is measured anew. */
  static async open(folder: string): Promise<MachineMemory> {
    try {
      const entries = await readOptionalJsonFile(join(folder, 'machine.json'))
      return new MachineMemory(folder, isJsonObject(entries) ? entries : {})
    } catch {
      return new MachineMemory(folder, {})
    }
  }

  get(key: string): unknown {
    return this.entries[key]
  }

  /** A cache that cannot be written costs a new measurement next time and nothing else. */
  async add(learned: JsonObject): Promise<void> {
    if (Object.keys(learned).length === 0) return
    this.entries = { ...this.entries, ...learned }
    try {
      await makeFolder(this.folder)
      await writeAtomicFile(join(this.folder, 'machine.json'), `${JSON.stringify(this.entries, null, 2)}\n`)
    } catch {
      return
    }
  }
}

/** What a measurement of a kernel depends on beside the matrix: the first part of its name in the memory. */
export function machineName(backend: Backend): string {
  return `${backend.description} | ggml ${GGML_VERSION} | ${backend.threads} threads`
}
