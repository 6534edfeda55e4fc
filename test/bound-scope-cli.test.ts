import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { type Ended, shoal } from './cli-runner.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()

const PROMPTS = {
  template: 'Q: {input}\nA: {output}\n\n',
  shots: 1,
  draws: 1,
  seed: 0,
  sampling: 'greedy',
  max_tokens: 4,
} as const
const PROMPT = 'Q: fig, dog\nA: fig\n\nQ: cat, plum\nA:'
const OTHER = 'Once upon a time'

/** A policy with a bound that holds for greedy sequences of four tokens after one shot. */
function boundedPolicy(name: string, measure: 'any' | 'mean', prompts: object | null = PROMPTS): string {
  const policy = JSON.parse(readFileSync('examples/policies/crf.policy.json', 'utf8')) as { bound: object }
  const path = join(workspace.folder, name)
  writeFileSync(
    path,
    JSON.stringify({ ...policy, prompts, bound: { ...policy.bound, unit: 'sequence', holds: true, measure } }),
  )
  return `adainfer:${path}`
}

const run = (prompt: string, depth: string, ...more: string[]): Promise<Ended> =>
  shoal(['run', 'ripple-8m', prompt, '--depth', depth, '--threads', '1', ...more])

it.each([
  ['prompts that are written otherwise', OTHER, ['--max-tokens', '4'], /this prompt is not written so/],
  ['another number of shots', 'Q: cat, plum\nA:', ['--max-tokens', '4'], /this prompt is not written so/],
  ['longer sequences', PROMPT, [], /sequences have another length \(--max-tokens 4\)/],
  ['sampling', PROMPT, ['--max-tokens', '4', '--temperature', '1'], /tokens are chosen in another way/],
  ['beams', PROMPT, ['--max-tokens', '4', '--beams', '2'], /tokens are chosen in another way/],
])('a bound on generated sequences is refused for %s', async (_, prompt, more, why) => {
  const { code, stdout, stderr } = await run(prompt, boundedPolicy('any.json', 'any'), ...more)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(/the bound of .* holds for greedy sequences of at most 4 tokens after prompts of/)
  expect(stderr).toMatch(why)
  expect(stderr).toMatch(/--force runs it without a bound/)
})

it('a bound holds where everything is as it says, and --force runs without one', async () => {
  const depth = boundedPolicy('any.json', 'any')
  for (const tokens of ['4', '2']) {
    expect(await run(PROMPT, depth, '--max-tokens', tokens, '--json')).toMatchObject({ code: 0 })
  }
  const forced = await run(OTHER, depth, '--max-tokens', '4', '--force', '--json')
  expect(forced.code).toBe(0)
  expect(forced.stderr).toMatch(/note: the bound of .* does not hold here: this prompt is not written so/)
  expect(await run(OTHER, depth, '--lossless', '--max-tokens', '2')).toMatchObject({ code: 0 })
})

it('a mean share of tokens is bounded for one length, and a bound that names no prompts for none', async () => {
  const shorter = await run(PROMPT, boundedPolicy('mean.json', 'mean'), '--max-tokens', '2')
  expect(shorter.stderr).toMatch(/sequences have another length/)
  const unknown = await run(PROMPT, boundedPolicy('unknown.json', 'any', null), '--max-tokens', '4')
  expect(unknown).toMatchObject({ code: 2 })
  expect(unknown.stderr).toMatch(/do not say how they were asked for; those of shoal trace --task do/)
})

it('every prompt of a file must be written as the bound has it, and a chat is not', async () => {
  const depth = boundedPolicy('any.json', 'any')
  const file = join(workspace.folder, 'prompts.jsonl')
  writeFileSync(file, [PROMPT, OTHER].map((prompt) => `${JSON.stringify({ prompt })}\n`).join(''))
  const how = ['--depth', depth, '--max-tokens', '4', '--threads', '1']
  const many = await shoal(['run', 'ripple-8m', '--prompts', file, ...how])
  expect(many.stderr).toMatch(/prompt 1 is not written so; --force/)
  const chat = await shoal(['chat', 'ripple-8m', ...how], { input: 'Hello\n' })
  expect(chat).toMatchObject({ code: 2 })
})
