/** Verdicts that a rate remembers. */
const MEMORY = 256
/** Before anything is known, and as much as this many verdicts. */
const PRIOR = { rate: 0.7, weight: 4 }

interface Verdicts {
  accepted: number
  judged: number
}

/** How often drafts stand, told apart by how sure their source is of them. */
export class Acceptance {
  private readonly all: Verdicts = { accepted: PRIOR.rate * PRIOR.weight, judged: PRIOR.weight }
  private readonly grades: readonly Verdicts[]

  /** @param grades how many degrees of sureness there are */
  constructor(grades: number) {
    this.grades = Array.from({ length: grades }, () => ({ accepted: 0, judged: 0 }))
  }

  /** Of all drafts. */
  get rate(): number {
    return this.all.accepted / this.all.judged
  }

  rateOf(grade: number): number {
    const { accepted, judged } = this.grades[grade] as Verdicts
    return (accepted + PRIOR.weight * this.rate) / (judged + PRIOR.weight)
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
