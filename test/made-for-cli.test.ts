import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Cli } from '../src/cli/cli.js'
import { refuseOtherDepth } from '../src/cli/made-for.js'
import { parseDepth } from '../src/depth/spec.js'
import type { Model } from '../src/engine/api.js'
import { type Ended, shoal } from './cli-runner.js'
import { useWorkspace } from './workspace.js'

const MODEL = 'ripple-8m-unified2x'
const OWN = 'layers:0,2,4,6,8,10,12,15'
const SHORT = ['--max-tokens', '2', '--threads', '1']

const workspace = useWorkspace()

const run = (...args: string[]): Promise<Ended> => shoal(['run', MODEL, 'Once', ...SHORT, ...args])

describe('lossless output', () => {
  const model = (depth: string): Model =>
    ({
      name: 'm',
      settings: { depth },
      hyperparameters: { layers: 16 },
      policy: async (spec: string) => parseDepth(spec, { layers: 16 }),
    }) as unknown as Model
  const drafts = parseDepth('exit:7', { layers: 16 })
  const cli = { stderr: { write: () => true }, signal: new AbortController().signal } as unknown as Cli

  it('counts as full depth, whatever drafts it', async () => {
    await refuseOtherDepth(cli, model('full'), drafts, { lossless: true })
    await expect(refuseOtherDepth(cli, model('full'), drafts, {})).rejects.toThrow(/and exit:7 runs other layers/)
    const own = parseDepth(OWN, { layers: 16 })
    await expect(refuseOtherDepth(cli, model(OWN), own, { lossless: true })).rejects.toThrow(
      /was made for layers:.*--lossless, which gives the output of full depth, runs other layers; --force/,
    )
    await refuseOtherDepth(cli, model(OWN), own, { lossless: true, force: true })
  })
})

describe('a checkpoint that was made for a plan', () => {
  it('runs that plan where no depth is named', async () => {
    const { code, stdout, stderr } = await run('--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(JSON.parse(stdout)).toMatchObject({ depth: OWN, depths: [16, 8] })
  })

  it.each([
    'full',
    'layers:0,2,4,6,8,10,12,14',
    'unified:2x,by=layers',
    'bottom:8',
    'exit:7',
    'gap:0.8',
    'skipdecode:2x',
  ])('is not run with %s', async (depth) => {
    const { code, stdout, stderr } = await run('--depth', depth)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(
      /^shoal: ripple-8m-unified2x was made for layers:0,2,4,6,8,10,12,15, and \S+ runs other layers; --force runs it anyway\n$/,
    )
  })

  it('is run with another depth under --force, which says so', async () => {
    const { code, stdout, stderr } = await run('--depth', 'full', '--force', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ depth: 'full' })
    expect(stderr).toBe(`shoal: note: ${MODEL} was made for ${OWN}, and full runs other layers\n`)
  })

  it('is run with the same layers, however they are spelled', async () => {
    expect(await run('--depth', ' layers:0, 2,4,6,8,10,12,15 ')).toMatchObject({ code: 0, stderr: '' })
    const { code, stderr } = await run('--depth', `${OWN},prompt=plan`)
    expect(code).toBe(0)
    expect(stderr).toMatch(/made for the prompt at full depth, and this runs the plan in the prompt too\n$/)
  })

  it('is the same as a GGUF file, in a chat and with many prompts', async () => {
    const gguf = join(workspace.folder, 'made.gguf')
    writeFileSync(join(workspace.folder, 'prompts.jsonl'), '{"prompt":"Once"}\n')
    expect(await shoal(['convert', MODEL, '-o', gguf])).toMatchObject({ code: 0 })
    for (const args of [
      ['run', gguf, 'Once'],
      ['chat', MODEL],
      ['run', MODEL, '--prompts', join(workspace.folder, 'prompts.jsonl')],
    ]) {
      const refused = await shoal([...args, ...SHORT, '--depth', 'full'], { input: 'Hello\n' })
      expect(refused).toMatchObject({ code: 2, stdout: '' })
      expect(refused.stderr).toMatch(/was made for layers:.*--force runs it anyway\n$/)
      expect(await shoal([...args, ...SHORT, '--depth', 'full', '--force'], { input: 'Hello\n' })).toMatchObject({
        code: 0,
      })
    }
  })

  it('is measured under any depth, and a line says which it was not made for', async () => {
    const notes = async (...args: string[]): Promise<string> => {
      const { code, stderr } = await shoal([...args, '--threads', '1', '--json'])
      expect(code).toBe(0)
      return stderr
    }
    const made = `shoal: note: ${MODEL} was made for ${OWN}, not for`
    expect(await notes('score', MODEL, '--tokens', '1,2,3', '--depth', 'full')).toBe(`${made} full\n`)
    expect(await notes('score', MODEL, '--tokens', '1,2,3')).toBe('')
    expect(await notes('trace', MODEL, '--tokens', '1,2,3')).toBe(`${made} full\n`)
    const task = ['--task', 'capitalize', '--limit', '1', '--depth', 'gap:0.8']
    expect(await notes('eval', 'answers', MODEL, ...task)).toContain(`${made} gap:0.8\n`)
    const bench = ['--prompt-length', '2', '--max-tokens', '2', '--rounds', '1', '--batch', '1']
    expect(await notes('bench', MODEL, ...bench, '--depth', 'full', '--depth', OWN)).toBe(`${made} full\n`)
  })
})
