import { readFileSync } from 'node:fs'
import { shoal } from '../cli-runner.js'

/**
 * Runs command lines one after the other and prints a line of JSON for each before and after it, so that the parent knows
 * which one never came back. In a process of its own, whose memory is theirs alone.
 */
const cases = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as { name: string; args: string[] }[]
// Loads what all of them need.
await shoal(['run', '--tokens', '1', '--max-tokens', '1', '--threads', '1'], { env: process.env })
for (const { name, args } of cases) {
  process.stdout.write(`${JSON.stringify({ name })}\n`)
  const before = process.resourceUsage().maxRSS
  const start = performance.now()
  const { code, stderr: all } = await shoal([...args, '--verbose'], { env: process.env })
  const ms = performance.now() - start
  const megabytes = (process.resourceUsage().maxRSS - before) / 1024
  // With --verbose the stack follows the line for people, and begins with the error's class.
  const lines = all.split('\n').filter((line) => line !== '' && !line.startsWith('shoal: warning: '))
  const stack = lines.findIndex((line) => /^\w*Error\b/.test(line))
  const stderr = (stack < 0 ? lines : lines.slice(0, stack)).join('\n')
  const error = stack < 0 ? null : /^\w+/.exec(lines[stack]!)![0]
  process.stdout.write(`${JSON.stringify({ name, code, error, stderr, ms, megabytes })}\n`)
}
