import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const workspace = useWorkspace()

interface Case {
  readonly input_ids: number[]
  readonly num_beams: number
  readonly no_repeat_ngram_size: number
  readonly max_new_tokens: number
  readonly sequences: number[][]
  readonly scores: number[]
}
const [reference] = JSON.parse(readFileSync(new URL('./fixtures/beam/beam.json', import.meta.url), 'utf8')) as [Case]
const BEAMS = [
  '--beams',
  '4',
  '--no-repeat-ngram',
  '3',
  '--length-penalty',
  '1',
  '--max-tokens',
  '24',
  '--threads',
  '1',
]

interface Found {
  readonly tokens: number[]
  readonly text: string
  readonly beams: readonly { readonly tokens: number[]; readonly text: string; readonly score: number }[]
}

describe('run --beams', () => {
  it("prints transformers' beams and scores", async () => {
    const args = ['run', '--tokens', reference.input_ids.join(), ...BEAMS, '--json']
    const { code, stdout, stderr } = await shoal(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { tokens, text, beams } = matches('run', stdout) as unknown as Found
    expect(beams.map((b) => b.tokens)).toEqual(reference.sequences)
    beams.forEach((beam, i) => {
      expect(beam.score).toBeCloseTo(reference.scores[i]!, 5)
    })
    expect({ tokens, text }).toEqual({ tokens: beams[0]!.tokens, text: beams[0]!.text })
  })

  it('shows the best text and the line of figures, and all texts with --verbose', async () => {
    const args = [
      'run',
      'The sea',
      '--beams',
      '3',
      '--max-tokens',
      '6',
      '--depth',
      'exit:11',
      '--length-penalty',
      '-0.5',
      '--threads',
      '1',
    ]
    const { beams } = matches('run', (await shoal([...args, '--json'])).stdout) as unknown as Found
    const plain = await shoal(args)
    expect(plain).toMatchObject({ code: 0, stderr: '' })
    expect(plain.stdout.startsWith(`${beams[0]!.text}\n\n`)).toBe(true)
    const figures =
      /\n\n6 tokens · mean depth 12\.0 of 16 · [\d.]+ tok\/s · f32 · 3 beams, [\d.]+ layers computed .*\n$/
    expect(plain.stdout).toMatch(figures)
    const verbose = await shoal([...args, '--verbose'])
    expect(verbose.stdout).toMatch(figures)
    for (const { text, score } of beams)
      expect(verbose.stdout).toContain(`${score.toFixed(4)}  ${JSON.stringify(text)}\n`)
  })

  it('goes with --prompts, one line for each, and does not go on in a file of another kind', async () => {
    const prompts = join(workspace.folder, 'prompts.jsonl')
    const out = join(workspace.folder, 'results.jsonl')
    writeFileSync(prompts, `${JSON.stringify({ tokens: reference.input_ids })}\n{"prompt": "A king", "id": 7}\n`)
    const args = ['run', '--prompts', prompts, ...BEAMS]
    const written = await shoal([...args, '--out', out, '--json'])
    expect(matches('run-prompts', written.stdout)).toMatchObject({ finished: 2, failed: 0, tokens: 48 })
    const [first, second] = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => matches('run-line', line) as unknown as Found & { id?: number })
    expect(first!.beams.map((b) => b.tokens)).toEqual(reference.sequences)
    expect(second).toMatchObject({ id: 7, tokens: second!.beams[0]!.tokens })
    const single = matches('run-prompts', (await shoal([...args, '--json'])).stdout)
    expect((single.results as Found[])[0]!.beams).toEqual(first!.beams)

    const without = ['run', '--prompts', prompts, '--out', out, '--max-tokens', '2']
    expect(await shoal(without)).toMatchObject({ code: 1, stderr: `shoal: ${out}: line 1 was made with --beams\n` })
    expect((await shoal([...args, '--out', out])).stdout).toMatch(/^0 of 0 prompts \(2 were finished before\)/)
  })

  it('ends with 130 after Ctrl-C', async () => {
    const controller = new AbortController()
    const ended = shoal(['run', 'The sea', '--beams', '4', '--ignore-eos', '--max-tokens', '900'], {
      signal: controller.signal,
    })
    setTimeout(() => controller.abort(), 200)
    expect(await ended).toEqual({ code: 130, stdout: '', stderr: '' })
  })

  it.each([
    [['--beams', '0'], /--beams .*from 1 to 128/],
    [['--length-penalty', '1'], /--length-penalty goes with --beams N/],
    [['--beams', '2', '--length-penalty', 'long'], /--length-penalty .*It must be a number\./],
    [
      ['--beams', '2', '--temperature', '0.5'],
      /--beams takes the most probable text; it does not go with --temperature/,
    ],
    [['--beams', '2', '--stop', 'x', '--repetition-penalty', '1.2'], /--repetition-penalty and --stop/],
    [['--beams', '2', '--show-depth'], /--beams does not go with --show-depth/],
    [['--no-repeat-ngram', '-1'], /--no-repeat-ngram .*at least 0/],
  ])('refuses %j', async (options, line) => {
    const { code, stdout, stderr } = await shoal(['run', 'x', ...options])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^shoal: [^\n]+\n$/)
    expect(stderr).toMatch(line)
  })

  it('refuses --batch', async () => {
    const { code, stderr } = await shoal(['run', '--prompts', 'x.jsonl', '--beams', '2', '--batch', '2'])
    expect({ code, stderr }).toEqual({ code: 2, stderr: 'shoal: --beams does not go with --batch\n' })
  })
})

describe('run --no-repeat-ngram', () => {
  it('lets no n tokens in a row come twice, those of the prompt counted', async () => {
    const args = ['run', 'The sea, the sea, the sea', '--max-tokens', '60', '--ignore-eos', '--threads', '1', '--json']
    const repeats = ({ prompt_tokens, tokens }: Record<string, unknown>) => {
      const prompt = prompt_tokens as number[]
      const all = [...prompt, ...(tokens as number[])]
      const pairs = all.slice(1).map((id, i) => `${all[i]} ${id}`)
      return pairs.filter((pair, i) => i + 1 >= prompt.length && pairs.indexOf(pair) < i).length
    }
    expect(repeats(matches('run', (await shoal(args)).stdout))).toBeGreaterThan(0)
    for (const more of [[], ['--temperature', '0.8', '--seed', '3']]) {
      const { stdout } = await shoal([...args, '--no-repeat-ngram', '2', ...more])
      expect(repeats(matches('run', stdout))).toBe(0)
    }
  })
})
