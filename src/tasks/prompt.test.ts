import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import type { Tokenizer } from '../tokenizer/tokenizer.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'
import { loadTask } from './load.js'
import { buildPrompt, type PromptOptions, placeAnswers, shotEncoding } from './prompt.js'
import { sampleShots } from './shots.js'
import type { Task } from './task.js'
import { DEFAULT_TEMPLATE, isWrittenAs, parseTemplate } from './template.js'

const TEMPLATE = parseTemplate(DEFAULT_TEMPLATE)
const data = 'test/fixtures/tasks'

let tokenizer: Tokenizer
let fruit: Task
beforeAll(async () => {
  tokenizer = createJsonTokenizer('tokenizer.json', await readFile('pretrained/ripple-8m/tokenizer.json', 'utf8'))
  fruit = await loadTask('fruit_v_animal_3', { data: '' })
})

function options(change: Partial<PromptOptions> = {}): PromptOptions {
  return { tokenizer, template: TEMPLATE, shots: 5, seed: 7, score: 'token', context: 1024, ...change }
}

describe('a template', () => {
  it('has the input once and then the output once', () => {
    for (const wrong of [
      '',
      'Q',
      '{input}',
      '{output}',
      '{output} {input}',
      '{input}{input}{output}',
      '{input}{output}{output}',
    ]) {
      expect(() => parseTemplate(wrong), wrong).toThrow(InputError)
    }
  })

  it('recognises prompts that are written so, with as many shots', () => {
    for (const template of [
      TEMPLATE,
      parseTemplate('{input}\n{output}\n'),
      parseTemplate('In: {input} Out: {output}'),
    ]) {
      for (const shots of [0, 1, 5]) {
        const { text } = buildPrompt(fruit, 3, options({ template, shots }))!
        for (const other of [0, 1, 5]) expect(isWrittenAs(text, template, other), text).toBe(other === shots)
        expect(isWrittenAs(`Dear ${text}`, template, shots) && template.before !== '').toBe(false)
        expect(isWrittenAs(`${text} and`, template, shots)).toBe(false)
      }
    }
  })

  it('says where a generated answer ends', () => {
    expect(TEMPLATE.stop).toBe('\n')
    expect(parseTemplate('{input} -> {output}').stop).toBe('\n')
    expect(parseTemplate('<q>{input}</q><a>{output}</a>').stop).toBe('</a>')
  })
})

describe('a prompt', () => {
  it('is shots and a question that ends where the answer begins', () => {
    const prompt = buildPrompt(fruit, 0, options({ shots: 2 }))!
    const [a, b] = sampleShots(fruit, 0, 2, 7)
    expect(prompt.text).toBe(
      `Q: ${a!.input}\nA: ${a!.answers[0]}\n\nQ: ${b!.input}\nA: ${b!.answers[0]}\n\nQ: ${fruit.items[0]!.input}\nA:`,
    )
    expect(prompt.shots).toBe(2)
    expect(tokenizer.decode(prompt.ids, { skipSpecialTokens: true })).toBe(prompt.text)
    expect(prompt.golds.map((ids) => tokenizer.decode(ids))).toEqual([` ${fruit.items[0]!.answers[0]}`])
    expect(prompt.candidates).toBeNull()
  })

  it('takes any text of an item as it is', () => {
    const task: Task = { ...fruit, items: [{ input: '$& {output} $1', answers: ["$'"] }], shots: [] }
    const prompt = buildPrompt(task, 0, options({ template: parseTemplate('{input}: {output};') }))!
    expect(prompt.text).toBe('$& {output} $1:')
    expect(tokenizer.decode(prompt.golds[0]!)).toBe(" $'")
  })

  it('has candidates where the task has labels', async () => {
    const sst2 = await loadTask('sst2', { data })
    const prompt = buildPrompt(sst2, 0, options({ score: 'labels' }))!
    expect(prompt.candidates?.map((c) => [c.text, tokenizer.decode(c.ids)])).toEqual([
      ['negative', ' negative'],
      ['positive', ' positive'],
    ])
    expect(prompt.shots).toBe(4)
  })

  it('leaves out shots that do not fit, whole and from the front, and questions that do not fit at all', () => {
    const whole = buildPrompt(fruit, 3, options())!
    const question = buildPrompt(fruit, 3, options({ shots: 0 }))!
    const texts = whole.text.split('\n\n')
    for (let context = question.ids.length; context <= whole.ids.length; context++) {
      const prompt = buildPrompt(fruit, 3, options({ context }))!
      expect(prompt.ids.length).toBeLessThanOrEqual(context)
      expect(prompt.text).toBe(texts.slice(5 - prompt.shots).join('\n\n'))
      if (prompt.shots < 5) {
        const more = texts.slice(4 - prompt.shots).join('\n\n')
        expect(tokenizer.encode(more).length).toBeGreaterThan(context)
      }
    }
    expect(buildPrompt(fruit, 3, options({ context: question.ids.length - 1 }))).toBeNull()
  })

  it('leaves room for what is fed after it', async () => {
    const alone = buildPrompt(fruit, 0, options({ shots: 0, score: 'generate' }))!
    expect(alone.ids).toEqual(tokenizer.encode(alone.text))
    const context = alone.ids.length + 9
    const fits = (maxTokens: number) =>
      buildPrompt(fruit, 0, options({ shots: 0, score: 'generate', context, maxTokens }))
    expect(fits(10)).not.toBeNull()
    expect(fits(11)).toBeNull()
    const task: Task = { ...fruit, items: [{ input: 'x', answers: ['a'], candidates: ['a', 'a b c d'] }] }
    const likelihood = (context: number) => buildPrompt(task, 0, options({ shots: 0, score: 'likelihood', context }))
    const { ids, candidates } = likelihood(1024)!
    const fed = ids.length + candidates![1]!.ids.length - 1
    expect(likelihood(fed)).not.toBeNull()
    expect(likelihood(fed - 1)).toBeNull()
  })

  it('may encode every shot on its own, as ripple-8m was trained', () => {
    const joined = buildPrompt(fruit, 0, options())!
    const separate = buildPrompt(fruit, 0, options({ encoding: 'separate' }))!
    expect(separate.text).toBe(joined.text)
    expect(tokenizer.decode(separate.ids)).toBe(tokenizer.decode(joined.ids))
    const breakToken = tokenizer.encode('\n\n', { addSpecialTokens: false })
    expect(breakToken).toHaveLength(1)
    expect(separate.ids.filter((id) => id === breakToken[0])).toHaveLength(5)
    expect(joined.ids).not.toContain(breakToken[0])
    expect(separate.ids.filter((id) => id === 0)).toHaveLength(1)
    expect(shotEncoding(TEMPLATE, { chatStop: ['\n\n'] })).toBe('separate')
    expect(shotEncoding(parseTemplate('{input}\n{output}\n'), { chatStop: ['\n\n'] })).toBe('joined')
    expect(shotEncoding(TEMPLATE, {})).toBe('joined')
  })
})

describe('answers in context', () => {
  it('follow the longest beginning that all encodings share', () => {
    // One letter a token, but "a:b" and ":c" are one each.
    const merging = fakeTokenizer(['a:b', ':c'])
    const text = (ids: readonly number[]) => merging.decode(ids)
    const plain = placeAnswers(merging, ['xa:'], ['d', 'e'])
    expect([text(plain.ids), ...plain.answers.map(text)]).toEqual(['xa:', 'd', 'e'])
    const merged = placeAnswers(merging, ['xa:'], ['c', 'd'])
    expect([text(merged.ids), ...merged.answers.map(text)]).toEqual(['xa', ':c', ':d'])
    expect(merged.answers.map((ids) => ids.length)).toEqual([1, 2])
    const deeper = placeAnswers(merging, ['xa:'], ['b', 'c', 'd'])
    expect([text(deeper.ids), ...deeper.answers.map(text)]).toEqual(['x', 'a:b', 'a:c', 'a:d'])
  })

  it('complete the prompt, whatever the texts', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ':', ' ', 'd'), minLength: 1, maxLength: 5 })
    const merging = fakeTokenizer(['a:b', ':c', ' d', 'aa', ': '])
    fc.assert(
      fc.property(word, fc.array(word, { minLength: 1, maxLength: 4 }), (prompt, answers) => {
        for (const t of [merging, tokenizer]) {
          const placed = placeAnswers(t, [prompt], answers)
          answers.forEach((answer, i) => {
            const ids = placed.answers[i]!
            expect(ids.length).toBeGreaterThan(0)
            expect([...placed.ids, ...ids]).toEqual(t.encode(prompt + answer))
          })
        }
      }),
    )
  })
})

describe('shots', () => {
  it('are drawn without replacement, by seed and item, and never the item itself', async () => {
    const antonym = await loadTask('antonym', { data })
    const twin: Task = { ...antonym, items: antonym.items, shots: [...antonym.items, antonym.items[0]!] }
    fc.assert(
      fc.property(fc.nat(7), fc.nat(12), fc.nat(), (index, count, seed) => {
        const shots = sampleShots(twin, index, count, seed)
        expect(shots).toEqual(sampleShots(twin, index, count, seed))
        expect(shots.map((s) => s.input)).not.toContain(twin.items[index]!.input)
        expect(shots.length).toBe(Math.min(count, index === 0 ? 7 : 8))
        expect(new Set(shots.map((s) => twin.shots.indexOf(s))).size).toBeGreaterThanOrEqual(shots.length - 1)
        expect(shots.slice(0, 3)).toEqual(sampleShots(twin, index, Math.min(3, count), seed))
      }),
    )
    const draws = new Set(
      Array.from({ length: 20 }, (_, seed) =>
        sampleShots(antonym, 2, 3, seed)
          .map((s) => s.input)
          .join(),
      ),
    )
    expect(draws.size).toBeGreaterThan(15)
    expect(() => sampleShots(antonym, 99, 1, 0)).toThrow(InputError)
    expect(() => sampleShots(antonym, 0, 1.5, 0)).toThrow(InputError)
  })

  it('are drawn evenly', async () => {
    const antonym = await loadTask('antonym', { data })
    const counts = new Map<string, number>()
    for (let seed = 0; seed < 700; seed++) {
      for (const { input } of sampleShots(antonym, 0, 2, seed)) counts.set(input, (counts.get(input) ?? 0) + 1)
    }
    expect(counts.size).toBe(7)
    // 200 each, with a standard deviation of 12.
    for (const count of counts.values()) expect(Math.abs(count - 200)).toBeLessThan(60)
  })

  it('are of the same subject', async () => {
    const mmlu = await loadTask('mmlu', { data })
    mmlu.items.forEach((item, i) => {
      const shots = sampleShots(mmlu, i, 5, 1)
      expect(shots).toHaveLength(3)
      expect(shots.every((shot) => shot.subject === item.subject)).toBe(true)
    })
  })
})

/** One id per character, longest merges first, id 0 in front. */
function fakeTokenizer(merges: readonly string[]): Tokenizer {
  const pieces = [...merges].sort((a, b) => b.length - a.length)
  const encode = (text: string) => {
    const ids: number[] = []
    for (let i = 0; i < text.length; ) {
      const m = pieces.findIndex((piece) => text.startsWith(piece, i))
      ids.push(m < 0 ? text.charCodeAt(i) : 1000 + m)
      i += m < 0 ? 1 : (pieces[m] as string).length
    }
    return ids
  }
  return {
    size: 2000,
    encode: (text, { addSpecialTokens = true } = {}) => (addSpecialTokens ? [0, ...encode(text)] : encode(text)),
    decode: (ids) =>
      ids.map((id) => (id === 0 ? '' : id < 1000 ? String.fromCharCode(id) : pieces[id - 1000])).join(''),
    endIds: [],
    piece: (id) => pieces[id - 1000] ?? null,
    isSpecial: (id) => id === 0,
    dispose: () => undefined,
  }
}
