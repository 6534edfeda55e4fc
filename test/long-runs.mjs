// Encodes long runs of many kinds under each `tokenizer.ggml.pre` that libllama splits by std::regex. A process of its own:
// without the guard libllama ends it. Prints `PRE RUN` before each, and `done` in the end.
import { openGgufTokenizer } from '../src/vocabulary/gguf-tokenizer.ts'
import { byteLevelVocabulary, metadataOf } from './gguf-vocabulary.ts'

const LENGTH = 12_000
const RUNS = [
  'a',
  'A',
  '7',
  ' ',
  '!',
  '\n',
  '漢',
  'a\u0301',
  'a1',
  'a1_',
  '\r\n',
  'a b ',
  '😀',
  'aB',
  '가',
  "'s",
  '\t',
  '$',
  'ไ',
  '!/',
  '!\n',
  '\0',
  "a'",
]

for (const pre of process.argv.slice(2)) {
  const { tokenizer } = await openGgufTokenizer(metadataOf(byteLevelVocabulary(pre)))
  for (const [i, run] of RUNS.entries()) {
    console.log(`${pre} ${i}`)
    const text = run.repeat(LENGTH / run.length)
    const decoded = tokenizer.decode(tokenizer.encode(text))
    if (decoded !== text) throw new Error(`${pre}: a run of ${JSON.stringify(run)} does not come back`)
  }
  tokenizer.dispose()
}
console.log('done')
