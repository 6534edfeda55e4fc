import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { byteLevelVocabulary, metadataOf } from '../../test/gguf-vocabulary.js'
import { InputError } from '../errors.js'
import { openGgufTokenizer } from '../vocabulary/gguf-tokenizer.js'
import type { EncodeOptions, Tokenizer } from './tokenizer.js'
import { createJsonTokenizer } from './tokenizer-json.js'

const tokenizerJson = 'pretrained/ripple-8m/tokenizer.json'
const TOKENIZERS: Readonly<Record<string, () => Promise<Tokenizer>>> = {
  'tokenizer.json': () => Promise.resolve(createJsonTokenizer(tokenizerJson, readFileSync(tokenizerJson, 'utf8'))),
  GGUF: async () => (await openGgufTokenizer(metadataOf(byteLevelVocabulary('gpt-2'))))!.tokenizer,
}

describe.each(Object.entries(TOKENIZERS))('a tokenizer of %s', (_, open) => {
  it('refuses arguments of the wrong type and options that it does not have', async () => {
    const t = await open()
    const refused = (call: () => unknown, message: string) => expect(call).toThrow(new InputError(message))
    refused(() => t.encode(null as unknown as string), 'encode takes a text, not null')
    refused(() => t.encode('a', null as unknown as EncodeOptions), 'the options of encode are an object, not null')
    refused(
      () => t.encode('a', { addBoss: 1 } as EncodeOptions),
      'encode has no option "addBoss"; it has addSpecialTokens, parseSpecial',
    )
    refused(
      () => t.encode('a', { parseSpecial: 'no' } as unknown as EncodeOptions),
      'option parseSpecial of encode is true or false, not "no"',
    )
    refused(() => t.decode('x' as unknown as number[]), 'decode takes a list of token ids, not "x"')
    refused(() => t.decode([1, undefined] as number[]), 'decode takes a list of token ids; undefined is none')
    expect(t.decode(t.encode('the', { addSpecialTokens: false }), {})).toBe('the')
    t.dispose()
  })
})
