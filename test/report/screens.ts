/**
 * Reports in Chromium, at the widths of a phone and of a laptop: nothing covers anything, nothing but a table's own scroller is
 * wider than the page. HTML files that are named are looked at in the place of those made here. `--out FOLDER`
 * keeps the screenshots. Ends with 1 where there is a fault; without a browser with a line that says so, and 0.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { reportHtml } from '../../src/evaluate/report/html.js'
import type { EvalReport } from '../../src/evaluate/result.js'
import { syntheticGeneration, syntheticReport } from '../synthetic-report.js'
import { findChromium, openChromium, type Page } from './chromium.js'

const PHONE = 390
const LAPTOP = 1280

const only = (report: EvalReport, parts: Partial<EvalReport>): EvalReport => {
  return { ...report, cells: [], overall: [], curves: [], matrix: null, ...parts }
}
const usual = syntheticReport()
const many = syntheticReport({ tasks: Array.from({ length: 31 }, (_, i) => `a_long_name_of_a_task_${i}`) })
const REPORTS: readonly (readonly [string, EvalReport])[] = [
  ['answers', { ...usual, matrix: null }],
  ['answers-of-one-task', { ...syntheticReport({ tasks: ['sst2'], shots: [0] }), matrix: null }],
  ['answers-of-many-tasks', { ...many, matrix: null }],
  ['generation', syntheticGeneration()],
  ['matrix', only(usual, { matrix: usual.matrix })],
  ['matrix-of-many-tasks', only(many, { matrix: wideMatrix() })],
]

/** Thirty tasks on thirty tasks. */
function wideMatrix(): NonNullable<EvalReport['matrix']> {
  const small = many.matrix!
  const again = <T>(items: readonly T[]): T[] => Array.from({ length: 30 }, (_, i) => items[i % items.length]!)
  const square = <T>(rows: readonly (readonly T[])[]): T[][] => again(rows).map((row) => again(row))
  return {
    ...small,
    train: again(small.train),
    test: again(small.test),
    accuracy: square(small.accuracy),
    accuracyDifference: square(small.accuracyDifference),
    agreement: square(small.agreement),
    depthMean: square(small.depthMean),
  }
}

/** Names and files of what is looked at. */
function pagesOf(files: readonly string[], folder: string): [string, string][] {
  if (files.length > 0) return files.map((file) => [basename(file, '.html'), resolve(file)])
  return REPORTS.map(([name, report]) => {
    const path = join(folder, `${name}.html`)
    writeFileSync(path, reportHtml(report))
    return [name, path]
  })
}

async function check(page: Page, pages: [string, string][], shots: string | undefined): Promise<number> {
  const source = readFileSync(new URL('faults.js', import.meta.url), 'utf8')
  let count = 0
  for (const [name, path] of pages) {
    for (const width of [PHONE, LAPTOP]) {
      await page.open(pathToFileURL(path).href, width, false)
      const faults = (await page.evaluate(`${source};faultsOfPage(${width === PHONE})`)) as string[]
      count += faults.length
      console.log(`${name} at ${width}: ${faults.length === 0 ? 'ok' : `${faults.length} faults`}`)
      for (const fault of faults.slice(0, 20)) console.log(`  ${fault}`)
      if (shots === undefined) continue
      for (const dark of [false, true]) {
        await page.open(pathToFileURL(path).href, width, dark)
        writeFileSync(join(shots, `${name}-${width}${dark ? '-dark' : ''}.png`), await page.screenshot())
      }
    }
  }
  return count
}

const { values, positionals } = parseArgs({ options: { out: { type: 'string' } }, allowPositionals: true })
const program = findChromium()
if (program === null) {
  console.log('skipped: no Chromium; SHOAL_CHROMIUM may name one')
} else {
  if (values.out !== undefined) mkdirSync(values.out, { recursive: true })
  const folder = mkdtempSync(join(tmpdir(), 'shoal-screens-'))
  const page = await openChromium(program)
  try {
    const faults = await check(page, pagesOf(positionals, folder), values.out)
    console.log(`${faults} faults`)
    process.exitCode = faults === 0 ? 0 : 1
  } finally {
    await page.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
