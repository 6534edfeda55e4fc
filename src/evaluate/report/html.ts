import type { EvalReport } from '../result.js'
import { escapeXml } from './escape.js'
import { reportFacts, reportNotes, reportTitle } from './facts.js'
import { reportFigures } from './figures.js'
import { NONE } from './format.js'
import { type Figure, FONT, figureStyle, figureSvg } from './svg.js'
import { reportTables, type Table } from './tables.js'

/** One page without scripts that loads nothing: figures are inline, and every number stands in a table. */
export function reportHtml(report: EvalReport): string {
  const title = escapeXml(reportTitle(report))
  const tables = reportTables(report)
  const figures = reportFigures(report)
  const overall = tables.filter((table) => table.id === 'overall')
  const others = tables.filter((table) => table.id !== 'overall')
  const facts = reportFacts(report).map(([name, value]) => `<dt>${escapeXml(name)}</dt><dd>${escapeXml(value)}</dd>`)
  const notes = reportNotes(report).map((note) => `<li>${escapeXml(note)}</li>`)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${PAGE_STYLE}${figureStyle('auto')}</style>
</head>
<body>
<main>
<h1>${title}</h1>
<dl>${facts.join('')}</dl>
<ul class="notes">${notes.join('')}</ul>
${overall.map(tableHtml).join('\n')}
${figures.length === 0 ? '' : `<h2>Figures</h2>\n${figures.map(figureHtml).join('\n')}`}
${others.map(tableHtml).join('\n')}
</main>
</body>
</html>
`
}

function figureHtml(figure: Figure): string {
  return `<figure>${figureSvg(figure, 'none')}<figcaption>${escapeXml(figure.description)}</figcaption></figure>`
}

function tableHtml(table: Table): string {
  const notes = table.notes.map((note) => `<p class="note">${escapeXml(note)}</p>`).join('')
  const heading = escapeXml(table.title)
  const body = `${gridHtml(table)}${notes}`
  return table.detail
    ? `<details id="table-${table.id}"><summary>${heading}</summary>${body}</details>`
    : `<section id="table-${table.id}"><h2>${heading}</h2>${body}</section>`
}

function gridHtml({ columns, rows, title }: Table): string {
  const kind = columns.map((column) => (column.numeric ? ' class="number"' : ''))
  const head = columns.map((column, c) => `<th scope="col"${kind[c]}>${escapeXml(column.name)}</th>`).join('')
  const lines = rows.map(
    (row) =>
      `<tr>${row.map((cell, c) => `<td${cell.length > LONG ? ' class="long"' : kind[c]}>${cellHtml(cell)}</td>`).join('')}</tr>`,
  )
  const empty = rows.length === 0 ? `<tr><td colspan="${columns.length}">${NONE}</td></tr>` : ''
  // A region that scrolls must be reachable by keyboard.
  return (
    `<div class="scroll" role="region" aria-label="${escapeXml(title)}" tabindex="0"><table><thead><tr>${head}</tr></thead>` +
    `<tbody>${lines.join('')}${empty}</tbody></table></div>`
  )
}

/** Characters of a cell beyond which its text may break. */
const LONG = 28

/** Intervals go below their estimate, which keeps wide tables on the page. */
function cellHtml(cell: string): string {
  return escapeXml(cell).replace(/(?<=^[-+]?[\d.]+ )\[[^[\]]*\]$/, '<span>$&</span>')
}

const PAGE_STYLE =
  ':root{color-scheme:light dark;--text:#1b1f24;--dim:#57606a;--line:#d8dde3;--back:#ffffff;--band:#f5f7f9}' +
  '@media (prefers-color-scheme: dark){:root{--text:#e6e9ed;--dim:#a3abb5;--line:#2c3239;--back:#14171b;--band:#1b1f25}}' +
  `body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 ${FONT}}` +
  'main{max-width:1320px;margin:0 auto;padding:24px 20px 64px}' +
  'h1{font-size:26px;line-height:1.2;margin:8px 0 16px}h2{font-size:19px;margin:36px 0 10px}' +
  'dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0 0 16px}dt{color:var(--dim)}' +
  'dd{margin:0;overflow-wrap:anywhere}' +
  '.notes{padding:10px 16px 10px 32px;margin:0;background:var(--band);border-left:3px solid var(--dim)}' +
  'figure{margin:20px 0 28px}figure svg{display:block;max-width:100%;height:auto}' +
  'figcaption,.note{color:var(--dim);font-size:13px;margin:6px 0 0;max-width:120ch}' +
  '.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}' +
  'th,td{padding:4px 8px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}' +
  'th{border-bottom-width:2px;vertical-align:bottom}.number{text-align:right}td{white-space:nowrap}td.long{white-space:normal;overflow-wrap:anywhere;min-width:24ch}.number span{display:block;color:var(--dim);font-size:11px}tbody tr:nth-child(even){background:var(--band)}' +
  'details{margin:28px 0}summary{font-size:19px;font-weight:700;cursor:pointer}' +
  '@media print{details::details-content{content-visibility:visible}figure{break-inside:avoid}}'
