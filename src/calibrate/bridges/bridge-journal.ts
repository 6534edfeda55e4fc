import { damaged, openJournal, type RunFacts } from '../../checkpoint/journal.js'
import { bridgeRecord, readBridgeRecord } from './bridge-record.js'
import type { FittedBridge } from './fit.js'

/** Bridges that were fitted so far. */
export interface BridgeJournal {
  /** The one from a layer that an earlier run has fitted. */
  known(from: number): FittedBridge | null
  append(bridge: FittedBridge): void
  /** To be called in the end; with true where the bridges are kept elsewhere. */
  close(remove?: boolean): void
}

/**
 * Opens a journal of bridges of H dimensions.
 * @param path null to keep none
 * @throws FileError where the file is of another run, damaged, or in the hands of another process
 */
export function openBridgeJournal(path: string | null, run: RunFacts, hidden: number): BridgeJournal {
  if (path === null) return { known: () => null, append: () => undefined, close: () => undefined }
  const known = new Map<number, FittedBridge>()
  const journal = openJournal(path, 'shoal-bridge', run, (record, line) => {
    const fitted = readBridgeRecord(record, hidden)
    if (fitted === null) throw damaged(path, line)
    known.set(fitted.bridge.from, fitted)
  })
  return {
    known: (from) => known.get(from) ?? null,
    append: (bridge) => journal.append(bridgeRecord(bridge)),
    close: (remove = false) => journal.close({ remove }),
  }
}
