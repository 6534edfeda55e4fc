/**
 * The known names that are closest to a mistyped one, closest first: those that begin with it or have it within, then by the number of letters to insert, delete, change or
 * swap with their neighbour (optimal string alignment), upper and lower case alike.
 * @param most how far a name may be; default a third of the longer name's letters, one at least
 */
export function nearestNames(name: string, known: readonly string[], most?: number): string[] {
  // Nobody mistypes a name of 100 letters, and the table grows with the square.
  const typed = name.slice(0, 100).toLowerCase()
  return known
    .map((candidate) => ({ candidate, distance: editDistance(typed, candidate.toLowerCase()) }))
    .filter(
      ({ candidate, distance }) =>
        distance <= (most ?? Math.max(1, Math.floor(Math.max(typed.length, candidate.length) / 3))),
    )
    .sort((a, b) => rank(typed, a.candidate) - rank(typed, b.candidate) || a.distance - b.distance)
    .map(({ candidate }) => candidate)
}

/** Whoever types a part of a name means no other of the same length. */
function rank(typed: string, candidate: string): number {
  const at = candidate.toLowerCase().indexOf(typed)
  return at < 0 ? 2 : Math.min(at, 1)
}

/** `; did you mean gap?`, or nothing where no known name is close. */
export function didYouMean(name: string, known: readonly string[]): string {
  const [nearest] = nearestNames(name, known)
  return nearest === undefined ? '' : `; did you mean ${nearest}?`
}

function editDistance(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + change)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j]!, before[j - 2]! + 1)
      }
    }
    before = above
    above = row
  }
  return above[b.length]!
}
