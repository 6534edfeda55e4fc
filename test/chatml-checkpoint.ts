import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** As many families have it: every turn between marks of its own, and a system message where one is given. */
export const CHATML =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

interface TokenizerJson {
  added_tokens: object[]
  model: { vocab: Record<string, number>; merges: (string | [string, string])[] }
}

/**
 * Gives a checkpoint that has the bundled tokenizer ChatML's template and marks, which take the places of two tokens.
 * @param ids of `<|im_start|>` and `<|im_end|>`
 */
export async function speakChatml(folder: string, ids: readonly [number, number] = [4094, 4095]): Promise<void> {
  const path = join(folder, 'tokenizer.json')
  const tokenizer = JSON.parse(await readFile(path, 'utf8')) as TokenizerJson
  const { vocab } = tokenizer.model
  const gone = new Set(Object.keys(vocab).filter((token) => ids.includes(vocab[token] as number)))
  for (const token of gone) delete vocab[token]
  tokenizer.model.merges = tokenizer.model.merges.filter((merge) => {
    const [left = '', right = ''] = typeof merge === 'string' ? merge.split(' ') : merge
    return ![left, right, left + right].some((token) => gone.has(token))
  })
  for (const [i, content] of ['<|im_start|>', '<|im_end|>'].entries()) {
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    vocab[content] = ids[i] as number
    tokenizer.added_tokens.push({ id: ids[i], content, ...flags })
  }
  await writeFile(path, JSON.stringify(tokenizer))
  const configPath = join(folder, 'tokenizer_config.json')
  const config = JSON.parse(await readFile(configPath, 'utf8')) as object
  await writeFile(configPath, JSON.stringify({ ...config, chat_template: CHATML }))
}
