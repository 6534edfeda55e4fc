/**
 * Names under which a checkpoint may have a tensor: as it is called in the text model; without the first part, where it was
 * saved from a model without an LM head (BLOOM's own); and inside a multimodal model, as newer and older transformers write it.
 */
export function spellings(name: string): string[] {
  const short = name.slice(name.indexOf('.') + 1)
  return [
    name,
    ...(name.startsWith('model.') ? [`model.language_model.${short}`] : []),
    `language_model.${name}`,
    ...(short === 'weight' || name.startsWith('lm_head') ? [] : [short]),
  ]
}
