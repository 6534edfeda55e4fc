// The section of docs/unified.md about real models: all that methods-plans.js measures, of docs/methods.json.
import { fixed, signed } from '../dist/evaluate/report/format.js'
import { figureSvg } from '../dist/evaluate/report/svg.js'
import { qualityFigure } from './quality-figure.js'

/** The order of the rows of a target. */
const METHODS = ['unified', 'shortgpt', 'sleb', 'search', 'search --bridge']

/** @param models of the record @returns the page and its figures, by file name */
export function plansPage(models) {
  const figures = new Map()
  const sections = Object.entries(models).flatMap(([name, model]) => section(name, model, figures))
  const page = [
    '## Plans and bridges on real models',
    `Written by \`npm run bench:methods\`; every figure is in [methods.json](methods.json). Added loss is
in nats per token less full depth's on the same tokens, with 95% intervals over windows of 256 tokens (prompts of 32 at full depth are not scored): news is
WMT22's English side, prose the opening of Austen's Persuasion. Answers: the share of questions of SST-2 and AG News (5 shots) whose
first token is right where the prompt ran at full depth and its last token under the plan, as in generation. Searches and fits saw the first 60% of
each text, the figures are on the
rest; ShortGPT and SLEB choose by the text that comes along. *bridged*: linear maps over the gaps ([bridges.md](bridges.md)); *folded*: maps that go
into the last MLP below the gap, at no cost. Delivered is full
depth's decode time over the plan's, batch 1, the median of interleaved rounds.`,
    ...sections,
  ].join('\n\n')
  return { page, figures }
}

function section(name, { label, layers, full, fit, text, measured }, figures) {
  const kinds = full.texts.map(({ kind }) => kind)
  const rows = Object.values(measured)
    .flatMap((of) => of.rows)
    .sort((a, b) => a.target - b.target || METHODS.indexOf(a.method) - METHODS.indexOf(b.method))
  const targets = [...new Set(rows.map(({ target }) => target))]
  const questions = full.answers.reduce((sum, one) => sum + one.questions, 0)
  const accuracy = full.answers.reduce((sum, one) => sum + one.accuracy * one.questions, 0) / questions
  const file = `plans-${name}.svg`
  const isTimed = rows.some(({ delivered }) => delivered !== null)
  if (isTimed) figures.set(file, `${figureSvg(figure(name, label, rows, accuracy), 'auto')}\n`)
  return [
    `### ${label}`,
    `${layers} layers; full depth: ${full.texts.map(({ kind, loss, windows }) => `${kind} ${fixed(loss, 3)} nats (${windows} windows)`).join(', ')}; ${full.answers.map((one) => `${one.task} ${fixed(one.accuracy, 3)}`).join(', ')} (${questions} questions). Maps were fitted on ${fit} windows. ${circumstances(measured)}`,
    ...(isTimed ? [`![Added loss and accuracy against delivered speedup](figures/${file})`] : []),
    table(
      [
        ...['target', 'layers', 'method', 'plan leaves out', ''],
        ...kinds.map((kind) => `${kind}, added`),
        ...['mean', 'answers', 'delivered'],
      ],
      rows.map(({ target, plan, method, variant, added, accuracy: answers, delivered }) => [
        `${target}x`,
        String(plan.length),
        method,
        variant === 'plain' ? leftOut(plan, layers) : '',
        variant,
        ...added.map(({ mean, low, high }) => `${signed(mean, 3)} [${signed(low, 3)}, ${signed(high, 3)}]`),
        signed(meanOf(added), 3),
        `${fixed(answers.mean, 3)} [${fixed(answers.low, 3)}, ${fixed(answers.high, 3)}]`,
        delivered === null ? '–' : `${fixed(delivered, 2)}x`,
      ]),
    ),
    ...targets.flatMap((target) => verdict(target, rows) ?? []),
    ...targets.flatMap((target) => {
      const shown = rows.filter((row) => row.target === target && row.text !== null)
      if (shown.length === 0) return []
      const goesOn = (own) => own.replace(/\s+/g, ' ').replaceAll('|', '\\|').trim()
      return [
        `One prompt, ${target}x, greedy: *${text.prompt}*`,
        table(
          ['', 'goes on'],
          [
            ['full depth', goesOn(text.full)],
            ...shown.map((row) => [`${row.method}, ${row.variant}`, goesOn(row.text)]),
          ],
        ),
      ]
    }),
  ]
}

/** When, on what and how, once for all targets that share it. */
export function circumstances(measured) {
  const by = new Map()
  for (const [target, { date, machine, threads, quick }] of Object.entries(measured)) {
    const how = `${date}, ${machine}, ${threads} threads${quick ? ', a quick run' : ''}`
    by.set(how, [...(by.get(how) ?? []), target])
  }
  const all = [...by].map(([how, targets]) => (by.size === 1 ? how : `${targets.join(', ')}: ${how}`))
  return `Measured ${all.join('; ')}.`
}

/** How far the searched plan with bridges is below the best plain plan, its own without bridges among them, and below ShortGPT's. */
function verdict(target, all) {
  const rows = all.filter((row) => row.target === target)
  const least = (some) =>
    some.reduce((best, row) => (best === null || meanOf(row.added) < meanOf(best.added) ? row : best), null)
  const found = least(rows.filter(({ method, variant }) => method === 'search --bridge' && variant === 'bridged'))
  const plain = least(rows.filter(({ variant }) => variant === 'plain'))
  const shortgpt = least(rows.filter(({ method, variant }) => method === 'shortgpt' && variant === 'plain'))
  if (found === null) return null
  const ratio = (row) => fixed(meanOf(found.added) / meanOf(row.added), 2)
  const beside = shortgpt === null ? '' : `, ${ratio(shortgpt)} of ShortGPT's`
  return `${target}x: the searched plan with its bridges adds ${ratio(plain)} of what the best plain plan adds (${plain.method})${beside}; mean over the texts.`
}

function figure(name, label, rows, accuracy) {
  const exactly = (mean) => ({ mean, low: mean, high: mean })
  const timed = rows.filter(({ delivered }) => delivered !== null)
  const points = timed.map((row) => ({
    group: `${row.method}, ${row.variant}`,
    name: `${row.method} ${row.target}x, ${row.variant}`,
    loss: exactly(meanOf(row.added)),
    accuracy: row.accuracy,
    delivered: exactly(row.delivered),
  }))
  return qualityFigure(
    points,
    { loss: exactly(0), accuracy: exactly(accuracy) },
    {
      name: `plans-${name}`,
      title: `Quality against delivered speedup: ${label}`,
      subtitle: 'plans at 1.25x, 1.5x and 2x by layers, batch 1; dashed: full depth',
      answers: 'SST-2 and AG News',
    },
  )
}

function meanOf(added) {
  return added.reduce((sum, { mean }) => sum + mean, 0) / added.length
}

/** `1, 3, 13-18` */
function leftOut(plan, layers) {
  const gone = Array.from({ length: layers }, (_, l) => l).filter((l) => !plan.includes(l))
  const runs = []
  for (const l of gone) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === l - 1) last[1] = l
    else runs.push([l, l])
  }
  return runs.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(', ')
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
