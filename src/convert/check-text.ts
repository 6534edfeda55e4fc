import { basename } from 'node:path'
import type { HuggingFaceFolder } from '../checkpoint/huggingface.js'
import { InputError, UnsupportedError } from '../errors.js'
import { createChatTemplate } from '../template/index.js'
import { createJsonTokenizer } from '../tokenizer/tokenizer-json.js'

/**
 * What cannot be used of a checkpoint's tokenizer and chat template, as warnings: token ids work without either. The
 * warnings go into the file, and so name files without their folder.
 * @throws FileError where the tokenizer is damaged, so that no model is made of it
 */
export function checkText(checkpoint: HuggingFaceFolder): string[] {
  return [...tokenizerWarnings(checkpoint), ...templateWarnings(checkpoint)]
}

function tokenizerWarnings({ tokenizerJson, tokenizerPath }: HuggingFaceFolder): string[] {
  if (tokenizerJson === null) return []
  try {
    createJsonTokenizer(tokenizerPath, tokenizerJson).dispose()
    return []
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error
    const reason = error.message.replace(tokenizerPath, () => basename(tokenizerPath))
    return [`${reason}: the model works with token ids only`]
  }
}

function templateWarnings({ chatTemplate, chatTemplatePath }: HuggingFaceFolder): string[] {
  if (chatTemplate === null) return []
  try {
    createChatTemplate(chatTemplate, { path: basename(chatTemplatePath) })
    return []
  } catch (error) {
    if (!(error instanceof InputError)) throw error
    return [`${error.message}: the model continues texts and has no chat`]
  }
}
