/**
 * The methods on real models, and the pages that show them.
 *
 *     npm run bench:methods -- [--quick] [--parts plans,lossless] [--models ripple-8m,smollm2,gemma3]
 *
 *   --quick        one target, two methods beside the search with bridges, few texts: under half an hour on two cores
 *   --parts LIST   plans (docs/unified.md), lossless (docs/lossless.md)
 *   --models LIST  real models are looked for in $SHOAL_MODELS and ../shared/models, and left out with a line where they are not there
 *   --targets LIST 1.25,1.5,2 and --methods LIST unified,shortgpt,sleb,search: fewer of them
 *   --data FOLDER  with wmt22/ and ripple-8m/prose.txt; ../shared/data
 *   --cache FOLDER parts that are measured already; the same command goes on with them
 *   --threads N    threads that compute, all cores
 *   --no-docs      print the pages and write none
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machineName } from '../dist/evaluate/machine.js'
import { writeBetweenMarks } from './marks.js'
import { measuredParts } from './measured-parts.js'
import { plansPage } from './methods-page.js'
import { plans } from './methods-plans.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    parts: { type: 'string', default: 'plans,lossless' },
    models: { type: 'string', default: 'ripple-8m,smollm2,gemma3' },
    data: { type: 'string', default: join(ROOT, '..', 'shared', 'data') },
    cache: { type: 'string', default: join(tmpdir(), 'shoal-methods') },
    targets: { type: 'string' },
    methods: { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    'no-docs': { type: 'boolean', default: false },
  },
})
if (!existsSync(join(options.data, 'wmt22'))) {
  console.log(`no ${join(options.data, 'wmt22')}: give the data folder with --data`)
  process.exit(0)
}

const PARTS = {
  async plans() {
    const { quick, threads } = options
    const part = measuredParts(join(options.cache, quick ? 'quick' : 'full'), { threads, machine: machineName() })
    const page = plansPage(await plans(options, part), { quick, threads })
    if (options['no-docs']) console.log(page)
    else writeBetweenMarks(join(ROOT, 'docs', 'unified.md'), 'npm run bench:methods', page)
  },
  async lossless() {
    const args = ['--parts', 'texts', '--models', options.models, '--threads', options.threads]
    const size = options.quick ? ['--rounds', '2', '--tokens', '48'] : []
    const doc = options['no-docs'] ? [] : ['--doc', join(ROOT, 'docs', 'lossless.md')]
    const script = join(ROOT, 'bench', 'lossless.js')
    const ended = spawnSync(process.execPath, [script, ...args, ...size, ...doc], { stdio: 'inherit' })
    if (ended.status !== 0) throw new Error('bench:lossless failed')
  },
}
for (const name of options.parts.split(',')) {
  if (!Object.hasOwn(PARTS, name)) throw new Error(`--parts has ${name}; there are ${Object.keys(PARTS).join(', ')}`)
  await PARTS[name]()
}
