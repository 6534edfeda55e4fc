/** Verdicts that a rate remembers. */
const MEMORY = 256
/** Before anything is known a rate is a prior, which counts as much as so many verdicts. */
const PRIOR_WEIGHT = 4
const PRIOR_RATE = 0.7

interface Verdicts {
  accepted: number
  judged: number
}

/** How often drafts stand, told apart by how sure their source is of them. */
export class Acceptance {
  private readonly all: Verdicts = { accepted: PRIOR_RATE * PRIOR_WEIGHT, judged: PRIOR_WEIGHT }
  private readonly grades: readonly Verdicts[]

  /** @param priors one for each degree of sureness: a rate, or null for that of all drafts */
  constructor(private readonly priors: readonly (number | null)[]) {
    this.grades = priors.map(() => ({ accepted: 0, judged: 0 }))
  }

  /** Of all drafts. */
  get rate(): number {
    return this.all.accepted / this.all.judged
  }

  rateOf(grade: number): number {
    const { accepted, judged } = this.grades[grade] as Verdicts
    return (accepted + PRIOR_WEIGHT * (this.priors[grade] ?? this.rate)) / (judged + PRIOR_WEIGHT)
  }

  note(grade: number, stands: boolean): void {
    for (const verdicts of [this.all, this.grades[grade] as Verdicts]) {
      if (verdicts.judged >= MEMORY) {
        verdicts.accepted *= 1 - 1 / MEMORY
        verdicts.judged *= 1 - 1 / MEMORY
      }
      verdicts.judged++
      if (stands) verdicts.accepted++
    }
  }
}
