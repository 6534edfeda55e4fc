import type { TracedModel } from './matrix-traces.js'
import { trainedWindow } from './trained-window.js'

/** What the matrix ran into. */
interface Findings {
  readonly failures: readonly string[]
  /** Rows of which no threshold met the target. */
  readonly unreached: readonly string[]
}

interface Asked {
  readonly fit: { readonly perLayer?: boolean; readonly layers?: readonly number[] }
  readonly target: { readonly kind: string; readonly value: number }
}

/** How the figures came about, and what does not show in them. */
export function matrixNotes(
  models: readonly TracedModel[],
  { fit, target }: Asked,
  { failures, unreached }: Findings,
): string[] {
  const notes = [
    'Half of the questions of each task are for testing; a classifier is fitted on the others, of its own task or of all tasks ' +
      'of its group, and its threshold chosen over 20 random splits of them. No question is in both halves, in whatever task or model.',
  ]
  if (new Set(models.map(({ layers }) => layers)).size > 1) {
    const layers = models.map((model) => `${model.name} has ${model.layers} layers`).join(', ')
    const how = fit.perLayer
      ? 'of the classifiers per layer each checked layer takes the nearest by relative depth'
      : fit.layers === undefined
        ? 'the one classifier for all layers is used as it is'
        : 'the one classifier is used as it is, at layers of the same relative depth'
    notes.push(`${layers}: ${how}.`)
  }
  if (unreached.length > 0) {
    notes.push(
      `No threshold reaches ${target.kind}=${target.value} for ${unreached.join(', ')}: these run full depth everywhere.`,
    )
  }
  for (const failure of failures) notes.push(`No classifier for ${failure}.`)
  for (const { name, tasks } of models) {
    const of = models.length > 1 ? ` on ${name}` : ''
    const skipped = tasks.filter((task) => task.skipped > 0)
    if (skipped.length > 0) {
      const list = skipped.map((task) => `${task.skipped} of ${task.task}`).join(', ')
      notes.push(`Questions that do not fit the context were left out${of}: ${list}.`)
    }
    const beyond = tasks.filter((task) => task.beyondWindow).map(({ task }) => task)
    if (beyond.length > 0) {
      notes.push(
        `Some prompts are longer than the ${trainedWindow(name)} tokens that the model was trained on${of}: ${beyond.join(', ')}.`,
      )
    }
  }
  return notes
}
