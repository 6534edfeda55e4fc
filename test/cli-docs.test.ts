import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { shoal } from './cli-runner.js'

const page = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8')

it.each([
  'run',
  'chat',
  'trace',
  'score',
  'tokenize',
  'plan',
  'convert',
  'export',
  'eval',
  'reproduce',
  'calibrate',
  'search',
  'policy',
  'metrics',
  'bench',
  'models',
])('docs/cli.md has the help of %s as it is (npm run docs writes it)', async (command) => {
  const { stdout } = await shoal([command, '--help'])
  expect(page).toContain(stdout.trim())
})
