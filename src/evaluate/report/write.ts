import { join } from 'node:path'
import { writeAtomicFile } from '../../checkpoint/atomic-file.js'
import { makeFolder } from '../../checkpoint/make-folder.js'
import { InputError, UnsupportedError } from '../../errors.js'
import type { EvalReport } from '../result.js'
import { reportFigures } from './figures.js'
import { reportHtml } from './html.js'
import { reportJson } from './json.js'
import { reportMarkdown } from './markdown.js'
import { loadPngRenderer, type PngRenderer } from './png.js'
import { figureSvg } from './svg.js'

export interface ReportPaths {
  readonly html: string
  readonly markdown: string
  readonly json: string
  /** Answers so far, until the others are written. */
  readonly answers: string
}

/** The files of a report. Throws InputError unless `path` ends in `.html`: a long run should learn that first. */
export function reportPaths(path: string): ReportPaths {
  const match = /^(.*[^/\\])\.html?$/i.exec(path)
  if (match === null) throw new InputError(`the report's name must end in .html, not ${path}`)
  const name = match[1]
  return { html: path, markdown: `${name}.md`, json: `${name}.json`, answers: `${name}.answers.jsonl` }
}

/** Writes the page, and Markdown and JSON beside it; returns their paths. Throws FileError. */
export async function writeReport(report: EvalReport, path: string): Promise<string[]> {
  const { html, markdown, json } = reportPaths(path)
  await writeAtomicFile(json, `${JSON.stringify(reportJson(report), null, 2)}\n`)
  await writeAtomicFile(markdown, reportMarkdown(report))
  await writeAtomicFile(html, reportHtml(report))
  return [html, markdown, json]
}

export interface WrittenFigures {
  readonly files: readonly string[]
  /** Why there are no PNG files, in one line; null where they were written. */
  readonly warning: string | null
}

/** Writes each figure as SVG (light and dark) and PNG (light) into a folder, made where it is missing. */
export async function writeFigures(report: EvalReport, folder: string): Promise<WrittenFigures> {
  await makeFolder(folder)
  let png: PngRenderer | null = null
  let warning: string | null = null
  try {
    png = await loadPngRenderer()
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error
    warning = `${error.message}; the figures are there as SVG`
  }
  const files: string[] = []
  for (const figure of reportFigures(report)) {
    const path = join(folder, figure.name)
    await writeAtomicFile(`${path}.svg`, `${figureSvg(figure, 'auto')}\n`)
    files.push(`${path}.svg`)
    if (png === null) continue
    await writeAtomicFile(`${path}.png`, png(figure))
    files.push(`${path}.png`)
  }
  return { files, warning }
}
