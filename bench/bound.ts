/**
 * Does the bound hold? Real traces are the population: 2,000 calibration sets are drawn from them with replacement, and
 * counted is how often the chosen threshold disagrees with full depth, over the whole population, more than was allowed.
 *
 *     npm run bench:bound -- [--data ../shared/data] [--cache FOLDER] [--sets 2000] [--only SST-2]
 *
 * Every third sequence fits the classifier and lays out the thresholds; the others are the population. Traces are made once
 * with the command line and kept in --cache. docs/evaluation.md has what this prints.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type BoundRequest, thresholdCandidates } from '../src/calibrate/bound.js'
import { fitPolicy } from '../src/calibrate/fit.js'
import { readTraces, selectTraces } from '../src/calibrate/traces.js'
import { POLICY_KINDS } from '../src/depth/policy-kind.js'
import { boundTrials } from '../test/bound-trials.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: join(ROOT, '..', 'shared', 'data') },
    cache: { type: 'string', default: join(tmpdir(), 'shoal-adainfer') },
    model: { type: 'string', default: 'ripple-8m' },
    sets: { type: 'string', default: '2000' },
    sizes: { type: 'string', default: '149,300,600' },
    only: { type: 'string' },
    threads: { type: 'string', default: '1' },
  },
})

const RULES = [
  'fruit_v_animal_3',
  'choose_first_of_3',
  'capitalize',
  'conll2003_person',
  'singular-plural',
  'next_item',
  'present-past',
].flatMap((task) => ['--task', task])
const GENERATED = ['--positions', 'generated', '--max-tokens', '8']
const ANY = { maxDisagreement: 0.02, confidence: 0.95 } as const
const MEAN = { ...ANY, measure: 'mean' } as const

interface Population {
  readonly name: string
  readonly file: string
  /** Of `shoal trace`. */
  readonly args: readonly string[]
  readonly requests: readonly BoundRequest[]
}

const POPULATIONS: readonly Population[] = [
  { name: 'SST-2', file: 'sst-2', args: ['--task', 'sst2', '--shots', '5'], requests: [ANY] },
  { name: 'AG News', file: 'ag-news', args: ['--task', 'ag_news', '--shots', '1'], requests: [ANY] },
  {
    name: 'rule tasks',
    file: 'rule-tasks',
    args: [...RULES, '--shots', '5', '--limit', '200'],
    requests: [ANY],
  },
  {
    name: 'rule tasks, 8 tokens',
    file: 'rule-tasks-generated',
    args: [...RULES, '--shots', '5', '--limit', '200', ...GENERATED],
    requests: [ANY, MEAN],
  },
  {
    name: 'prose, 8 tokens',
    file: 'prose-generated',
    args: ['--task', join(options.cache, 'prose.jsonl'), '--template', '{input}\\n{output}\\n', ...GENERATED],
    requests: [ANY, MEAN],
  },
]

if (!existsSync(options.data)) {
  console.log(`no data folder ${options.data}: give one with --data`)
  process.exit(0)
}
mkdirSync(options.cache, { recursive: true })
const sizes = options.sizes.split(',').map(Number)
const sets = Number(options.sets)
const columns = ['violations', 'full depth', 'layers'].map((what) => `${what} with ${sizes.join(' / ')} units`)
console.log(`| population | units | disagreement | policy | ${columns.join(' | ')} |`)
console.log('|---|---:|---|---|---|---|---|')
for (const population of POPULATIONS.filter(({ name }) => options.only === undefined || options.only === name)) {
  await tryBounds(population)
}

async function tryBounds({ name, file, args, requests }: Population): Promise<void> {
  const traces = await readTraces(traceFile(file, args))
  const train = selectTraces(traces, (i) => i % 3 === 0)
  const population = selectTraces(traces, (i) => i % 3 !== 0)
  for (const request of requests) {
    for (const kind of POLICY_KINDS) {
      const policy = fitPolicy(train, { kind })
      const candidates = thresholdCandidates(policy, train)
      const trials = sizes.map((size) => boundTrials(policy, candidates, population, request, { sets, size, seed: 0 }))
      const cells = [
        trials.map(({ violations }) => percent(violations)).join(' / '),
        trials.map(({ fullDepth }) => percent(fullDepth)).join(' / '),
        trials.map(({ meanLayers }) => meanLayers.toFixed(2)).join(' / '),
      ]
      console.log(
        `| ${name} | ${population.sequences} | ${what(traces.unit, request)} | ${kind} | ${cells.join(' | ')} |`,
      )
    }
  }
}

function percent(count: number): string {
  return `${((100 * count) / sets).toFixed(1)}%`
}

function what(unit: 'answer' | 'generated', { measure }: BoundRequest): string {
  if (unit === 'answer') return 'its token differs'
  return measure === 'mean' ? 'share of tokens' : 'any token differs'
}

/** Path of the traces, made where they are missing. */
function traceFile(name: string, args: readonly string[]): string {
  const path = join(options.cache, `${options.model}-${name}.jsonl`)
  if (existsSync(path)) return path
  if (name === 'prose-generated') writeFileSync(join(options.cache, 'prose.jsonl'), prose())
  const all = ['trace', options.model, ...args, '--data', options.data, '--threads', options.threads, '-o', path]
  const { status } = spawnSync(process.execPath, [join(ROOT, 'bin', 'shoal.js'), ...all], { stdio: 'inherit' })
  if (status !== 0) throw new Error(`shoal trace ended with ${status}`)
  return path
}

/** Beginnings to be continued: 24 words each. */
function prose(): string {
  const words = readFileSync(join(options.data, 'ripple-8m', 'prose.txt'), 'utf8').split(/\s+/)
  const lines: string[] = []
  for (let i = 0; i + 24 <= words.length; i += 24) {
    lines.push(`${JSON.stringify({ input: words.slice(i, i + 24).join(' '), output: '.' })}\n`)
  }
  return lines.join('')
}
