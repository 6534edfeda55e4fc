// The models of bench:methods, and its texts in a part for methods and fits and a part for the report.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadTask } from '../dist/tasks/index.js'
import { spread } from '../dist/tasks/spread.js'
import { GEMMA3, realModel, SMOLLM2 } from '../test/real-model.mjs'

/** Of each text, the share that methods and fits see. */
const SEEN = 0.6

export const METHOD_MODELS = {
  'ripple-8m': { label: 'ripple-8m, f32', path: () => 'ripple-8m', folds: true },
  smollm2: { label: 'SmolLM2-135M-Instruct, q4_1', path: () => realModel(SMOLLM2), folds: true },
  // The MLP's output is normed before it joins the residual stream: nothing can be folded into its last matrix.
  gemma3: { label: 'Gemma 3 270M, Q4_K_M', path: () => realModel(GEMMA3), folds: false },
}

/** News: WMT22's English side; prose: the opening of Austen's Persuasion. */
export function cutTexts(data, cache) {
  mkdirSync(cache, { recursive: true })
  const sources = {
    news: join(data, 'wmt22', 'newstest22.en-de.en'),
    prose: join(data, 'ripple-8m', 'prose.txt'),
  }
  const files = { seen: [], heldOut: {} }
  for (const [kind, path] of Object.entries(sources)) {
    const text = readFileSync(path, 'utf8')
    const cut = text.indexOf('\n', text.length * SEEN) + 1
    const [seen, heldOut] = [join(cache, `${kind}-seen.txt`), join(cache, `${kind}-held-out.txt`)]
    writeFileSync(seen, text.slice(0, cut))
    writeFileSync(heldOut, text.slice(cut))
    files.seen.push(seen)
    files.heldOut[kind] = heldOut
  }
  return files
}

/** A task with so many of its items, spread evenly over all of them. */
export async function someOf(name, count, data) {
  const task = await loadTask(name, { data })
  return { ...task, items: spread(task.items, count) }
}
