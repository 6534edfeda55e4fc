/** Text of the tokens that templates and text go by; null where the checkpoint names none. */
export interface SpecialTokens {
  readonly bos: string | null
  readonly eos: string | null
  readonly unknown: string | null
  readonly padding: string | null
  readonly separator: string | null
  readonly classification: string | null
  readonly mask: string | null
  /** Further ones, without a role that the files tell. */
  readonly additional: readonly string[]
}
