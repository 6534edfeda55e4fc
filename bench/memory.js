// Anonymous memory of a process that has loaded a GGUF file of TinyLlama's shape and made 8 tokens, beside its bound:
// 1.1 times the weights + 200 MB. Linux only.
import { readFileSync, statSync } from 'node:fs'
import { loadModel } from '../dist/index.js'
import { ensureTinyLlama } from './tinyllama.js'

if (process.platform !== 'linux') {
  console.log('RssAnon is read from /proc: Linux only')
  process.exit(0)
}
const path = process.argv[2] ?? (await ensureTinyLlama())
const weights = statSync(path).size
const model = await loadModel(path)
await model.generate([1, 3, 4, 5], { maxTokens: 8, ignoreEos: true }).result
const rssAnon = Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
await model.dispose()
const bound = 1.1 * weights + 200e6
console.log(JSON.stringify({ weights, rss_anon: rssAnon, bound, within: rssAnon <= bound }))
process.exit(rssAnon <= bound ? 0 : 1)
