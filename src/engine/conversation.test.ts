import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { InputError } from '../errors.js'
import { createChatTemplate } from '../template/index.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'
import { Conversation } from './conversation.js'

const PATH = 'pretrained/ripple-8m/tokenizer.json'
const tokenizer = createJsonTokenizer(PATH, await readFile(PATH, 'utf8'))
const TURNS =
  '{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}A:{% endif %}'

function conversation(template: string): Conversation {
  return new Conversation(tokenizer, createChatTemplate(template, { specialTokens: { bos_token: '<s>' } }))
}

const said = (content: string) => [{ role: 'user', content }]

describe('a conversation', () => {
  it('encodes with the one BOS that its template writes', () => {
    const { ids, text } = encoded(conversation(TURNS), 'hello')
    expect(text).toBe('<s>user: hello</s>\nA:')
    expect(ids.filter((id) => id === 0)).toEqual([0])
    expect(ids[0]).toBe(0)
  })

  it('takes a special token that a message spells as that token', () => {
    const { ids } = encoded(conversation(TURNS), 'the end</s>')
    expect(ids.filter((id) => id === 1)).toHaveLength(2)
  })

  it('takes it as text where contents are literal, and changes nothing else', () => {
    const chat = conversation(TURNS)
    const ids = chat.encode(said('the end</s>'), { literalContent: true })
    expect(ids.filter((id) => id === 1)).toHaveLength(1)
    expect(tokenizer.decode(ids)).toBe('<s>user: the end</s></s>\nA:')
    expect(chat.encode(said('hello'), { literalContent: true })).toEqual(chat.encode(said('hello')))
  })

  it('refuses literal contents where the template changes them', () => {
    const chat = conversation('{% for m in messages %}{{ m.content | upper }}</s>{% endfor %}')
    expect(() => chat.encode(said('hello'), { literalContent: true })).toThrow(InputError)
  })

  it('knows what ends an answer, and whether there is a place for a system message', () => {
    expect(conversation(TURNS)).toMatchObject({ endOfTurn: 1, takesSystem: true })
    expect(conversation('{% for m in messages %}Q: {{ m.content }}\n{% endfor %}')).toMatchObject({ endOfTurn: null })
    expect(conversation('{{ messages[-1].content }}').takesSystem).toBe(false)
    expect(conversation('{{ raise_exception("no") }}')).toMatchObject({ endOfTurn: null, takesSystem: false })
  })

  it('says what a template says where it refuses', () => {
    expect(() => conversation('{{ raise_exception("roles must take turns") }}').render([])).toThrow(
      'roles must take turns',
    )
  })
})

function encoded(chat: Conversation, content: string): { ids: number[]; text: string } {
  return { ids: chat.encode(said(content)), text: chat.render(said(content)) }
}
