import { readFileSync } from 'node:fs'
import { shoal } from '../cli-runner.js'

/**
 * Runs command lines one after the other and prints a line of JSON for each before and after it, so that the parent knows
 * which one never came back. In a process of its own, whose memory is theirs alone.
 */
const cases = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as { name: string; args: string[] }[]
for (const { name, args } of cases) {
  process.stdout.write(`${JSON.stringify({ name })}\n`)
  const before = process.resourceUsage().maxRSS
  const start = performance.now()
  const { code, stderr } = await shoal(args, { env: process.env })
  const ms = performance.now() - start
  const megabytes = (process.resourceUsage().maxRSS - before) / 1024
  process.stdout.write(`${JSON.stringify({ name, code, stderr, ms, megabytes })}\n`)
}
