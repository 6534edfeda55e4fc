// Writes the help of every command into docs/cli.md, between the markers. Run by `npm run docs`; a test compares.
import { readFileSync, writeFileSync } from 'node:fs'
import { main } from '../dist/cli/main.js'

const COMMANDS = [
  'run',
  'chat',
  'serve',
  'trace',
  'score',
  'tokenize',
  'plan',
  'convert',
  'export',
  'eval',
  'eval answers',
  'eval generation',
  'eval matrix',
  'eval tasks',
  'reproduce',
  'calibrate',
  'search',
  'bridge',
  'policy',
  'policy show',
  'policy apply',
  'policy import',
  'metrics',
  'metrics bleu',
  'metrics chrf',
  'metrics rouge',
  'bench',
  'models',
  'models list',
  'models remove',
]
const START = '<!-- help: written by npm run docs -->\n'
const path = new URL('./cli.md', import.meta.url)

let help = ''
for (const command of COMMANDS) {
  let text = ''
  const write = (part) => {
    text += part
  }
  await main([...command.split(' '), '--help'], {
    stdout: { write },
    stderr: { write },
    signal: new AbortController().signal,
  })
  help += `\n## shoal ${command}\n\n\`\`\`\n${text.trim()}\n\`\`\`\n`
}
const page = readFileSync(path, 'utf8')
writeFileSync(path, page.slice(0, page.indexOf(START) + START.length) + help)
