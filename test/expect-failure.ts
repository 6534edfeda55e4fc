import { expect } from 'vitest'
import type { Ended } from './cli-runner.js'

/** One line on stderr that says why, and nothing else. */
export function expectFailure(ended: Ended, code: number, line: RegExp): void {
  expect(ended.code).toBe(code)
  expect(ended.stdout).toBe('')
  expect(ended.stderr).toMatch(/^shoal: [^\n]+\n$/)
  expect(ended.stderr).toMatch(line)
}
