/**
 * The methods on real models, and the pages that show them.
 *
 *     npm run bench:methods -- [--quick] [--parts plans,exits,lossless] [--models ripple-8m,smollm2,gemma3]
 *
 *   --quick        one target, two methods beside the search with bridges, few texts: under half an hour on two cores
 *   --parts LIST   plans (docs/unified.md), exits (docs/adainfer.md), lossless (docs/lossless.md)
 *   --models LIST  real models are looked for in $SHOAL_MODELS and ../shared/models, and left out with a line where they are not there
 *   --targets LIST 1.25,1.5,2 and --methods LIST "unified,shortgpt,sleb,search,search --bridge": fewer plans
 *   --sets LIST    SST-2,AG News,CommonsenseQA,MMLU,fruit_v_animal_3,singular-plural: fewer tasks
 *   --data FOLDER  with wmt22/ and ripple-8m/prose.txt; ../shared/data
 *   --cache FOLDER parts that are measured already; the same command goes on with them
 *   --threads N    threads that compute, all cores
 *   --no-times     quality alone, on a machine that is busy; the same command without it adds the times
 *   --no-docs      print the pages and write none
 *   --page         measure nothing: write the pages again
 *
 * What is measured goes into docs/methods.json, model by model, target by target and method by method, and the pages are made of it.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machineName } from '../dist/evaluate/machine.js'
import { writeBetweenMarks } from './marks.js'
import { measuredParts } from './measured-parts.js'
import { METHOD_MODELS } from './method-inputs.js'
import { exits } from './methods-exits.js'
import { exitsPage } from './methods-exits-page.js'
import { plansPage } from './methods-page.js'
import { plans } from './methods-plans.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    parts: { type: 'string', default: 'plans,exits,lossless' },
    models: { type: 'string', default: 'ripple-8m,smollm2,gemma3' },
    data: { type: 'string', default: join(ROOT, '..', 'shared', 'data') },
    cache: { type: 'string', default: join(tmpdir(), 'shoal-methods') },
    targets: { type: 'string' },
    methods: { type: 'string' },
    sets: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    'no-times': { type: 'boolean', default: false },
    'no-docs': { type: 'boolean', default: false },
    page: { type: 'boolean', default: false },
  },
})
if (!existsSync(join(options.data, 'wmt22'))) {
  console.log(`no ${join(options.data, 'wmt22')}: give the data folder with --data`)
  process.exit(0)
}

const RECORD = join(ROOT, 'docs', 'methods.json')
let record = recorded()
const { quick, threads } = options
const cache = join(options.cache, quick ? 'quick' : 'full')
const part = measuredParts(cache)
const given = {
  ...options,
  cache,
  // Times are of this machine and so many threads; without them null stands in their place.
  timed: (name, facts, measure) =>
    options['no-times'] ? null : part(name, { ...facts, threads, machine: machineName() }, measure),
}

function recorded() {
  return existsSync(RECORD) ? JSON.parse(readFileSync(RECORD, 'utf8')) : {}
}

/** Puts what was measured of a model into a section of the record; another run may have written there meanwhile. */
function keep(section, model, about, key, value) {
  if (!options['no-docs']) record = recorded()
  const before = record[section]?.[model] ?? {}
  const how = { date: new Date().toISOString().slice(0, 10), machine: machineName(), threads, quick }
  const measured = { ...before.measured, [key]: { ...how, ...value } }
  record[section] = { ...record[section], [model]: { ...(about ?? before), measured } }
  if (!options['no-docs']) writeFileSync(RECORD, `${JSON.stringify(record, null, 2)}\n`)
}

function write(page, file) {
  if (options['no-docs']) console.log(page)
  else writeBetweenMarks(join(ROOT, 'docs', file), 'npm run bench:methods', page)
}

const PARTS = {
  async plans() {
    if (!options.page) await plans(given, part, (...kept) => keep('plans', ...kept))
    const { page, figures } = plansPage(record.plans ?? {})
    write(page, 'unified.md')
    if (!options['no-docs']) {
      for (const [name, svg] of figures) writeFileSync(join(ROOT, 'docs', 'figures', name), svg)
    }
  },
  async exits() {
    if (!options.page) await exits(given, part, (...kept) => keep('exits', ...kept))
    write(exitsPage(record.exits ?? {}), 'adainfer.md')
  },
  async lossless() {
    if (options.page) return
    const args = ['--parts', 'texts', '--models', options.models, '--threads', threads, '--drafts', cache]
    const size = quick ? ['--rounds', '2', '--tokens', '48'] : []
    const doc = options['no-docs'] ? [] : ['--doc', join(ROOT, 'docs', 'lossless.md')]
    const script = join(ROOT, 'bench', 'lossless.js')
    const ended = spawnSync(process.execPath, [script, ...args, ...size, ...doc], { stdio: 'inherit' })
    if (ended.status !== 0) throw new Error('bench:lossless failed')
  },
}
const strange = options.models.split(',').find((name) => !Object.hasOwn(METHOD_MODELS, name))
if (strange !== undefined) {
  throw new Error(`--models has ${strange}; there are ${Object.keys(METHOD_MODELS).join(', ')}`)
}
for (const name of options.parts.split(',')) {
  if (!Object.hasOwn(PARTS, name)) throw new Error(`--parts has ${name}; there are ${Object.keys(PARTS).join(', ')}`)
  await PARTS[name]()
}
