// The section of docs/unified.md about real models, of what methods-plans.js has measured.
import { machineName } from '../dist/evaluate/machine.js'
import { fixed, signed } from '../dist/evaluate/report/format.js'

export function plansPage(reports, { quick, threads }) {
  return [
    '## Plans and bridges on real models',
    `Written by \`npm run bench:methods\` on ${new Date().toISOString().slice(0, 10)}: ${machineName()}; ${threads} threads.${quick ? ' A quick run: few texts, three rounds.' : ''} Added loss is
in nats per token less full depth's on the same tokens, with 95% intervals over windows of 256 tokens (prompts of 32 at full depth are not scored): news is
WMT22's English side, prose the opening of Austen's Persuasion. Searches and fits saw the first 60% of each text, the figures are on the
rest; ShortGPT and SLEB choose by the text that comes along. *bridged*: linear maps over the gaps ([bridges.md](bridges.md)); *folded*: maps that go into the last MLP below the gap, at no cost. Delivered is full
depth's decode time over the plan's, batch 1, the median of interleaved rounds.`,
    ...reports.flatMap(section),
  ].join('\n\n')
}

function section({ label, layers, full, rows, texts }) {
  const kinds = full.map(({ kind }) => kind)
  const targets = [...new Set(rows.map(({ target }) => target))]
  return [
    `### ${label}`,
    `${layers} layers; full depth: ${full.map(({ kind, loss, windows }) => `${kind} ${fixed(loss, 3)} nats (${windows} windows)`).join(', ')}.`,
    table(
      [
        'target',
        'layers',
        'method',
        'plan leaves out',
        '',
        ...kinds.map((kind) => `${kind}, added`),
        'mean',
        'delivered',
      ],
      rows.map(({ target, plan, method, variant, added, delivered }) => [
        `${target}x`,
        String(plan.length),
        method,
        variant === 'plain' ? leftOut(plan, layers) : '',
        variant,
        ...added.map(({ mean, low, high }) => `${signed(mean, 3)} [${signed(low, 3)}, ${signed(high, 3)}]`),
        signed(meanOf(added), 3),
        `${fixed(delivered, 2)}x`,
      ]),
    ),
    ...targets.map((target) =>
      verdict(
        target,
        rows.filter((row) => row.target === target),
      ),
    ),
    `One prompt, ${texts.target}x, greedy: *${texts.prompt}*`,
    table(
      ['', 'goes on'],
      texts.texts.map(({ name, text }) => [name, text.replace(/\s+/g, ' ').replaceAll('|', '\\|').trim()]),
    ),
  ]
}

/** How far the searched plan with bridges is below the best plain plan, its own without bridges among them, and below ShortGPT's. */
function verdict(target, rows) {
  const least = (some) =>
    some.reduce((best, row) => (best === null || meanOf(row.added) < meanOf(best.added) ? row : best), null)
  const found = least(rows.filter(({ method, variant }) => method === 'search --bridge' && variant === 'bridged'))
  const plain = least(rows.filter(({ variant }) => variant === 'plain'))
  const shortgpt = least(rows.filter(({ method, variant }) => method === 'shortgpt' && variant === 'plain'))
  const ratio = (row) => fixed(meanOf(found.added) / meanOf(row.added), 2)
  const beside = shortgpt === null ? '' : `, ${ratio(shortgpt)} of ShortGPT's`
  return `${target}x: the searched plan with its bridges adds ${ratio(plain)} of what the best plain plan adds (${plain.method})${beside}; mean over the texts.`
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

function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
