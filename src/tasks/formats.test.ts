import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FileError, UnsupportedError } from '../errors.js'
import { parseCsv } from './csv.js'
import { readFunctionVectors } from './function-vectors.js'
import { readJsonLines } from './jsonl.js'
import { readMmlu } from './mmlu.js'
import { readSquad } from './squad.js'
import { readSst2 } from './sst2.js'

const FIXTURES = 'test/fixtures/tasks'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-tasks-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, text)
  return path
}

async function refusal(read: Promise<unknown>): Promise<string> {
  const error = await read.then(
    () => null,
    (e: unknown) => e,
  )
  expect(error).toBeInstanceOf(FileError)
  return (error as FileError).message.replace(`${folder}/`, '')
}

describe('published formats', () => {
  it('are read: function-vectors lists', async () => {
    const items = await readFunctionVectors(join(FIXTURES, 'function_vectors/commonsense_qa.json'), [
      'a',
      'b',
      'c',
      'd',
      'e',
    ])
    expect(items).toHaveLength(4)
    expect(items[3]?.input).toMatch(/^Google Maps .*\na: united states\n/)
    expect(items[3]?.answers).toEqual(['d'])
  })

  it('are read: SST-2', async () => {
    expect(await readSst2(join(FIXTURES, 'sst2/test.tsv'))).toEqual([
      { input: 'a warm , patient film that earns its ending .', answers: ['positive'] },
      { input: 'ninety minutes of noise in search of a plot .', answers: ['negative'] },
      { input: 'the cast clearly has fun , and so will you .', answers: ['positive'] },
    ])
    expect(await readSst2(await file('crlf.tsv', '1\tgood\r\n0\tbad\r\n'))).toMatchObject([
      { input: 'good' },
      { input: 'bad' },
    ])
  })

  it('are read: MMLU with a header and digits, or without and with letters', async () => {
    const later = await readMmlu(join(FIXTURES, 'mmlu/test/college_physics_test.csv'), 'college_physics')
    expect(later).toHaveLength(3)
    expect(later[0]).toEqual({
      input:
        'The quantum efficiency of a photon detector is 0.1. If 100 photons are sent into the detector, one after the other, the detector will detect photons\n' +
        'A. an average of 10 times, with an rms deviation of about 4\nB. an average of 10 times, with an rms deviation of about 3\n' +
        'C. an average of 10 times, with an rms deviation of about 1\nD. an average of 10 times, with an rms deviation of about 0.1',
      answers: ['B'],
      subject: 'college_physics',
    })
    const first = await readMmlu(join(FIXTURES, 'mmlu/dev/global_facts_dev.csv'), 'global_facts')
    expect(first.map((item) => item.answers)).toEqual([['B'], ['B'], ['B']])
  })

  it('are read: SQuAD 1.1, with every gold answer once', async () => {
    const items = await readSquad(join(FIXTURES, 'squad/dev-v1.1.json'))
    expect(items.map((item) => item.answers)).toEqual([
      ['1862', 'in 1862'],
      ['the engineer Ada Marsh', 'Ada Marsh'],
    ])
    expect(items[1]?.input).toMatch(/^The lighthouse at Grey Point .* burn gas\.\nWho built the lighthouse\?$/)
  })

  it("are read: a user's own lines", async () => {
    expect(await readJsonLines(join(FIXTURES, 'own.jsonl'))).toEqual([
      { input: '2 + 2', answers: ['4'] },
      { input: '3 + 3', answers: ['6', 'six'] },
      { input: 'is 5 odd?', answers: ['yes'], candidates: ['yes', 'no'] },
    ])
  })
})

describe('a damaged file is refused by line', () => {
  it.each([
    ['', 'is not valid JSON'],
    ['{}', 'is not a JSON list of {"input", "output"} objects'],
    ['[]', 'has no items'],
    ['[\n  {"input": "a", "output": "b"},\n  {"input": "c"}\n]', 'line 3: output must be a string'],
    ['[\n {"input": "a,]}\\"", "output": ["b"]},\n 7.5,\n []]', 'line 3 is not an object with input and output'],
    ['[{"input": "a", "output": {"x": [1, 2]}}]', 'line 1: output must be a string'],
    [
      '[{"input": "a", "output": "b"}, null\n, {"input": " ", "output": "b"}]',
      'line 1 is not an object with input and output',
    ],
    ['[{"input": "a", "output": "b"}\n\n, {"input": " ", "output": "b"}]', 'line 3: input is empty'],
    ['[{"input": "a", "output": []}]', 'line 1: output is empty'],
  ])('JSON list %j', async (text, reason) => {
    expect(await refusal(readFunctionVectors(await file('list.json', text)))).toBe(`list.json: ${reason}`)
  })

  it('JSON list with an answer that is no label', async () => {
    const path = await file('labels.json', '[{"input": "a", "output": "World"},\n{"input": "b", "output": "world"}]')
    expect(await refusal(readFunctionVectors(path, ['World', 'Sports']))).toBe(
      'labels.json: line 2: output "world" is none of World, Sports',
    )
  })

  it.each([
    ['', 'has no items'],
    ['{"input": "a", "output": "b"}\n\n{', 'the text of line 3 is not valid JSON'],
    [`{"input": ${'['.repeat(300)}`, 'the text of line 1 is nested more than 256 deep'],
    ['[]', 'line 1 is not an object with input and output'],
    ['{"input": 1, "output": "b"}', 'line 1: input must be a string'],
    ['{"input": "a", "output": "b", "candidates": "b"}', 'line 1: candidates must be a list of strings'],
    ['{"input": "a", "output": "b", "candidates": ["b", "b "]}', 'line 1: a candidate appears twice'],
    ['{"input": "a", "output": "b", "candidates": ["c", "d"]}', 'line 1: output is not one of the candidates'],
  ])('JSON lines %j', async (text, reason) => {
    expect(await refusal(readJsonLines(await file('own.jsonl', text)))).toBe(`own.jsonl: ${reason}`)
  })

  it.each([
    ['\n', 'has no items'],
    ['1\tgood\n1 good', 'line 2 is not "label<TAB>text"'],
    ['1\tgood\tx', 'line 1 is not "label<TAB>text"'],
    ['label\ttext', 'line 1: the label must be 0 or 1'],
    ['1\t ', 'line 1: text is empty'],
  ])('TSV %j', async (text, reason) => {
    expect(await refusal(readSst2(await file('x.tsv', text)))).toBe(`x.tsv: ${reason}`)
  })

  it.each([
    ['', 'has no questions'],
    ['question,A,B,C,D,answer\n', 'has no questions'],
    ['q,1,2,3,4,A\nq,1,2,3,4', 'line 2 has 5 fields instead of 6'],
    ['"q\nq",1,2,3,4,A\nq,1,2,3,4,0', 'line 3: the answer must be A, B, C or D'],
    ['q,1,2,3,4,0\nq,1,2,3,4,4', 'line 2: the answer must be 0, 1, 2 or 3'],
    ['q,1,,3,4,A', 'line 1: field 3 is empty'],
    ['q,1,2,3,4,A\n"q,1,2,3,4,A', 'line 2 begins a quoted field that never ends'],
    ['q,1,2,"3"x,4,A', 'line 1 has text after a closing quote'],
    ['q,1,2,3",4,A', 'line 1 has a quote inside an unquoted field'],
  ])('CSV %j', async (text, reason) => {
    expect(await refusal(readMmlu(await file('x.csv', text), 'x'))).toBe(`x.csv: ${reason}`)
  })

  const squad = (paragraph: unknown) => JSON.stringify({ version: '1.1', data: [{ paragraphs: [paragraph] }] })
  it.each([
    ['{"version": "1.1"}', 'data is not a list'],
    ['{"data": []}', 'has no questions'],
    ['{"data": [3]}', 'data[0] is not an object'],
    [squad({ context: ' ' }), 'data[0].paragraphs[0].context is empty'],
    [squad({ context: 'x', qas: [{ question: 'q', answers: [] }] }), 'data[0].paragraphs[0].qas[0] has no answers'],
    [
      squad({ context: 'x', qas: [{ question: 'q', answers: [{ text: 'y' }] }] }),
      'data[0].paragraphs[0].qas[0].answers[0].text is not in its paragraph',
    ],
  ])('SQuAD %j', async (text, reason) => {
    expect(await refusal(readSquad(await file('x.json', text)))).toBe(`x.json: ${reason}`)
  })

  it('SQuAD 2.0', async () => {
    await expect(readSquad(await file('v2.json', '{"version": "v2.0", "data": []}'))).rejects.toThrow(UnsupportedError)
  })
})

describe('CSV', () => {
  it('gives back what was written, with the line of every record', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', ' ', ',', '"', '\n', '\r\n', 'é') })
    const rows = fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(rows, fc.constantFrom('\n', '\r\n'), fc.boolean(), (table, end, last) => {
        const quote = (s: string) => (/[",\n\r]/.test(s) ? `"${s.replaceAll('"', '""')}"` : s)
        const written = table.map((row) => row.map(quote).join(','))
        const records = parseCsv('x.csv', written.join(end) + (last ? end : ''))
        expect(records.map((r) => r.fields)).toEqual(table)
        let line = 1
        records.forEach((record, i) => {
          expect(record.line).toBe(line)
          line += written[i]!.split('\n').length
        })
      }),
    )
  })
})
