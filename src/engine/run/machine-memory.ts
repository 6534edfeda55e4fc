import { join } from 'node:path'
import { writeAtomicFile } from '../../checkpoint/atomic-file.js'
import { tryLock } from '../../checkpoint/lock-file.js'
import { makeFolder } from '../../checkpoint/make-folder.js'
import { readOptionalJsonFile } from '../../checkpoint/text-file.js'
import type { Backend } from '../../ggml/backend.js'
import { GGML_VERSION } from '../../ggml/library.js'
import { isJsonObject, type JsonObject } from '../../json.js'

const LOCK_TRIES = 100
const LOCK_WAIT_MS = 20

/** What was measured on this machine, kept in `machine.json` of the cache: one value per name. */
export class MachineMemory {
  private constructor(
    private readonly folder: string,
    private entries: JsonObject,
  ) {}

  /** What cannot be read counts as empty, and is measured anew. */
  static async open(folder: string): Promise<MachineMemory> {
    return new MachineMemory(folder, await readEntries(folder))
  }

  get(key: string): unknown {
    return this.entries[key]
  }

  /** A cache that cannot be written costs a new measurement next time and nothing else. */
  async add(learned: JsonObject): Promise<void> {
    if (Object.keys(learned).length === 0) return
    this.entries = { ...this.entries, ...learned }
    let unlock: (() => void) | null = null
    try {
      await makeFolder(this.folder)
      unlock = await lockSoon(join(this.folder, 'machine.lock'))
      // Another process may have learned something since this one looked.
      this.entries = { ...this.entries, ...(await readEntries(this.folder)), ...learned }
      await writeAtomicFile(join(this.folder, 'machine.json'), `${JSON.stringify(this.entries, null, 2)}\n`)
    } catch {
      return
    } finally {
      unlock?.()
    }
  }
}

async function readEntries(folder: string): Promise<JsonObject> {
  try {
    const entries = await readOptionalJsonFile(join(folder, 'machine.json'))
    return isJsonObject(entries) ? entries : {}
  } catch {
    return {}
  }
}

/** A lock; null where others have it for too long: then an update may be lost, and is measured again. */
async function lockSoon(path: string): Promise<(() => void) | null> {
  for (let tried = 0; tried < LOCK_TRIES; tried++) {
    const lock = tryLock(path)
    if (typeof lock === 'function') return lock
    await new Promise((resolve) => setTimeout(resolve, LOCK_WAIT_MS))
  }
  return null
}

/** What a measurement of a kernel depends on beside the matrix: the first part of its name in the memory. */
export function machineName(backend: Backend): string {
  return `${backend.description} | ggml ${GGML_VERSION} | ${backend.threads} threads`
}
