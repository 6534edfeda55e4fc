/**
 * What lossless drafts gain over full depth, in two parts: drafts whose acceptance a coin decides (`lossless-coin.js`), and real
 * texts that are copied, edited, summarised and written freely (`lossless-texts.js`).
 *
 *     npm run bench:lossless -- [--parts coin,texts] [--threads 2] [--rounds N] [--tokens N]
 *       coin:  [--model FILE] [--exit 3] [--acceptance 0,0.6,0.8,0.9] [--prompt 128]
 *       texts: [--models ripple-8m,smollm2,gemma3] [--drafts FOLDER] [--doc docs/lossless.md]
 *
 * `--drafts` names a folder with NAME.lens.gguf and NAME-2x.bridge.gguf, as `npm run bench:methods` leaves them in its
 * cache: drafts through them then stand in the table. SmolLM2-135M-Instruct and Gemma 3 270M are looked for in $SHOAL_MODELS and
 * ../shared/models. `--doc` writes the table of texts between the marks that stand in that file.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { coin } from './lossless-coin.js'
import { texts } from './lossless-texts.js'

const PARTS = {
  coin: { run: coin, rounds: '15', tokens: '64' },
  texts: { run: texts, rounds: '5', tokens: '80' },
}
const { values: options } = parseArgs({
  options: {
    parts: { type: 'string', default: 'coin,texts' },
    threads: { type: 'string', default: String(availableParallelism()) },
    rounds: { type: 'string' },
    tokens: { type: 'string' },
    model: { type: 'string' },
    exit: { type: 'string', default: '3' },
    acceptance: { type: 'string', default: '0,0.6,0.8,0.9' },
    prompt: { type: 'string', default: '128' },
    models: { type: 'string', default: 'ripple-8m,smollm2,gemma3' },
    drafts: { type: 'string' },
    doc: { type: 'string' },
  },
})
for (const part of options.parts.split(',')) {
  if (!(part in PARTS)) throw new Error(`--parts has ${part}; there are ${Object.keys(PARTS).join(' and ')}`)
  const { run, ...defaults } = PARTS[part]
  await run({ ...defaults, ...options })
}
