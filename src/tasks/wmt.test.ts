import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadTask } from './load.js'

let data: string
beforeAll(() => {
  data = mkdtempSync(join(tmpdir(), 'shoal-wmt-'))
})
afterAll(() => rmSync(data, { recursive: true, force: true }))

const write = (name: string, text: string): void => writeFileSync(join(data, `newstest22.${name}`), text)

describe('WMT22', () => {
  it('pairs the lines of source and reference, which only \\n ends', async () => {
    write('de-en.de', 'Guten Tag.\nEs regnet\u2028heute.\n')
    write('de-en.en', 'Good day.\nIt rains\u2028today.')
    const task = await loadTask('wmt22:de-en', { data })
    expect(task.items).toEqual([
      { input: 'Guten Tag.', answers: ['Good day.'] },
      { input: 'Es regnet\u2028heute.', answers: ['It rains\u2028today.'] },
    ])
    expect(task).toMatchObject({
      group: 'translation',
      languages: { source: 'de', target: 'en' },
      template: 'German: {input}\nEnglish: {output}\n\n',
    })
  })

  it('refuses files that do not fit each other, and names without a pair', async () => {
    write('en-de.en', 'One.\nTwo.\n')
    write('en-de.de', 'Eins.\n')
    await expect(loadTask('wmt22:en-de', { data })).rejects.toThrow(/has 1 lines, and .*\.en has 2/)
    write('en-de.de', 'Eins.\n\n')
    await expect(loadTask('wmt22:en-de', { data })).rejects.toThrow(/en-de\.de: line 2 is empty/)
    await expect(loadTask('wmt22', { data })).rejects.toThrow(/wmt22:en-de/)
    await expect(loadTask('wmt22:en-fr', { data })).rejects.toThrow(/has no files of it/)
  })
})
