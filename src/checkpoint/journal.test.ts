import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JsonObject } from '../json.js'
import { openJournal, type RunFacts } from './journal.js'
import { processStart } from './process-start.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-journal-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const RUN = { model: 'a', shots: [0, 5], limit: undefined }

/** Opens, lets go again, and gives what the journal held. */
function recordsOf(path: string, run: RunFacts = RUN): JsonObject[] {
  const records: JsonObject[] = []
  openJournal(path, 'shoal-test', run, (record) => records.push(record)).close()
  return records
}

describe('a journal', () => {
  it('cut off anywhere gives the whole records before the cut, and goes on after them', () => {
    const path = join(folder, 'cut.jsonl')
    const records = [{ a: 1 }, { text: 'zwölf\n' }, { list: [1, 2] }]
    const journal = openJournal(path, 'shoal-test', RUN, () => undefined)
    for (const record of records) journal.append(record)
    journal.close()
    const bytes = readFileSync(path)
    const ends = Array.from(bytes.entries()).flatMap(([i, byte]) => (byte === 0x0a ? [i + 1] : []))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: bytes.length }), (size) => {
        writeFileSync(path, bytes.subarray(0, size))
        const whole = Math.max(0, ends.filter((end) => end <= size).length - 1)
        expect(recordsOf(path)).toEqual(records.slice(0, whole))
        const again = openJournal(path, 'shoal-test', RUN, () => undefined)
        again.append({ more: true })
        again.close()
        expect(recordsOf(path)).toEqual([...records.slice(0, whole), { more: true }])
      }),
      { numRuns: 25 },
    )
  })

  it('says what differs where it is of another run', () => {
    const path = join(folder, 'other.jsonl')
    recordsOf(path)
    expect(() => recordsOf(path, { ...RUN, shots: [0] })).toThrow(
      /other\.jsonl: was begun by a run with shots \[0,5\], not \[0\]; .* remove it to start over$/,
    )
    expect(() => recordsOf(path, { ...RUN, limit: 3 })).toThrow(/limit none, not 3/)
    expect(() => openJournal(path, 'shoal-else', RUN, () => undefined)).toThrow(/is no shoal-else file/)
    expect(recordsOf(path)).toEqual([])
  })

  it('names a damaged line', () => {
    const path = join(folder, 'damaged.jsonl')
    recordsOf(path)
    appendFileSync(path, '{"a":1}\n[]\n')
    expect(() => recordsOf(path)).toThrow(/line 3 is damaged; remove the file to start over/)
    writeFileSync(path, 'words\n')
    expect(() => recordsOf(path)).toThrow(/line 1 is damaged/)
    expect(existsSync(`${path}.lock`)).toBe(false)
  })

  it('has one process at a time, and is taken over from one that is gone', () => {
    const path = join(folder, 'locked.jsonl')
    writeFileSync(`${path}.lock`, String(process.ppid))
    expect(() => recordsOf(path)).toThrow(/locked\.jsonl: process \d+ is writing it/)
    writeFileSync(`${path}.lock`, '999999999')
    const journal = openJournal(path, 'shoal-test', RUN, () => undefined)
    journal.close({ remove: true })
    expect([existsSync(path), existsSync(`${path}.lock`)]).toEqual([false, false])
  })

  it.runIf(process.platform === 'linux')(
    'is taken over where another process has the id of the one that is gone',
    () => {
      const path = join(folder, 'reused.jsonl')
      writeFileSync(`${path}.lock`, `${process.ppid} 1`)
      expect(recordsOf(path)).toEqual([])
      const journal = openJournal(path, 'shoal-test', RUN, () => undefined)
      const [pid, start] = readFileSync(`${path}.lock`, 'latin1').split(' ')
      journal.close()
      expect(Number(pid)).toBe(process.pid)
      writeFileSync(`${path}.lock`, `${process.ppid} ${processStart(process.ppid)}`)
      expect(() => recordsOf(path)).toThrow(/is writing it; if that is another program, remove reused\.jsonl\.lock$/)
      rmSync(`${path}.lock`)
      expect(start).toMatch(/^\d+$/)
    },
  )

  it.each(['', 'words', '0', '-1', '99999999999999999999'])(
    'is taken over from a lock that names no process (%j), once nobody can be writing it',
    (content) => {
      const path = join(folder, 'full-disk.jsonl')
      const lock = `${path}.lock`
      writeFileSync(lock, content)
      if (!/^\d+$/.test(content)) {
        expect(() => recordsOf(path)).toThrow(/full-disk\.jsonl: another process is beginning to write it$/)
      }
      const before = new Date(Date.now() - 6000)
      utimesSync(lock, before, before)
      expect(recordsOf(path)).toEqual([])
      expect(existsSync(lock)).toBe(false)
    },
  )
})
