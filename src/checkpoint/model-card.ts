/**
 * The models that a model card names as those its model was made from: `base_model` of the YAML block that opens a
 * README.md, one name or a list of them. Empty where the card names none; nothing else of the card is read.
 */
export function baseModelsOfCard(card: string): string[] {
  const [, block] = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(card) ?? []
  if (block === undefined) return []
  const lines = block.split(/\r?\n/)
  const at = lines.findIndex((line) => line.startsWith('base_model:'))
  if (at < 0) return []
  const value = bare(lines[at]!.slice('base_model:'.length))
  if (value !== '')
    return value
      .replace(/^\[(.*)\]$/, '$1')
      .split(',')
      .map(bare)
      .filter(isName)
  const names: string[] = []
  for (const line of lines.slice(at + 1)) {
    const [, item] = /^\s*-\s+(.+)$/.exec(line) ?? []
    if (item === undefined) break
    names.push(bare(item))
  }
  return names.filter(isName)
}

/** Without quotes and a comment. */
function bare(text: string): string {
  return text
    .replace(/(^|\s)#.*$/, '')
    .trim()
    .replace(/^(["'])(.*)\1$/, '$2')
    .trim()
}

function isName(name: string): boolean {
  return /^[\w./-]{1,200}$/.test(name)
}

/** The lines of a model card's YAML block that name its licence, as they stand. */
export function licenceLines(card: string): string[] {
  const [, block = ''] = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(card) ?? []
  return block.split(/\r?\n/).filter((line) => /^license(_name|_link)?:\s*\S/.test(line))
}
