export { answerEnd } from './answer-end.js'
export {
  type ChatInput,
  type ChatMessage,
  type ChatTemplate,
  type ChatTemplateOptions,
  createChatTemplate,
} from './chat-template.js'
export { type Piece, renderLiteral } from './literal.js'
