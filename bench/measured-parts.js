import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Measures named parts once for what they depend on and keeps them in a folder: a stop loses one part at most. */
export function measuredParts(folder) {
  mkdirSync(folder, { recursive: true })
  return async (name, facts, measure) => {
    const path = join(folder, `${name}.json`)
    const key = JSON.stringify(facts)
    if (existsSync(path)) {
      const known = JSON.parse(readFileSync(path, 'utf8'))
      if (known.key === key) return known.value
    }
    const started = performance.now()
    const value = await measure()
    writeFileSync(`${path}.partial`, JSON.stringify({ key, value }))
    renameSync(`${path}.partial`, path)
    console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s`)
    return value
  }
}
