/**
 * Text for XML and HTML content and quoted attributes. Characters that XML 1.0 does not allow (section 2.2) become
 * U+FFFD: task names and specs come from files and arguments.
 */
export function escapeXml(text: string): string {
  return text
    .toWellFormed()
    .replace(/(?![\t\n\r])[\p{Cc}\ufffe\uffff]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}

/** Text for a Markdown table cell or list item (GitHub's flavour): shown as it is, on one line. */
export function escapeMarkdown(text: string): string {
  return (
    text
      .toWellFormed()
      .replace(/\s+/g, ' ')
      .replace(/\p{Cc}/gu, '\ufffd')
      .replace(/[\\`*~|]/g, '\\$&')
      // Underscores and brackets stay where they mean nothing: `fruit_v_animal_3`, `[0.68, 0.74]`.
      .replace(/(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu, '\\_')
      .replace(/\](?=[([:])/g, '\\]')
      .replace(/&/g, '&amp;')
      .replace(/</g, '&lt;')
      .replace(/^(\d+)(?=[.)](?: |$))/, '$1\\')
      .replace(/^[#>+-](?=[# ]|$)/, '\\$&')
  )
}
