/** Text of the tokens that templates and text go by; null where the checkpoint names none. */
export interface SpecialTokens {
  readonly bos: string | null
  readonly eos: string | null
  readonly unknown: string | null
  readonly padding: string | null
}
