import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { expect, it } from 'vitest'

// Imports point one way, those of types included: a circle is two concepts that cannot be read apart.

const SRC = resolve('src')

/** By file, the files of `src/` that it imports. */
function imports(): Map<string, readonly string[]> {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
  )
  return new Map(
    files.map((name) => {
      const path = join(SRC, name)
      const named = readFileSync(path, 'utf8').matchAll(/(?:\bfrom|\bimport\() ?'(\.[^']+)\.js'/g)
      return [path, [...named].map(([, other]) => `${resolve(path, '..', other!)}.ts`)]
    }),
  )
}

/** A circle that a file is on or leads to, beginning and ending with the same file; null where there is none. */
function circleFrom(
  file: string,
  graph: Map<string, readonly string[]>,
  path: string[],
  done: Set<string>,
): string[] | null {
  if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
  if (done.has(file)) return null
  for (const other of graph.get(file) ?? []) {
    const circle = circleFrom(other, graph, [...path, file], done)
    if (circle !== null) return circle
  }
  done.add(file)
  return null
}

it('no file imports itself by way of others', () => {
  const graph = imports()
  expect(graph.size).toBeGreaterThan(300)
  const done = new Set<string>()
  for (const file of graph.keys()) {
    const circle = circleFrom(file, graph, [], done)
    expect(circle?.map((name) => relative(SRC, name)).join(' -> ')).toBeUndefined()
  }
})
