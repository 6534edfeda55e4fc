import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { openSafetensors } from '../src/checkpoint/safetensors.js'
import { shoal } from './cli-runner.js'
import { expectFailure } from './expect-failure.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

const COMMANDS = ['run', 'chat', 'trace', 'score', 'plan', 'convert', 'eval', 'calibrate', 'policy', 'bench', 'models']

const workspace = useWorkspace()

/** Exit code 0, one JSON document and nothing else on stdout, nothing on stderr, and the document fits its schema. */
async function json(schema: string, args: readonly string[], input = ''): Promise<Record<string, unknown>> {
  const ended = await shoal([...args, '--json'], { input })
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  expect(ended.stdout.trimEnd()).not.toContain('\n')
  return matches(schema, ended.stdout)
}

describe('help', () => {
  it.each(COMMANDS)('%s --help shows usage and examples', async (command) => {
    const { code, stdout, stderr } = await shoal([command, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: shoal ${command}`))
    expect(stdout).toContain('Examples:')
    expect(await shoal(['help', command])).toMatchObject({ code: 0 })
  })

  it('lists every command, without arguments too', async () => {
    for (const args of [[], ['--help'], ['-h'], ['help']]) {
      const { code, stdout } = await shoal(args)
      expect(code).toBe(0)
      for (const command of COMMANDS) expect(stdout).toContain(`\n  ${command} `)
      expect(stdout).toContain('Examples:')
    }
  })

  it('knows its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
    expect(await shoal(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
  })
})

describe('wrong usage ends with 2 and one line', () => {
  it.each([
    [['fly'], /unknown command fly; known: run, chat, .*, models$/m],
    [['rn', 'a'], /unknown command rn; .*; did you mean run\?/],
    [['rn', 'a', '--depth', 'gap:0.8'], /unknown command rn; /],
    [['run'], /a PROMPT is missing/],
    [['run', 'a', 'b', 'c'], /too many arguments/],
    [['run', 'x', '--kv-memory', '1k'], /kvMemory must be a whole number of bytes, of at least \d+/],
    [['run', 'x', '--bogus'], /unknown option '--bogus'/],
    [['run', 'x', '--max-tokens', 'many'], /--max-tokens .*whole number/],
    [['run', 'x', '--temperature', '-1'], /--temperature .*number/],
    [['run', '--tokens', '1,b'], /--tokens .*token ids/],
    [['run', 'ripple-8m', 'p', '--tokens', '1'], /a PROMPT does not stand beside --tokens/],
    [['run', 'x', '--out', 'file'], /go with --prompts/],
    [['run', 'x', '--quantization', 'q9'], /--quantization .*f32, f16/],
    [['trace'], /a PROMPT is missing/],
    [['run', 'x', '--device', 'cuda'], /device cuda is not available/],
    [['run', 'x', '--depth', 'gap:0.8,speed=1'], /unknown key "speed".*known: from, every, layers/],
    [['run', 'x', '--depth', 'warp:9'], /unknown kind "warp"; known: .*gap/],
    [['run', 'x', '--depth', 'layers:0,99'], /layer 99 does not exist; the model has 16 layers/],
    [['run', '--tokens', '1,99999'], /token id 99999/],
    [['score', '--tokens', '1,2', '--prompt-length', '3'], /prompt length/],
    [['plan', '--layers', '4', '--depth', 'exit:4'], /layer 4 does not exist/],
    [['run', 'x', '--depth', 'gapp:0.8'], /unknown kind "gapp"; .*; did you mean gap\?/],
    [['run', 'x', '--depth', 'gap:0.8,evry=2'], /unknown key "evry" .*; did you mean every\?/],
    [['run', 'x', '--seed', '-2'], /--seed .*whole number/],
    [['run', 'x', '--lossles'], /unknown option '--lossles' \(Did you mean --lossless\?\)/],
    [['eval'], /shoal eval needs one of answers, generation, matrix, tasks/],
    [['eval', '--task', 'x'], /shoal eval needs one of answers/],
    [['eval', 'answers'], /--task NAME is missing; shoal eval tasks/],
    [
      ['eval', 'answers', '--task', 'fruit_v_animal'],
      /unknown task fruit_v_animal; the nearest names are fruit_v_animal_3, fruit_v_animal_5, /,
    ],
    [['reproduce', 'nothing'], /nothing is known of nothing/],
    [['export', '--depth', 'gap:0.8', '--format', 'gguf', '-o', 'x.gguf'], /decides while tokens run/],
    [['bench', '--depth', 'unifed:2x'], /did you mean unified\?/],
    [['calibrate', '--traces', 'x', '--policy', 'svm', '-o', 'y'], /--policy .*adainfer-svm/],
    [['search', '--speedup', '2', '--texts', 'x', '--dynamic', '3'], /--dynamic 3 must be one of/],
    [['policy', 'shw', 'x'], /unknown command shw; known: show, apply, import; did you mean show\?/],
    [['policy'], /shoal policy needs one of show, apply, import/],
    [['metrics'], /shoal metrics needs one of bleu, chrf, rouge/],
    [['models', 'remov'], /unknown command remov; known: list, remove; did you mean remove\?/],
    [['score'], /either --tokens IDS or --text FILE/],
    [['score', '--tokens', '1,2', '--text', 'file'], /either --tokens IDS or --text FILE/],
    [['plan', 'ripple-8m', '--layers', '4'], /either MODEL or --layers/],
    [['models', 'remove'], /which models to remove/],
  ])('%j', async (args, line) => expectFailure(await shoal(args), 2, line))
})

it('eval tasks names every task', async () => {
  const { groups } = matches('eval-tasks', (await shoal(['eval', 'tasks', '--json'])).stdout)
  const names = (groups as { tasks: string[] }[]).flatMap(({ tasks }) => tasks)
  expect(names.length).toBeGreaterThanOrEqual(60)
  const { code, stdout } = await shoal(['eval', 'tasks'])
  expect(code).toBe(0)
  for (const name of names) expect(stdout.split(/\s+/)).toContain(name)
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThan(100)
})

describe('an error ends with 1 and one line', () => {
  it.each([
    [['run', 'no-such-model', 'x'], /^shoal: no-such-model: no such folder, GGUF file or bundled model/],
    [['run', 'x', '--context', '1'], /context/],
    [
      ['run', 'x', '--kv-memory', '8M', '--max-tokens', '3000'],
      /need 12 MiB of KV cache, and 6 MiB, in slots of 256 tokens, is all/,
    ],
    [['score', '--text', 'no-such-file.txt'], /no-such-file\.txt: no such file/],
    [['run', '--prompts', 'no-such-file.jsonl'], /no-such-file\.jsonl: no such file/],
    [['plan', 'no-such/config.json'], /no-such\/config\.json: no such file/],
    [['convert', 'no-such-model'], /no-such-model: no such folder/],
  ])('%j', async (args, line) => expectFailure(await shoal(args), 1, line))

  it('shows a stack trace with --verbose only', async () => {
    const { stderr } = await shoal(['run', 'no-such-model', 'x', '--verbose'])
    expect(stderr).toMatch(/\n\s+at /)
  })
})

it('takes a size for the KV cache', async () => {
  expect((await shoal(['run', 'x', '--kv-memory', '1.5GiB', '--max-tokens', '2'])).code).toBe(0)
  const { code, stderr } = await shoal(['run', 'x', '--kv-memory', 'much'])
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/such as 512M or 2G/) as string })
})

describe('run', () => {
  it('--json prints one document that fits its schema', async () => {
    const result = await json('run', ['run', 'Once upon a time', '--max-tokens', '8'])
    expect(result).toMatchObject({ model: 'ripple-8m', quantization: 'f32', depth: 'full', layers: 16, mean_depth: 16 })
    expect(result.tokens).toHaveLength(8)
    expect(result.finish_reason).toBe('length')
  })

  it('streams the text and ends with the line of figures', async () => {
    const { code, stdout, stderr } = await shoal(['run', 'ripple-8m', 'Once upon a time', '--max-tokens', '8'])
    const { text } = await json('run', ['run', 'Once upon a time', '--max-tokens', '8'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [shown, line] = stdout.split('\n\n')
    expect(shown).toBe(text)
    expect(line).toMatch(/^8 tokens · mean depth 16\.0 of 16 · [\d.]+ tok\/s · f32\n$/)
  })

  it('reads the prompt from stdin, and ids from --tokens', async () => {
    const piped = await json('run', ['run', '-', '--max-tokens', '4'], 'Once upon a time\n')
    const { prompt_tokens, tokens } = await json('run', ['run', 'Once upon a time', '--max-tokens', '4'])
    expect(piped).toMatchObject({ prompt_tokens, tokens })
    const ids = await json('run', ['run', '--tokens', (prompt_tokens as number[]).join(','), '--max-tokens', '4'])
    expect(ids).toMatchObject({ prompt_tokens, tokens })
  })

  it('takes 0 for filters that are off, and -1 for a new seed', async () => {
    const args = ['run', 'Once upon a time', '--max-tokens', '4', '--threads', '1']
    const plain = await json('run', args)
    const off = await json('run', [...args, '--top-k', '0', '--no-repeat-ngram', '0', '--seed', '-1'])
    expect(off.tokens).toEqual(plain.tokens)
    expect(off.seed).toBeGreaterThanOrEqual(0)
    const again = await json('run', [...args, '--seed', '-1'])
    expect(again.seed).not.toBe(off.seed)
  })

  it('--explain-pass tells what runs, a line for each pass', async () => {
    const args = ['run', '--tokens', '1,2,3', '--max-tokens', '2', '--depth', 'exit:7', '--explain-pass']
    const { code, stderr } = await shoal(args)
    expect(code).toBe(0)
    const passes = stderr.split('\n').filter((line) => line.includes('sequence'))
    expect(passes.map((line) => line.replace(/of sequence \d+/g, '').replace(/: sequence \d+/, ':'))).toEqual([
      'shoal: embedding, layers 0-7, rows 0-2 : ends',
      'shoal: embedding, layers 0-7, row 3 : ends',
    ])
    expectFailure(await shoal(['run', '--prompts', 'x.jsonl', '--explain-pass']), 2, /does not go with --prompts/)
  })

  it('--show-depth writes depths as small digits without colours, and colours where they are forced', async () => {
    const args = ['run', 'Once upon a time', '--max-tokens', '3', '--depth', 'exit:7', '--show-depth']
    const plain = await shoal(args)
    expect(plain.stdout.match(/⁸/g)).toHaveLength(3)
    expect(plain.stdout).not.toContain('\u001b')
    const colored = await shoal(args, { env: { FORCE_COLOR: '3' } })
    expect(colored.stdout).toContain('\u001b[38;2;')
    expect(colored.stdout).toMatch(/layers run: /)
    expect((await shoal(args, { env: { FORCE_COLOR: '0' } })).stdout).not.toContain('\u001b')
  })

  it('ends with 130 and the line of what was done after Ctrl-C', async () => {
    const controller = new AbortController()
    let stdout = ''
    const write = (text: string): void => {
      stdout += text
      if (stdout.length > 20) controller.abort()
    }
    const { code, stderr } = await shoal(['run', 'Once upon a time', '--max-tokens', '900', '--ignore-eos'], {
      signal: controller.signal,
      stdout: { write },
    })
    expect({ code, stderr }).toEqual({ code: 130, stderr: '' })
    expect(stdout).toMatch(/\n\n\d+ tokens · mean depth 16\.0 of 16 · .* · stopped\n$/)
  })
})

describe('run --prompts', () => {
  const lines = (path: string): Record<string, unknown>[] =>
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => matches('run-line', line))

  it('writes one line per prompt, equal to single runs, and goes on where a run was cut off', async () => {
    const prompts = join(workspace.folder, 'prompts.jsonl')
    const out = join(workspace.folder, 'results.jsonl')
    const texts = ['Once upon a time', 'The sea', 'A king', 'In the night', 'She said']
    writeFileSync(prompts, texts.map((prompt, i) => JSON.stringify({ id: `p${i}`, prompt })).join('\n'))
    const args = ['run', '--prompts', prompts, '--batch', '3', '--max-tokens', '6', '--ignore-eos']
    const summary = matches('run-prompts', (await shoal([...args, '--out', out, '--json'])).stdout)
    expect(summary).toMatchObject({ prompts: 5, finished: 5, skipped: 0, failed: 0, tokens: 30 })

    const whole = lines(out)
    expect(whole.map(({ index }) => Number(index)).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4])
    for (const line of whole) {
      const prompt = texts[line.index as number] as string
      const { tokens } = await json('run', ['run', prompt, '--max-tokens', '6', '--ignore-eos'])
      expect(line).toMatchObject({ prompt, tokens, id: `p${String(line.index)}` })
    }

    // Killed in the middle of the third line.
    const text = readFileSync(out, 'utf8').split('\n')
    writeFileSync(out, `${text[0]}\n${text[1]}\n${text[2]?.slice(0, 40)}`)
    const again = matches('run-prompts', (await shoal([...args, '--out', out, '--json'])).stdout)
    expect(again).toMatchObject({ finished: 3, skipped: 2 })
    const byIndex = (a: Record<string, unknown>, b: Record<string, unknown>): number =>
      Number(a.index) - Number(b.index)
    const tokensOf = (all: Record<string, unknown>[]): unknown[] => all.sort(byIndex).map(({ tokens }) => tokens)
    expect(tokensOf(lines(out))).toEqual(tokensOf(whole))
  })

  it('prints the lines on stdout without --out, and one document with --json', async () => {
    const prompts = join(workspace.folder, 'ids.jsonl')
    writeFileSync(prompts, '{"tokens": [5, 6, 7]}\n\n{"tokens": [8, 9]}\n')
    const args = ['run', '--prompts', prompts, '--max-tokens', '2']
    const printed = await shoal(args)
    expect(printed.code).toBe(0)
    for (const line of printed.stdout.trimEnd().split('\n')) matches('run-line', line)
    expect(printed.stderr).toMatch(/^2 of 2 prompts · 4 tokens/)
    const document = await json('run-prompts', args)
    expect(document.results).toHaveLength(2)
  })

  it('goes on after a prompt that fails, names it, and ends with 1', async () => {
    const prompts = join(workspace.folder, 'bad-id.jsonl')
    const out = join(workspace.folder, 'bad-id.out.jsonl')
    writeFileSync(prompts, '{"tokens": [5, 99999]}\n{"tokens": [8, 9]}\n')
    const { code, stdout, stderr } = await shoal(['run', '--prompts', prompts, '--out', out, '--max-tokens', '2'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^shoal: prompt 0: token id 99999/)
    expect(stdout).toMatch(/^1 of 2 prompts/)
    expect(lines(out)).toHaveLength(1)
  })

  it.each([
    ['not json', /the text of line 1 is not valid JSON/],
    [`{"tokens": ${'['.repeat(300)}`, /the text of line 1 is nested more than 256 deep/],
    ['[1]', /line 1 is not an object/],
    ['{"tokens": []}', /line 1 must have either/],
    ['{"prompt": "x", "tokens": [1]}', /line 1 must have either/],
    ['', /has no prompts/],
  ])('refuses %j before a model is loaded', async (text, reason) => {
    const prompts = join(workspace.folder, 'wrong.jsonl')
    writeFileSync(prompts, text)
    expectFailure(await shoal(['run', workspace.folder, '--prompts', prompts]), 1, reason)
  })

  it.each([
    ['{"prompt": "x", "max_tokens": 3}', /line 1: unknown field "max_tokens"; a line has prompt or tokens, and id$/m],
    ['{"prompt": "x"}\n{"promt": "x"}', /line 2: unknown field "promt"; .*; did you mean prompt\?/],
  ])('refuses fields that it would ignore: %j', async (text, reason) => {
    const prompts = join(workspace.folder, 'fields.jsonl')
    writeFileSync(prompts, text)
    expectFailure(await shoal(['run', workspace.folder, '--prompts', prompts]), 1, reason)
  })

  it.each(['Dear diary', '{"name": "mine"}', '{"name": "mine"}\nand more'])(
    "leaves somebody else's file as it is: %j",
    async (text) => {
      const prompts = join(workspace.folder, 'own.jsonl')
      const out = join(workspace.folder, 'diary.txt')
      writeFileSync(prompts, '{"tokens": [5, 6, 7]}\n')
      writeFileSync(out, text)
      expectFailure(await shoal(['run', '--prompts', prompts, '--out', out]), 1, /line 1 is not a result of shoal run/)
      expect(readFileSync(out, 'utf8')).toBe(text)
    },
  )

  it('does not mix tokens that were chosen in other ways', async () => {
    const prompts = join(workspace.folder, 'sampling.jsonl')
    const out = join(workspace.folder, 'sampling.out.jsonl')
    writeFileSync(prompts, '{"tokens": [5, 6, 7]}\n')
    const args = ['run', '--prompts', prompts, '--out', out, '--max-tokens', '2', '--temperature', '0.5', '--seed', '7']
    expect((await shoal(args)).code).toBe(0)
    expect((await shoal([...args, '--top-k', '0', '--no-repeat-ngram', '0'])).code).toBe(0)
    expectFailure(
      await shoal([...args, '--temperature', '0.8']),
      1,
      /line 1 was made with temperature 0\.5, not 0\.8; give/,
    )
    expectFailure(await shoal([...args, '--seed', '8']), 1, /line 1 was made with seed 7, not 8/)
    expectFailure(await shoal([...args, '--seed', '-1']), 1, /line 1 was made with seed 7, not null/)
    expectFailure(await shoal([...args, '--max-tokens', '3']), 1, /line 1 was made with max-tokens 2, not 3/)
    expectFailure(await shoal([...args, '--top-k', '5']), 1, /line 1 was made with top-k 0, not 5/)
    expectFailure(await shoal([...args, '--stop', 'x']), 1, /line 1 was made with stop \[\], not \["x"\]/)
    // As an earlier version wrote it.
    const { sampling: _, ...line } = JSON.parse(readFileSync(out, 'utf8')) as Record<string, unknown>
    writeFileSync(out, `${JSON.stringify(line)}\n`)
    expect((await shoal([...args, '--seed', '8'])).stdout).toMatch(/1 were finished before/)
  })

  it('does not mix results of other settings or prompts', async () => {
    const prompts = join(workspace.folder, 'one.jsonl')
    const out = join(workspace.folder, 'one.out.jsonl')
    writeFileSync(prompts, '{"tokens": [5, 6, 7]}\n')
    const args = ['run', '--prompts', prompts, '--out', out, '--max-tokens', '2']
    await shoal(args)
    expectFailure(await shoal([...args, '--depth', 'exit:3']), 1, /line 1 was made with depth full, not exit:3/)
    writeFileSync(prompts, '{"tokens": [5, 6, 8]}\n')
    expectFailure(await shoal(args), 1, /line 1 is of another prompt/)
    writeFileSync(out, '{"name": "somebody else\'s"}\n')
    expectFailure(await shoal(args), 1, /line 1 is not a result of shoal run/)
    expect(readFileSync(out, 'utf8')).toBe('{"name": "somebody else\'s"}\n')
  })
})

describe('run under a target speedup', () => {
  const args = ['run', 'Once upon a time', '--max-tokens', '12', '--ignore-eos', '--threads', '1']
  const smallest = ['--depth', 'unified:1.01x']

  it('says target, predicted, delivered and the layers, which give the same again', async () => {
    const result = await json('run', [...args, ...smallest])
    expect(result).toMatchObject({ depth: 'unified:1.01x', speedup: { target: 1.01, batch: 1 } })
    const plan = result.plan as number[]
    const again = await json('run', [...args, '--depth', `layers:${plan.join(',')}`])
    expect(again).toMatchObject({ tokens: result.tokens, plan, speedup: null })
    expect((await shoal([...args, ...smallest])).stdout).toMatch(/ · predicted [\d.]+x · delivered [\d.]+x · f32\n$/)
  })

  it('tells it for prompts too, and does not mix layers in one file', async () => {
    const prompts = join(workspace.folder, 'speedup.jsonl')
    const out = join(workspace.folder, 'speedup.out.jsonl')
    writeFileSync(prompts, '{"tokens": [5, 6, 7]}\n{"tokens": [8, 9]}\n')
    const many = ['run', '--prompts', prompts, '--max-tokens', '4', '--threads', '1', ...smallest]
    const document = await json('run-prompts', many)
    expect(document).toMatchObject({ speedup: { target: 1.01, batch: 1 } })
    expect((document.results as Record<string, unknown>[]).map(({ plan }) => plan)).toEqual([
      document.plan,
      document.plan,
    ])
    await shoal([...many, '--out', out])
    writeFileSync(out, readFileSync(out, 'utf8').replace(/"plan":\[[\d,]+\]/, '"plan":[0,15]'))
    expectFailure(await shoal([...many, '--out', out]), 1, /ran layers \[0,15\], and unified:1.01x now means \[0,/)
  })

  it('refuses what this machine cannot give, and names what it can', async () => {
    expectFailure(
      await shoal([...args, '--depth', 'unified:500x']),
      2,
      /2 of 16 layers are .*: the largest target is [\d.]+x/,
    )
    expectFailure(await shoal([...args, '--depth', 'unified:0.5x']), 2, /the target speedup must be a number from 1/)
  })
})

describe('trace', () => {
  it('prints a logit lens', async () => {
    const { code, stdout } = await shoal(['trace', 'Once upon a time'])
    expect(code).toBe(0)
    expect(stdout.split('\n')).toHaveLength(1 + 16 + 3)
    expect(stdout).toMatch(/\n +15 .*yes\n/)
    const document = await json('trace', ['trace', 'Once upon a time'])
    expect(document.layers).toHaveLength(16)
  })

  it('writes hidden states, lens logits, logits and ids', async () => {
    const out = join(workspace.folder, 'trace.safetensors')
    await json('trace', ['trace', 'ripple-8m', '--tokens', '5,6,7', '--out', out])
    const file = await openSafetensors(out)
    const shapes = Object.fromEntries([...file.tensors].map(([name, { dtype, shape }]) => [name, [dtype, ...shape]]))
    expect(shapes).toMatchObject({
      input_ids: ['I64', 3],
      'hidden.0': ['F32', 3, 192],
      'hidden.15': ['F32', 3, 192],
      'lens_logits.15': ['F32', 3, 4096],
      logits: ['F32', 3, 4096],
    })
    expect(await file.readIntegers('input_ids')).toEqual([5, 6, 7])
    await file.close()
  })
})

describe('score', () => {
  it('prints perplexity and writes logits and depths', async () => {
    const text = join(workspace.folder, 'text.txt')
    const out = join(workspace.folder, 'score.safetensors')
    writeFileSync(text, 'It was a dark night, and the sea was loud.')
    const args = ['score', '--text', text, '--prompt-length', '4', '--depth', 'exit:7', '--out', out]
    const document = await json('score', args)
    const fed = (document.tokens as number) - 4
    expect(document.depths).toEqual(Array.from({ length: fed }, () => 8))
    expect(document.perplexity).toBeCloseTo(Math.exp(document.loss as number), 6)
    const file = await openSafetensors(out)
    expect(file.tensors.get('logits')?.shape).toEqual([fed, 4096])
    expect(await file.readIntegers('depth')).toEqual(document.depths)
    await file.close()
    expect((await shoal(args)).stdout).toMatch(/^perplexity [\d.]+ · loss [\d.]+ nats · \d+ tokens · mean depth 8\.0/)
  })

  it('reads a text that is longer than the context in windows', async () => {
    const text = join(workspace.folder, 'chapter.txt')
    writeFileSync(text, readFileSync(new URL('../pretrained/sample.txt', import.meta.url), 'utf8').slice(0, 400))
    const out = join(workspace.folder, 'windows.safetensors')
    const args = ['score', '--text', text, '--threads', '1', '--context']
    const document = await json('score', [...args, '32', '--out', out])
    const tokens = document.tokens as number
    expect(document).toMatchObject({ stride: 16, windows: 1 + Math.ceil((tokens - 32) / 16) })
    expect(document.depths).toHaveLength(tokens - 1)
    const file = await openSafetensors(out)
    expect(file.tensors.get('logits')?.shape).toEqual([tokens - 1, 4096])
    await file.close()
    const { stdout } = await shoal([...args, '32', '--stride', '20', '--depth', 'exit:7'])
    expect(stdout).toMatch(/mean depth 8\.0 of 16 · f32 · \d+ windows of 32, stride 20\n$/)
    expect(await json('score', [...args, '512'])).toMatchObject({ stride: null, windows: 1 })
    expectFailure(await shoal([...args, '32', '--stride', '32']), 2, /stride must be a whole number from 1 to 31/)
  })

  it('has no perplexity where the prompt takes every token', async () => {
    const document = await json('score', ['score', '--tokens', '5,6', '--prompt-length', '2'])
    expect(document).toMatchObject({ perplexity: null, depths: [] })
  })
})

describe('plan', () => {
  it('tells layers, parameters, FLOPs and KV bytes from a config.json alone', async () => {
    const config = fileURLToPath(new URL('../pretrained/ripple-8m/config.json', import.meta.url))
    const alone = join(workspace.folder, 'config.json')
    writeFileSync(alone, readFileSync(config))
    const document = await json('plan', ['plan', alone, '--depth', 'unified:2x', '--context', '100'])
    expect(document).toMatchObject({ layers: [0, 2, 4, 6, 9, 11, 13, 15], context: 100, ratios: { layers: 0.5 } })
    expect((await shoal(['plan', alone])).code).toBe(0)
  })

  it('needs only a number of layers', async () => {
    const document = await json('plan', ['plan', '--layers', '30', '--depth', 'unified:5x,rule=reference'])
    expect(document).toMatchObject({ model: null, total_layers: 30, layers: [0, 6, 12, 18, 24, 29] })
  })

  it('tells how a plan shrinks, and its mean', async () => {
    const args = ['plan', '--layers', '16', '--depth', 'skipdecode:2x', '--max-tokens', '121']
    expect(await json('plan', args)).toMatchObject({ depth: 'skipdecode:2x', mean_layers: 8 })
    const { stdout } = await shoal(args)
    expect(stdout).toContain('shrinking to 2: 0, 15\n8.00 on average over 120 tokens\n')
    expect(await json('plan', ['plan', '--layers', '16', '--depth', 'entropy:0.3'])).toMatchObject({
      mean_layers: null,
    })
  })

  it('says on stderr where the reference rule leaves a hole', async () => {
    const { stdout, stderr } = await shoal(['plan', '--layers', '32', '--depth', 'unified:3x,rule=reference', '--json'])
    expect(stderr).toMatch(/^shoal: note: .*25 to 30/)
    matches('plan', stdout)
  })
})

describe('chat', () => {
  it('answers every line of its input', async () => {
    const document = await json('chat', ['chat', '--max-tokens', '6'], 'Hello\n\nAnd you?\n')
    expect(document.turns).toHaveLength(2)
    expect((document.messages as { role: string }[]).map(({ role }) => role)).toEqual([
      'user',
      'assistant',
      'user',
      'assistant',
    ])
  })

  it('prints answers with their figures, and forgets at /reset', async () => {
    const { code, stdout } = await shoal(['chat', '--max-tokens', '4'], {
      input: 'Hello\n/reset\nHello\n/exit\nnever\n',
    })
    expect(code).toBe(0)
    const answers = stdout.split(/\d+ tokens? · .*\n/)
    expect(answers).toHaveLength(3)
    expect(answers[1]).toBe(answers[0])
  })
})

describe('convert and models', () => {
  it('writes the file that run would keep in the cache', async () => {
    const out = join(workspace.folder, 'model.gguf')
    const document = await json('convert', ['convert', 'ripple-8m', '-o', out, '--quantization', 'q8_0'])
    expect(document).toMatchObject({ path: out, quantization: 'q8_0' })
    const cached = await json('convert', ['convert', '--quantization', 'q8_0'])
    expect(readFileSync(out).equals(readFileSync(cached.path as string))).toBe(true)
    const fromFile = await json('run', ['run', out, 'Once upon a time', '--max-tokens', '4'])
    const fromFolder = await json('run', ['run', 'Once upon a time', '--max-tokens', '4', '--quantization', 'q8_0'])
    expect(fromFile).toMatchObject({ tokens: fromFolder.tokens, quantization: 'q8_0', model: 'model' })
    expectFailure(await shoal(['run', out, 'x', '--quantization', 'f16']), 2, /GGUF file keeps its own quantization/)
  })

  it('lists and removes', async () => {
    await json('convert', ['convert', 'ripple-8m', '--quantization', 'f16'])
    const listed = await json('models', ['models'])
    const models = listed.models as { id: string; path: string; quantization: string }[]
    const f16 = models.find(({ quantization }) => quantization === 'f16')
    expect(f16).toBeDefined()
    expect((await shoal(['models', 'list'])).stdout).toContain(f16?.id)
    const removed = await json('models-remove', ['models', 'remove', f16?.id ?? ''])
    expect(removed.removed).toHaveLength(1)
    expect(existsSync(f16?.path ?? '')).toBe(false)
    expectFailure(await shoal(['models', 'remove', 'no-such-model']), 2, /not in the cache/)
    expect((await shoal(['models', 'remove', '--all'])).code).toBe(0)
    expect((await shoal(['models'])).stdout).toMatch(/^0 models · 0 B/)
  })
})

describe('bench', () => {
  it('--profile measures what a step costs', async () => {
    const document = await json('bench-profile', ['bench', '--profile', '--batch', '1,2', '--threads', '1'])
    const profile = document.profile as { batch: number; plans: { layers: number }[] }[]
    expect(profile.map(({ batch }) => batch)).toEqual([1, 2])
    expect(profile[0]?.plans.at(-1)).toMatchObject({ layers: 16, speedup: 1 })
    const { code, stdout } = await shoal(['bench', '--profile', '--batch', '2', '--threads', '1'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^batch +step ms +layer +head +check +bridge +rest\n/)
    expect(stdout).toContain('1.00x\n')
  })

  it('says what was predicted of a target and what was delivered', async () => {
    const args = [
      'bench',
      '--rounds',
      '1',
      '--max-tokens',
      '4',
      '--prompt-length',
      '8',
      '--batch',
      '1',
      '--threads',
      '1',
    ]
    const ended = await shoal([...args, '--depth', 'full', '--depth', 'unified:1.01x', '--json'])
    const [full, unified] = matches('bench', ended.stdout).results as Record<string, unknown>[]
    expect(full).toMatchObject({ target: null, predicted: null, delivered: null })
    expect(unified).toMatchObject({ depth: 'unified:1.01x', target: 1.01 })
    expect(unified?.delivered).toBeGreaterThan(0)
    expect((await shoal([...args, '--depth', 'unified:1.01x'])).stdout).toMatch(/target +predicted +delivered\n/)
  })

  it('measures each depth at each batch size', async () => {
    const args = ['bench', '--rounds', '1', '--max-tokens', '4', '--prompt-length', '8', '--batch', '1,2']
    const ended = await shoal([...args, '--depth', 'full', '--depth', 'exit:3', '--json'])
    expect(ended.code).toBe(0)
    const document = matches('bench', ended.stdout)
    expect(document.results).toMatchObject([
      { depth: 'full', batch: 1, mean_depth: 16 },
      { depth: 'exit:3', batch: 1, mean_depth: 4 },
      { depth: 'full', batch: 2 },
      { depth: 'exit:3', batch: 2 },
    ])
    expectFailure(await shoal([...args, '--context', '10']), 1, /do not fit the context of 10/)
  })
})

it('every schema is tested', () => {
  const schemas = readdirSync(new URL('../docs/json', import.meta.url))
  const folder = new URL('./', import.meta.url)
  const tests = readdirSync(folder).filter((name) => name.endsWith('.test.ts'))
  const source = tests.map((name) => readFileSync(new URL(name, folder), 'utf8')).join('')
  for (const schema of schemas) expect(source).toContain(`'${schema.replace('.schema.json', '')}'`)
})
