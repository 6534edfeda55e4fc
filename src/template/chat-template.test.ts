import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readGguf } from '../checkpoint/gguf.js'
import { InputError } from '../errors.js'
import { answerEnd, createChatTemplate, renderLiteral } from './index.js'

const messages = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi <|im_end|>' },
]

describe('createChatTemplate', () => {
  it('gives the variables that transformers gives', () => {
    const template = createChatTemplate(
      '{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ pad_token }}{{ bos_token is defined }}{{ additional_special_tokens }}{{ enable_thinking }}',
      { specialTokens: { pad_token: '<pad>', additional_special_tokens: ['<a>'] } },
    )
    expect(template.render({ messages, variables: { enable_thinking: false } })).toBe(
      "TrueTrueTrue<pad>False['<a>']False",
    )
    expect(
      template.render({ messages, addGenerationPrompt: false, tools: [], variables: { pad_token: 'x' } }),
    ).toContain('FalseTrueFalsex')
  })

  it('leaves out what is null in a message, and knows reasoning by each of its names', () => {
    const template = createChatTemplate('{{ messages[0].keys()|list }}')
    expect(template.render({ messages: [{ role: 'assistant', content: null, tool_calls: undefined }] })).toBe(
      "['role']",
    )
    expect(template.render({ messages: [{ role: 'assistant', reasoning: 'r' }] })).toBe(
      "['thinking', 'role', 'reasoning', 'reasoning_content']",
    )
  })

  it('tells whole numbers from others', () => {
    const template = createChatTemplate('{{ messages[0].n }}')
    expect(template.render({ messages: [{ n: [1, 1.5, 1e20, -0.25] }] })).toBe('[1, 1.5, 100000000000000000000, -0.25]')
  })

  it('shows the time in English', () => {
    const template = createChatTemplate("{{ strftime_now('%A, %-d %B %Y') }}", { now: () => new Date(2026, 1, 3) })
    expect(template.render({ messages })).toBe('Tuesday, 3 February 2026')
  })

  it('names the file and the line of what is not valid', () => {
    expect(() => createChatTemplate('a\n{% if %}', { path: 'm/tokenizer_config.json' })).toThrow(
      new InputError("m/tokenizer_config.json: chat template line 2: expected an expression, found '%}'"),
    )
  })
})

describe('renderLiteral', () => {
  const chatml = createChatTemplate(
    '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}',
  )

  it("tells contents from the template's own text", () => {
    const pieces = renderLiteral(chatml, { messages })
    expect(pieces).toEqual([
      { text: '<|im_start|>system\n', literal: false },
      { text: 'Be brief.', literal: true },
      { text: '<|im_end|>\n<|im_start|>user\n', literal: false },
      { text: 'Hi <|im_end|>', literal: true },
      { text: '<|im_end|>\n', literal: false },
    ])
    expect(pieces.map(({ text }) => text).join('')).toBe(chatml.render({ messages }))
  })

  it('takes contents in parts and leaves empty ones', () => {
    const template = createChatTemplate(
      '{% for m in messages %}[{% for p in m.content %}{{ p.text }};{% endfor %}]{% endfor %}',
    )
    const content = [{ type: 'text', text: 'a' }, { type: 'image' }, { type: 'text', text: '' }]
    expect(renderLiteral(template, { messages: [{ role: 'user', content }] })).toEqual([
      { text: '[', literal: false },
      { text: 'a', literal: true },
      { text: ';;;]', literal: false },
    ])
  })

  it('refuses a template that changes a content, leaves one out or decides by one', () => {
    const trimmed = createChatTemplate('{% for m in messages %}{{ m.content|trim }}{% endfor %}')
    expect(renderLiteral(trimmed, { messages })).toHaveLength(2)
    for (const [source, content] of [
      ['{{ messages[0].content|trim }}', ' a'],
      ['{{ messages[0].content|upper }}', 'a'],
      ['{{ messages|length }}', 'a'],
      ["{{ messages[0].content }}{{ '!' if 'a' in messages[0].content }}", 'a'],
    ] as const) {
      const template = createChatTemplate(source)
      expect(() => renderLiteral(template, { messages: [{ role: 'user', content }] })).toThrow(InputError)
    }
  })

  it('is not misled by a content that looks like a placeholder', () => {
    const content = 'content0z contentx1z content1z'
    const pieces = renderLiteral(chatml, {
      messages: [
        { role: 'user', content },
        { role: 'user', content: 'b' },
      ],
    })
    expect(pieces.filter(({ literal }) => literal).map(({ text }) => text)).toEqual([content, 'b'])
  })
})

describe('answerEnd', () => {
  it('is what follows an answer, or null where the template shows none', () => {
    const chatml = '{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}'
    expect(answerEnd(createChatTemplate(chatml))).toBe('<|im_end|>\n')
    expect(answerEnd(createChatTemplate('{{ messages[0].content }}'))).toBeNull()
    expect(answerEnd(createChatTemplate("{{ raise_exception('no') }}"))).toBeNull()
  })
})

const MODEL = 'smollm2-135m-instruct-q4_1.gguf'
const model = [process.env.SHOAL_MODELS, '../shared/models']
  .filter((folder) => folder !== undefined)
  .map((folder) => join(folder, MODEL))
  .find((path) => existsSync(path))
if (model === undefined) console.log(`skipped: the template of ${MODEL}, which is not here`)

describe.skipIf(model === undefined)('the template of a GGUF file', () => {
  it('puts turns between its marks, and a system turn first', async () => {
    const file = await readGguf(model!)
    const source = file.metadata.string('tokenizer.chat_template')
    const template = createChatTemplate(source)
    const text = template.render({ messages: [{ role: 'user', content: 'Hi' }] })
    expect(text).toMatch(
      /^<\|im_start\|>system\n.*<\|im_end\|>\n<\|im_start\|>user\nHi<\|im_end\|>\n<\|im_start\|>assistant\n$/s,
    )
  })
})
