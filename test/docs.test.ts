import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(root, 'docs')).flatMap((name) => (name.endsWith('.md') ? [`docs/${name}`] : [])),
]

interface Link {
  readonly page: string
  /** From the root; empty for the page itself. */
  readonly path: string
  readonly anchor: string
}

/** Links and images that do not lead to another site. */
function linksOf(page: string): Link[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^[a-z]+:/.test(target)) return []
    const [file = '', anchor = ''] = target.split('#')
    return [{ page, path: file === '' ? page : normalize(join(dirname(page), file)), anchor }]
  })
}

/** Anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): string[] {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '')
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  )
}

const links = PAGES.flatMap(linksOf)

it('every link of README and docs leads to a file and a heading of the checkout', () => {
  expect(links.length).toBeGreaterThan(40)
  const broken = links.filter(
    ({ path, anchor }) =>
      !existsSync(join(root, path)) || (anchor !== '' && path.endsWith('.md') && !anchorsOf(path).includes(anchor)),
  )
  expect(broken).toEqual([])
})

it('every link of README and docs leads to a file of the packed archive', () => {
  const list = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    shell: process.platform === 'win32',
  })
  const [{ files }] = JSON.parse(list) as [{ files: { path: string }[] }]
  const packed = files.map(({ path }) => path)
  const missing = links.filter(
    ({ page, path }) =>
      packed.includes(page) && !packed.some((file) => file === path || file.startsWith(`${path.replace(/\/$/, '')}/`)),
  )
  expect(missing).toEqual([])
  expect(packed).toEqual(expect.arrayContaining(['README.md', 'docs/cli.md', 'examples/generate.js']))
  expect(packed.filter((path) => /^(src|test|bench|\.ci)\//.test(path))).toEqual([])
})

it('no page has a gap that was to be filled', () => {
  for (const page of PAGES) expect(readFileSync(join(root, page), 'utf8'), page).not.toMatch(/@@\w*@@|\bTODO\b/)
})
