import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'

const page = readFileSync(new URL('../docs/cli.md', import.meta.url), 'utf8')
const commands = [...page.matchAll(/^## shoal (.+)$/gm)].map(([, command]) => command!)

async function helpOf(command: string): Promise<string> {
  return (await shoal([...command.split(' '), '--help'].filter((word) => word !== ''))).stdout
}

/** The commands that a help text lists. */
function listed(help: string): string[] {
  const [, list = ''] = /\nCommands:\n((?: {2}.*\n)*)/.exec(help) ?? []
  return [...list.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!)
}

it('docs/cli.md has every command', async () => {
  const all: string[] = []
  for (const name of listed(await helpOf(''))) {
    all.push(name, ...listed(await helpOf(name)).map((child) => `${name} ${child}`))
  }
  expect(commands).toEqual(all)
})

describe.each(commands)('shoal %s', (command) => {
  it('has its help in docs/cli.md as it is (npm run docs writes it)', async () => {
    expect(page).toContain((await helpOf(command)).trim())
  })

  it('says things as all commands do', async () => {
    const help = await helpOf(command)
    const usage = /^Usage: shoal (.*)$/m.exec(help)![1]!
    if (/^ {2}models? /m.test(help)) expect(usage).toMatch(new RegExp(`^${command}( \\[NAME\\])? \\[MODEL`))
    expect(help).not.toMatch(/^ {2}--(out|output|report|tasks|model) /m)
    expect(help).not.toMatch(/depth policy|sets? of layers|balanced set|--task NAMES|--data <file>/)
    if (/^ {2}model /m.test(help) && command !== 'policy import')
      expect(help).toMatch(/default\s+the\s+bundled\s+ripple-8m/)
    if (/^ {2}--task /m.test(help)) expect(help).toMatch(/^ {2}--task <name> /m)
    if (/^ {2}-o, /m.test(help)) expect(help).toMatch(/^ {2}-o, --out <(file|path)> /m)
    if (/^ {2}--depth /m.test(help)) expect(help).toMatch(/^ {2}--depth <spec> +what runs\b/m)
  })
})
