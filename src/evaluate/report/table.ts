/** A table as text, for HTML and Markdown alike. */
export interface Table {
  readonly id: string
  readonly title: string
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly string[])[]
  readonly notes: readonly string[]
  /** True for long tables behind a figure, which a page may fold. */
  readonly detail: boolean
}

export interface Column {
  readonly name: string
  readonly numeric: boolean
  /** True where a block of rows shares the value, which a page may put above the block. Such columns come first. */
  readonly shared?: boolean
}
