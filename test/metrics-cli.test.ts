import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { shoal } from './cli-runner.js'
import { matches } from './schema.js'

interface Texts {
  hypotheses: string[]
  references: string[]
}

function fixture<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`fixtures/metrics/${name}.json`, import.meta.url), 'utf8')) as T[]
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-metrics-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function files({ hypotheses, references }: Texts): string[] {
  return [file('hypotheses.txt', `${hypotheses.join('\n')}\n`), file('references.txt', `${references.join('\n')}\n`)]
}

async function metrics(...args: string[]): Promise<Record<string, unknown>> {
  const ended = await shoal(['metrics', ...args, '--json'])
  expect(ended).toMatchObject({ code: 0, stderr: '' })
  return matches('metrics', ended.stdout)
}

describe('shoal metrics', () => {
  it('gives the figures of the references', async () => {
    type Bleu = Texts & { tokenize: string; bleu: number; bp: number; chrf2: number; chrfpp: number; signature: string }
    for (const wanted of fixture<Bleu>('bleu')) {
      const paths = files(wanted)
      const bleu = await metrics('bleu', ...paths, '--tokenize', wanted.tokenize)
      expect(bleu.score).toBeCloseTo(wanted.bleu, 6)
      expect(bleu.bp).toBeCloseTo(wanted.bp, 6)
      expect(bleu.segments).toBe(wanted.hypotheses.length)
      expect(wanted.signature.startsWith(`${String(bleu.signature)}|version`)).toBe(true)
      expect((await metrics('chrf', ...paths)).score).toBeCloseTo(wanted.chrf2, 6)
      expect((await metrics('chrf', ...paths, '--word-order', '2')).score).toBeCloseTo(wanted.chrfpp, 6)
    }
    for (const wanted of fixture<Texts & { scores: Record<string, number> }>('rouge')) {
      const rouge = (await metrics('rouge', ...files(wanted))) as Record<string, { f1: number }>
      for (const kind of ['rouge1', 'rouge2', 'rougeL']) {
        expect(rouge[kind]!.f1).toBeCloseTo(wanted.scores[`${kind}_fmeasure`]!, 5)
      }
    }
  })

  it('prints a line or a table for people', async () => {
    const paths = files({ hypotheses: ['the sea is deep here', ''], references: ['the sea is deep there', 'x'] })
    const bleu = await shoal(['metrics', 'bleu', ...paths])
    expect(bleu.stdout).toBe(
      'BLEU 54.75 · precisions 80.0/75.0/66.7/50.0 · brevity penalty 0.819 · 5 tokens for 6 · 2 segments · nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp\n',
    )
    const chrf = await shoal(['metrics', 'chrf', ...paths, '--word-order', '2'])
    expect(chrf.stdout).toMatch(
      /^chrF2\+\+ \d+\.\d\d · 2 segments · nrefs:1\|case:mixed\|eff:yes\|nc:6\|nw:2\|space:no\n$/,
    )
    const rouge = await shoal(['metrics', 'rouge', ...paths])
    expect(rouge.stdout).toMatch(/^ +precision +recall +F1\nROUGE-1 +0\.4000 +0\.4000 +0\.4000\nROUGE-2 /)
    expect(rouge.stdout).toMatch(/\n2 segments\n$/)
  })

  it('splits lines at \\n only', async () => {
    const paths = [file('a.txt', 'a\u2028b\rc\u0085d\r\n\n'), file('b.txt', 'a b c d\n\n')]
    expect(await metrics('bleu', ...paths)).toMatchObject({ score: 100, segments: 2 })
    expect(await metrics('chrf', ...paths)).toMatchObject({ score: 100, segments: 2 })
    expect(await metrics('rouge', ...paths)).toMatchObject({ rouge1: { f1: 0.5 }, segments: 2 })
  })

  it.each([
    [['bleu', 'one.txt', 'no-such.txt'], 1, /no-such\.txt: no such file/],
    [
      ['bleu', 'one.txt', 'two.txt'],
      1,
      /two\.txt: has 2 lines and .*one\.txt 1 line: each hypothesis needs its reference/,
    ],
    [['rouge', 'empty.txt', 'empty.txt'], 1, /empty\.txt: is empty/],
    [['chrf', 'latin1.txt', 'one.txt'], 1, /latin1\.txt: is not UTF-8 text: byte 1 is 0xe9/],
    [['bleu', 'one.txt', 'one.txt', '--tokenize', 'ja'], 2, /--tokenize.*'ja' is invalid.*13a, zh/],
    [['chrf', 'one.txt', 'one.txt', '--word-order', 'x'], 2, /whole number from 0 to 6/],
    [['rouge', 'one.txt', 'one.txt', '--tokenize', 'zh'], 2, /unknown option '--tokenize'/],
    [['bleu', 'one.txt'], 2, /missing required argument 'references'/],
    [['ter', 'one.txt', 'one.txt'], 2, /unknown command ter; known: bleu, chrf, rouge/],
  ])('%j is refused in one line', async (args, code, line) => {
    file('one.txt', 'a\n')
    file('two.txt', 'a\nb\n')
    file('empty.txt', '')
    writeFileSync(join(folder, 'latin1.txt'), Buffer.from([0x61, 0xe9, 0x0a]))
    const ended = await shoal(['metrics', ...args.map((arg) => (arg.endsWith('.txt') ? join(folder, arg) : arg))])
    expect(ended).toMatchObject({ code, stdout: '' })
    expect(ended.stderr).toMatch(/^shoal: [^\n]+\n$/)
    expect(ended.stderr).toMatch(line)
  })

  it('has examples in its help', async () => {
    for (const args of [
      ['metrics', '--help'],
      ['metrics', 'bleu', '--help'],
    ]) {
      const { code, stdout } = await shoal(args)
      expect(code).toBe(0)
      expect(stdout).toContain('$ shoal metrics bleu answers.en newstest.en')
    }
  })
})
