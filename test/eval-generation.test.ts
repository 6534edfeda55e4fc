import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-eval-generate-'))
  const items = [
    { input: 'The cat sat on the mat.', output: 'A cat sat.' },
    { input: 'Rain fell all day.', output: 'It rained.' },
    { input: 'She went home.', output: 'She left.' },
  ]
  writeFileSync(at('notes.jsonl'), items.map((item) => `${JSON.stringify(item)}\n`).join(''))
  writeFileSync(at('story.txt'), 'Once upon a time there was a king who lived by the sea. '.repeat(6))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const at = (name: string): string => join(folder, name)

describe('shoal eval generation', () => {
  const common = ['--max-tokens', '5', '--window', '24', '--prompt-length', '8', '--threads', '1']
  const depth = ['--depth', 'unified:2x,by=layers']
  const args = (...more: string[]) => {
    const tasks = ['--task', at('notes.jsonl'), '--task', at('story.txt')]
    return ['eval', 'generation', ...tasks, ...depth, ...common, ...more]
  }

  it('scores generated text and foreseen text under each depth, and writes a report', async () => {
    const ended = await shoal(args('--batch', '1,2', '-o', at('r.html'), '--json'))
    expect(ended.code).toBe(0)
    const document = matches('eval', ended.stdout)
    expect(document).toMatchObject({ score: 'generation', matrix: null, cells: [] })
    const { cells, texts } = document.generation as { cells: Record<string, unknown>[]; texts: unknown[] }
    expect(cells.map(({ batch, depth }) => `${String(batch)} ${String(depth)}`)).toHaveLength(4)
    expect(cells[0]).toMatchObject({ task: 'notes', batch: 1, depth: 'full', sequences: 3, identical: { mean: 1 } })
    expect(texts).toMatchObject([{ task: 'story', depth: 'full' }, { task: 'story' }])
    const page = readFileSync(at('r.html'), 'utf8')
    expect(page).toContain('id="table-generation"')
    expect(page).toContain('id="table-texts"')
    expect(page).not.toContain('<h2>Figures</h2>')
    expect(readFileSync(at('r.md'), 'utf8')).toContain('## Perplexity')
    expect(existsSync(at('r.answers.jsonl'))).toBe(false)
  })

  it('prints tables, and takes the metrics that are asked for', async () => {
    const { stdout } = await shoal(args('--metric', 'chrf', '--limit', '1'))
    expect(stdout).toMatch(/task +shots +batch +depth +chrF +chrF to full +identical/)
    expect(stdout).toMatch(/text +depth +perplexity +against full/)
  })

  it('says what does not go together', async () => {
    const failure = async (args: string[], message: RegExp) => {
      const ended = await shoal(args)
      expect(ended).toMatchObject({ code: 2, stdout: '' })
      expect(ended.stderr).toMatch(message)
    }
    await failure(['eval', 'answers', '--task', 'capitalize', '--batch', '2'], /unknown option '--batch'/)
    await failure(['eval', 'answers', '--task', 'prose'], /prose has no answers of one step: .* shoal eval generation/)
    await failure(args('--length-penalty', '2'), /--length-penalty goes with --beams/)
    await failure(args('--metric', 'meteor'), /one of bleu, chrf, rouge/)
    await failure(args('--prompt-length', '24'), /leaves nothing of 24 tokens/)
    await failure(args('--controls'), /unknown option '--controls'/)
  })
})
