/** Tokens of a text that the bundled models saw at once while they were trained; their cards say so. */
const BUNDLED_WINDOW = 256
const BUNDLED = /^ripple-8m(-flex|-unified2x)?$/

/** The longest prompt that a model was trained on, where that is known to be less than its context. */
export function trainedWindow(modelName: string): number {
  return BUNDLED.test(modelName) ? BUNDLED_WINDOW : Number.POSITIVE_INFINITY
}
