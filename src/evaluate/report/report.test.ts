import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { syntheticReport } from '../../../test/synthetic-report.js'
import { FileError, InputError } from '../../errors.js'
import type { EvalCell, EvalReport } from '../result.js'
import { GENERATION_NOTE } from './facts.js'
import { figureSvg, reportFigures, reportHtml, reportJson, reportMarkdown, writeFigures, writeReport } from './index.js'
import { NARROW_PAGE } from './panel.js'

const HOSTILE = `"><script>alert(1)</script>&amp;'|\`_*[x](http://example.com)\n# \u0000\u001b\ud800`

function hostileReport(): EvalReport {
  const report = syntheticReport({ tasks: [HOSTILE, 'other'], shots: [0] })
  const rename = (cell: EvalCell) => ({ ...cell, depth: cell.depth === 'full' ? 'full' : `${cell.depth}${HOSTILE}` })
  return { ...report, model: HOSTILE, machine: HOSTILE, notes: [HOSTILE], cells: report.cells.map(rename) }
}

/** Nothing that could be measured was. */
function emptyCells(): EvalReport {
  const report = syntheticReport({ tasks: ['sst2', 'ag_news'] })
  const none = { mean: Number.NaN, low: Number.NaN, high: Number.NaN, n: 0 }
  const empty = (cell: EvalCell): EvalCell => ({
    ...cell,
    prompts: 0,
    accuracy: none,
    accuracyDifference: none,
    agreement: none,
    depthMean: none,
    pruningRatio: Number.NaN,
    flopsRatio: Number.NaN,
    flopsRatioWithChecks: Number.NaN,
    answerMs: null,
    timeRatio: null,
    checkShare: null,
    histogram: cell.histogram.map(() => 0),
  })
  const hole = (rows: readonly (readonly number[])[]) => rows.map((row) => row.map(() => Number.NaN))
  const matrix = report.matrix!
  return {
    ...report,
    cells: report.cells.map(empty),
    overall: report.overall.map(empty),
    curves: report.curves.map((curve) => ({
      ...curve,
      gap: curve.gap.map((v, l) => (l === 4 ? Number.NaN : v)),
      topProb: [],
    })),
    matrix: {
      ...matrix,
      accuracy: hole(matrix.accuracy),
      accuracyDifference: matrix.accuracyDifference.map((row) => row.map(() => none)),
      agreement: [],
      depthMean: hole(matrix.depthMean),
    },
  }
}

const bare = (): EvalReport => ({ ...syntheticReport(), cells: [], overall: [], curves: [], matrix: null, notes: [] })

/** Throws unless the text is one well-formed XML element; returns the names of elements and attributes that it met. */
function parseXml(text: string): { elements: string[]; attributes: string[] } {
  const elements: string[] = []
  const attributes: string[] = []
  const open: string[] = []
  const token = /<(\/?)([a-zA-Z][\w-]*)((?:\s+[a-zA-Z][\w:-]*="[^"<]*")*)\s*(\/?)>|([^<>]+)/y
  let match = token.exec(text)
  let end = 0
  for (; match !== null; match = token.exec(text)) {
    end = token.lastIndex
    const [, closing, name, list, empty, content] = match
    const plain = content ?? list ?? ''
    if (/&(?!#\d+;)|(?![\t\n\r])\p{Cc}/u.test(plain) || !plain.isWellFormed()) {
      throw new Error(`not well-formed: ${plain}`)
    }
    if (name === undefined) continue
    if (closing) {
      if (open.pop() !== name) throw new Error(`misplaced </${name}>`)
    } else {
      const names = [...(list ?? '').matchAll(/([\w:-]+)="/g)].map((found) => found[1]!)
      if (new Set(names).size !== names.length) throw new Error(`attribute given twice in <${name}${list}>`)
      attributes.push(...names)
      elements.push(name)
      if (!empty) open.push(name)
    }
  }
  expect(text.slice(end)).toBe('')
  expect(open).toEqual([])
  return { elements, attributes }
}

const CASES: readonly (readonly [string, () => EvalReport])[] = [
  ['a usual report', syntheticReport],
  ['one task, no shots', () => syntheticReport({ tasks: ['sst2'], shots: [0] })],
  ['many tasks', () => syntheticReport({ tasks: Array.from({ length: 31 }, (_, i) => `a_long_name_of_a_task_${i}`) })],
  ['names that look like markup', hostileReport],
  ['cells without numbers', emptyCells],
  ['nothing at all', bare],
]

describe.each(CASES)('figures of %s', (_, make) => {
  const figures = reportFigures(make())

  it('are well-formed, say what they show and refer to nothing outside', () => {
    for (const figure of figures) {
      for (const theme of ['auto', 'none'] as const) {
        const svg = figureSvg(figure, theme)
        const { elements, attributes } = parseXml(svg)
        expect(elements.slice(0, 3)).toEqual(['svg', 'title', 'desc'])
        expect(elements).not.toContain('script')
        expect(attributes.filter((name) => /href|src|^on/.test(name))).toEqual([])
        expect(svg).not.toMatch(/url\(|@import|NaN|Infinity|undefined/)
      }
    }
  })

  it('keep everything on the page', () => {
    for (const { body, width, height } of figures) {
      for (const [, key, value] of body.matchAll(/ (x|cx|x1|x2|y|cy|y1|y2)="(-?[\d.]+)"/g)) {
        const most = key!.includes('x') ? width : height
        if (!(Number(value) >= 0 && Number(value) <= most)) expect.fail(`${key}=${value} of ${most}`)
      }
    }
  })

  it('have names that are safe as file names and unique', () => {
    expect(figures.every((figure) => /^[a-z0-9-]+$/.test(figure.name))).toBe(true)
    expect(new Set(figures.map((figure) => figure.name)).size).toBe(figures.length)
  })
})

describe('figures', () => {
  it('are those that a report has data for', () => {
    const names = (report: EvalReport) => reportFigures(report).map((figure) => figure.name)
    expect(names(syntheticReport({ shots: [5, 0] }))).toEqual([
      'accuracy-depth',
      'accuracy-depth-0-shot',
      'accuracy-depth-5-shot',
      'accuracy-time',
      'accuracy-time-0-shot',
      'accuracy-time-5-shot',
      'depth-histogram-0-shot',
      'depth-histogram-5-shot',
      'exit-features',
      'generalisation-accuracy',
      'generalisation-agreement',
      'generalisation-depth',
    ])
    expect(names(bare())).toEqual([])
    expect(names(syntheticReport({ tasks: ['sst2'], shots: [0] }))).not.toContain('accuracy-depth-0-shot')
    expect(names(emptyCells()).filter((name) => name.includes('time'))).toEqual([])
  })

  it('carry both palettes, light first', () => {
    const svg = figureSvg(reportFigures(syntheticReport())[0]!, 'auto')
    expect(svg).toMatch(/\.f-back\{fill:#ffffff\}.*@media \(prefers-color-scheme: dark\)\{.*\.f-back\{fill:#14171b\}/)
    expect(figureSvg(reportFigures(syntheticReport())[0]!, 'light')).not.toContain('@media')
  })

  it('show every depth with its numbers, and leave controls out of the time', () => {
    const figures = new Map(reportFigures(syntheticReport()).map((figure) => [figure.name, figure.body]))
    expect(figures.get('accuracy-depth')).toContain(
      'gap:0.8: accuracy 0.774 [0.756, 0.792], depth 12.80 [12.65, 12.95]',
    )
    expect(figures.get('accuracy-depth')).toContain('>gap:0.6 … 0.95<')
    expect(figures.get('accuracy-depth')).toContain('>oracle<')
    expect(figures.get('accuracy-time')).not.toContain('>oracle<')
    expect(figures.get('generalisation-accuracy')).toContain(
      'trained on ag_news, tested on sst2: -0.003 [-0.008, +0.002]',
    )
  })
})

describe('the page', () => {
  it.each(CASES)('of %s loads nothing and runs nothing', (_, make) => {
    const html = reportHtml(make())
    expect(html).toContain("default-src 'none'")
    expect(html).not.toMatch(/<script|<link|<img|<iframe|<object| src=| href=|url\(|@import/i)
    const body = html.slice(html.indexOf('<body>'), html.indexOf('</body>') + 7)
    parseXml(body)
  })

  it('holds every number of a cell in a table, in light and dark', () => {
    const html = reportHtml(syntheticReport())
    const text = html.replace(/<\/?span>/g, '')
    for (const number of [
      '0.774 [0.756, 0.792]',
      '-0.006 [-0.013, +0.001]',
      '12.80 [12.65, 12.95]',
      '11.0 [10.8, 11.2]',
      '4.3%',
    ]) {
      expect(text).toContain(`>${number}<`)
    }
    expect(text).toContain('5 (4.3 fitted) †')
    expect(text).toContain('>–<')
    expect(html).toContain('color-scheme:light dark')
  })

  it('has accuracy first in a row, what rows share above them, and a date that people read', () => {
    const html = reportHtml(syntheticReport())
    expect(html).toContain('<th scope="col">depth</th><th scope="col" class="number">accuracy</th>')
    expect(html).toContain('<span>ag_news · classification · shots 5 (4.3 fitted) †</span>')
    expect(html).toContain('<dd>2 January 2026, 03:04 UTC</dd>')
    expect(reportHtml({ ...bare(), date: 'some day' })).toContain('<dd>some day</dd>')
  })

  it('has every figure twice, for screens and for phones, where panels stand one below the other', () => {
    const report = syntheticReport()
    const widths = reportFigures(report, NARROW_PAGE).map(({ width }) => width)
    expect(new Set(widths)).toEqual(new Set([350]))
    const html = reportHtml(report)
    for (const { name } of reportFigures(report)) {
      expect(html).toContain(`id="${name}-title"`)
      expect(html).toContain(`id="${name}-narrow-title"`)
    }
  })

  it('has the matrix as the paper has it, full depth first', () => {
    const html = reportHtml(syntheticReport())
    expect(html).toContain('>full depth</td><td class="number">0.900 @ 16</td>')
    expect(html).toContain('>0.896 @ 11.5</td>')
    expect(html).toContain('>0.837 @ 12.1</td>')
    expect(html).toContain('>0.764 @ 12.7 *</td>')
    expect(html).toContain('Policy: adainfer-svm, threshold for accuracy-loss=0.01, 5 shots.')
  })

  it('says what the figures do not say', () => {
    expect(reportHtml(syntheticReport())).toContain('They say nothing about free generation')
    expect(reportMarkdown(syntheticReport())).toContain(GENERATION_NOTE)
  })
})

describe('Markdown', () => {
  it('has tables whose rows all have as many cells', () => {
    for (const [, make] of CASES) {
      const blocks = reportMarkdown(make())
        .split('\n\n')
        .filter((block) => block.startsWith('|'))
      for (const block of blocks) {
        const counts = block.split('\n').map((line) => line.replace(/\\[\\|]/g, '').split('|').length)
        expect(new Set(counts).size).toBe(1)
      }
    }
  })

  it('has the same numbers, and names as they are', () => {
    const markdown = reportMarkdown(syntheticReport())
    expect(markdown).toContain('| 0.774 [0.756, 0.792] | -0.006 [-0.013, +0.001] |')
    expect(markdown).toContain('| fruit_v_animal_3 |')
    expect(markdown).toContain('ripple-8m and ripple-8m-flex are relatives.')
  })

  it('lets no name become markup', () => {
    expect(reportMarkdown(hostileReport())).not.toMatch(/<script|(?<!\\)\]\(http|^#+ [^A-Z]/m)
  })
})

it('JSON has snake_case keys and null for what is no number', () => {
  const json = JSON.parse(JSON.stringify(reportJson(syntheticReport()))) as { cells: Record<string, unknown>[] }
  expect(json.cells[0]).toMatchObject({ task: 'sst2', flops_ratio_with_checks: 1.05, accuracy: { mean: 0.9 } })
  expect(JSON.stringify(reportJson(emptyCells()))).not.toContain('NaN')
})

describe('files', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'shoal-report-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('are the page, and Markdown and JSON beside it', async () => {
    const report = syntheticReport()
    const files = await writeReport(report, join(folder, 'a.report.html'))
    expect(files.map((file) => file.slice(folder.length + 1))).toEqual([
      'a.report.html',
      'a.report.md',
      'a.report.json',
    ])
    expect(readFileSync(files[0]!, 'utf8')).toBe(reportHtml(report))
    expect(readFileSync(files[1]!, 'utf8')).toBe(reportMarkdown(report))
    expect(JSON.parse(readFileSync(files[2]!, 'utf8'))).toEqual(JSON.parse(JSON.stringify(reportJson(report))))
    expect(readdirSync(folder)).toHaveLength(3)
  })

  it.each(['report', 'report.md', '.html', 'folder/.html'])('refuses the name %s', async (name) => {
    await expect(writeReport(bare(), name)).rejects.toThrow(InputError)
  })

  it('tells of a folder that does not exist', async () => {
    await expect(writeReport(bare(), join(folder, 'no', 'report.html'))).rejects.toThrow(/its folder does not exist/)
  })

  it('are an SVG and, where they can be drawn, a PNG of each figure', async () => {
    const report = syntheticReport({ tasks: ['sst2', HOSTILE], shots: [5] })
    const { files, warning } = await writeFigures(report, join(folder, 'new', 'figures'))
    expect(files.every((file) => existsSync(file))).toBe(true)
    expect(files.filter((file) => file.endsWith('.svg'))).toHaveLength(reportFigures(report).length)
    const pictures = files.filter((file) => file.endsWith('.png'))
    if (warning === null) {
      expect(pictures).toHaveLength(reportFigures(report).length)
      for (const file of pictures) expect(readFileSync(file).subarray(0, 4)).toEqual(Buffer.from('\x89PNG', 'latin1'))
    } else {
      expect(pictures).toEqual([])
      expect(warning).toMatch(/PNG figures need .*; the figures are there as SVG$/)
    }
  })

  it('refuses a figures folder that is a file', async () => {
    writeFileSync(join(folder, 'figures'), '')
    await expect(writeFigures(bare(), join(folder, 'figures'))).rejects.toThrow(FileError)
  })
})

it('any names and numbers give well-formed figures and a page', () => {
  const number = fc.oneof(fc.double(), fc.double({ min: 0, max: 20 }))
  const interval = fc.record({ mean: number, low: number, high: number, n: fc.nat() })
  const edit = fc.record({
    task: fc.string({ unit: 'binary' }),
    depth: fc.string({ unit: 'binary' }),
    accuracy: interval,
    depthMean: interval,
    answerMs: fc.option(interval),
    histogram: fc.array(fc.nat({ max: 50 }), { maxLength: 20 }),
  })
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 6 }), (edits) => {
      const base = syntheticReport({ tasks: ['sst2'], shots: [0] })
      const cells = edits.map((one, i) => ({ ...base.cells[i]!, ...one }))
      const report = { ...base, cells, overall: cells }
      for (const figure of reportFigures(report)) {
        const svg = figureSvg(figure, 'none')
        parseXml(svg)
        expect(svg.replace(/<(title|text)[^>]*>[^<]*<\/\1>/g, '')).not.toMatch(/NaN|Infinity/)
      }
      const html = reportHtml(report)
      parseXml(html.slice(html.indexOf('<body>'), html.indexOf('</body>') + 7))
    }),
    { numRuns: 60 },
  )
})
