import { createRandomStream } from '../engine/schedule/random-stream.js'
import type { TraceSet } from './traces.js'

/** Gives each question its part; a question that was dealt out before keeps its part. */
export type Split<Part> = (questions: readonly string[]) => Part[]

/**
 * Questions are shuffled before they are dealt out, as files often have their labels in turn, and dealt out one by one to the
 * parts of `pattern` in turn. A question that a file has twice, that two tasks share, or that was asked with several draws of
 * shots must not be trained on here and tested there.
 */
export function createSplit<Part>(pattern: readonly Part[], seed: number): Split<Part> {
  const known = new Map<string, Part>()
  const random = createRandomStream(seed)
  return (questions) => {
    const fresh = [...new Set(questions)].filter((question) => !known.has(question))
    for (let i = fresh.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1))
      ;[fresh[i], fresh[j]] = [fresh[j]!, fresh[i]!]
    }
    for (const [i, question] of fresh.entries()) known.set(question, pattern[i % pattern.length]!)
    return questions.map((question) => known.get(question)!)
  }
}

/** The parts of traces under a split. */
export function splitTraces<Part>(traces: TraceSet, split: Split<Part>): (...parts: readonly Part[]) => TraceSet {
  const own = split(traces.instances.map(({ question }) => question))
  return (...parts) => {
    const instances = traces.instances.filter((_, i) => parts.includes(own[i]!))
    return { ...traces, instances, sequences: new Set(instances.map(({ sequence }) => sequence)).size }
  }
}

/** How many different questions there are. */
export function countQuestions({ instances }: TraceSet): number {
  return new Set(instances.map(({ question }) => question)).size
}
