import type { EvalReport } from '../result.js'
import { escapeXml } from './escape.js'
import { reportFacts, reportNotes, reportTitle } from './facts.js'
import { reportFigures } from './figures.js'
import { NONE } from './format.js'
import { NARROW_PAGE } from './panel.js'
import { type Figure, FONT, figureStyle, figureSvg } from './svg.js'
import type { Table } from './table.js'
import { reportTables } from './tables.js'

/** One page without scripts that loads nothing: figures are inline, and every number stands in a table. */
export function reportHtml(report: EvalReport): string {
  const title = escapeXml(reportTitle(report))
  const tables = reportTables(report)
  const narrow = reportFigures(report, NARROW_PAGE)
  const figures = reportFigures(report).map((figure, i) => figureHtml(figure, narrow[i]!))
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
${figures.length === 0 ? '' : `<h2>Figures</h2>\n${figures.join('\n')}`}
${others.map(tableHtml).join('\n')}
</main>
</body>
</html>
`
}

/** The figure as it is laid out for screens and for phones; the style sheet shows one of them. */
function figureHtml(wide: Figure, narrow: Figure): string {
  const phone = figureSvg({ ...narrow, name: `${narrow.name}-narrow` }, 'none')
  return (
    `<figure><div class="wide">${figureSvg(wide, 'none')}</div><div class="narrow">${phone}</div>` +
    `<figcaption>${escapeXml(wide.description)}</figcaption></figure>`
  )
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
  const shared = columns.filter((column) => column.shared).length
  const own = columns.slice(shared)
  const kind = own.map((column) => (column.numeric ? ' class="number"' : ''))
  const head = own.map((column, c) => `<th scope="col"${kind[c]}>${escapeXml(column.name)}</th>`).join('')
  const rowHtml = (row: readonly string[]) => {
    const cells = row.slice(shared).map((cell, c) => {
      return `<td${cell.length > LONG ? ' class="long"' : kind[c]}>${cellHtml(cell)}</td>`
    })
    return `<tr>${cells.join('')}</tr>`
  }
  const bodies = blocksOf(rows, shared).map((block) => {
    const heading = blockHeading(columns, block[0]!.slice(0, shared))
    const line =
      heading === ''
        ? ''
        : `<tr class="block"><th scope="rowgroup" colspan="${own.length}"><span>${escapeXml(heading)}</span></th></tr>`
    return `<tbody>${line}${block.map(rowHtml).join('')}</tbody>`
  })
  const empty = rows.length === 0 ? `<tbody><tr><td colspan="${own.length}">${NONE}</td></tr></tbody>` : ''
  // A region that scrolls must be reachable by keyboard.
  return (
    `<div class="scroll" role="region" aria-label="${escapeXml(title)}" tabindex="0"><table><thead><tr>${head}</tr></thead>` +
    `${bodies.join('')}${empty}</table></div>`
  )
}

/** Rows in a row whose first `shared` cells are the same. */
function blocksOf(rows: Table['rows'], shared: number): string[][][] {
  const blocks: string[][][] = []
  for (const row of rows) {
    const before = blocks[blocks.length - 1]?.[0]
    if (before?.slice(0, shared).every((cell, c) => cell === row[c])) blocks[blocks.length - 1]!.push([...row])
    else blocks.push([[...row]])
  }
  return blocks
}

/** `sst2 · classification · shots 5`: numbers need their names. */
function blockHeading(columns: Table['columns'], cells: readonly string[]): string {
  return cells
    .map((cell, c) => (columns[c]!.numeric ? `${columns[c]!.name} ${cell}` : cell))
    .filter((text) => text !== '')
    .join(' · ')
}

/** Characters of a cell beyond which its text may break. */
const LONG = 28

/** Intervals go below their estimate, which keeps wide tables on the page. */
function cellHtml(cell: string): string {
  return escapeXml(cell).replace(/(?<=^[-+]?[\d.]+ )\[[^[\]]*\]$/, '<span>$&</span>')
}

/** Pixels of a window up to which figures are laid out for a phone. */
const PHONE = 760

// The shade at an end of a table stays while there is more beyond it: covers of the page's colour move along with the table.
const PAGE_STYLE =
  ':root{color-scheme:light dark;--text:#1b1f24;--dim:#57606a;--line:#d8dde3;--back:#ffffff;--band:#f5f7f9;--veil:#8090a014;--shade:#1b1f2466}' +
  '@media (prefers-color-scheme: dark){:root{--text:#e6e9ed;--dim:#a3abb5;--line:#2c3239;--back:#14171b;--band:#1b1f25;--veil:#8090a01c;--shade:#c3cad280}}' +
  `body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 ${FONT}}` +
  'main{max-width:1320px;margin:0 auto;padding:24px 20px 64px}' +
  'h1{font-size:26px;line-height:1.2;margin:8px 0 16px;overflow-wrap:anywhere}h2{font-size:19px;margin:36px 0 10px}' +
  'dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0 0 16px}dt{color:var(--dim)}' +
  'dd{margin:0;overflow-wrap:anywhere}' +
  '.notes{padding:10px 16px 10px 32px;margin:0;background:var(--band);border-left:3px solid var(--dim)}' +
  'figure{margin:20px 0 28px}figure svg{display:block;max-width:100%;height:auto}.narrow{display:none}' +
  'li,figcaption,.note{overflow-wrap:anywhere}figcaption,.note{color:var(--dim);font-size:13px;margin:6px 0 0;max-width:120ch}' +
  '.scroll{overflow-x:auto;background:' +
  'linear-gradient(to right,var(--back) 50%,transparent) 0 0/48px 100% no-repeat local,' +
  'linear-gradient(to left,var(--back) 50%,transparent) 100% 0/48px 100% no-repeat local,' +
  'linear-gradient(to right,var(--shade),transparent) 0 0/16px 100% no-repeat scroll,' +
  'linear-gradient(to left,var(--shade),transparent) 100% 0/16px 100% no-repeat scroll}' +
  'table{border-collapse:separate;border-spacing:0;font-size:13px;font-variant-numeric:tabular-nums}' +
  'th,td{padding:4px 8px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}' +
  'thead th{border-bottom-width:2px;vertical-align:bottom}td{white-space:nowrap}' +
  'td.long{white-space:normal;overflow-wrap:anywhere;min-width:24ch}' +
  '.number{text-align:right}.number span{display:block;color:var(--dim);font-size:11px}' +
  'tr:nth-child(even) td{background:var(--veil)}' +
  // What a row is about stays while its numbers scroll.
  'tr:not(.block)>:first-child{position:sticky;left:0;background:var(--back);border-right:1px solid var(--line)}' +
  'tr:nth-child(even) td:first-child{background:var(--band)}' +
  '.block th{padding-top:14px}.block span{position:sticky;left:8px;display:inline-block;max-width:calc(100vw - 56px);overflow-wrap:anywhere}' +
  'details{margin:28px 0}summary{font-size:19px;font-weight:700;cursor:pointer}' +
  `@media screen and (max-width:${PHONE}px){main{padding:16px 16px 48px}h1{font-size:22px}.wide{display:none}.narrow{display:block}` +
  '.narrow svg{width:100%;max-width:520px}td.long,tr:not(.block)>td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:13ch;max-width:42vw}}' +
  '@media print{details::details-content{content-visibility:visible}figure{break-inside:avoid}}'
