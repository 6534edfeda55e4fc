/** What drafts are measured on: the same two texts to be copied, corrected and summarised, and texts that begin anew. */
const SUBJECTS = [
  {
    text: 'The harbour of Lindholm froze in the second week of January, and the ferries stayed at their berths. Anna Berg, who had kept the lighthouse for eleven years, walked across the ice to the village every morning to fetch bread, letters and oil for the lamps. On the fourth day she found a small brown dog on the steps of the chapel.',
    misspelt:
      'The harbour of Lindholm froze in the secnd week of January, and the ferries stayed at there berths. Anna Berg, who had kept the lighthouse for eleven years, walked acros the ice to the village every morning to fetch bread, leters and oil for the lamps. On the fourth day she found a smal brown dog on the steps of the chapel.',
    opening: 'The lighthouse keeper heard the storm long before she saw it.',
    request: 'Write a short story about a lighthouse keeper and a storm.',
  },
  {
    text: 'The library opens at nine on weekdays and at ten on Saturdays. Readers may borrow six books for four weeks, and renew them twice unless another reader waits for them. Newspapers and maps stay in the reading room. Whoever loses a book pays what a new copy costs, and two crowns for the label.',
    misspelt:
      'The library opens at nine on weekdays and at ten on Saterdays. Readers may borow six books for four weeks, and renew them twice unles another reader waits for them. Newspapers and maps stay in the reeding room. Whoever loses a book pays what a new copy costs, and two crowns for the lable.',
    opening: 'To bake bread at home you need flour, water, salt and time.',
    request: 'Explain how to bake bread at home.',
  },
]
/** For models that continue texts, a pair of the kind that is wanted. */
const EXAMPLE = {
  misspelt: 'The trian was late, and we waitd in the rain.',
  text: 'The train was late, and we waited in the rain.',
}

function kind(name, ask, begin, sampling = { temperature: 0 }) {
  return {
    kind: name,
    sampling,
    /** @param {boolean} chat whether the model takes messages; else it continues a text */
    prompts: (chat) => SUBJECTS.map((s) => (chat ? [{ role: 'user', content: ask(s) }] : begin(s))),
  }
}

export const TEXT_KINDS = [
  kind(
    'copied',
    ({ text }) => `Repeat this text word for word:\n\n${text}`,
    ({ text }) => `Original text:\n${text}\n\nThe text word for word:\n`,
  ),
  kind(
    'corrected',
    ({ misspelt }) => `Correct the spelling of this text and change nothing else:\n\n${misspelt}`,
    ({ misspelt }) =>
      `With mistakes:\n${EXAMPLE.misspelt}\n\nCorrected:\n${EXAMPLE.text}\n\nWith mistakes:\n${misspelt}\n\nCorrected:\n`,
  ),
  kind(
    'summarised',
    ({ text }) => `Summarize this text in two sentences:\n\n${text}`,
    ({ text }) => `Text:\n${text}\n\nSummary of the text:\n`,
  ),
  kind(
    'written freely',
    ({ request }) => request,
    ({ opening }) => opening,
  ),
  kind(
    'written freely, temperature 0.8',
    ({ request }) => request,
    ({ opening }) => opening,
    { temperature: 0.8 },
  ),
]
