// The section of docs/adainfer.md about real models: all that methods-exits.js measures, of docs/methods.json.
import { fixed, interval, signed } from '../dist/evaluate/report/format.js'
import { circumstances, table } from './methods-page.js'

/** @param models of the record */
export function exitsPage(models) {
  return [
    '## Exits on real models',
    `Written by \`npm run bench:methods\`; every figure is in [methods.json](methods.json). Half of the questions of a set calibrate, asked with three draws of
shots (one without shots), the others give the results; they share no question. An answer is right where its first token is a gold answer's. Chance is
what always giving the most frequent answer would get. Depth, agreement with full depth and accuracy are read off
full-depth traces; *lost* is the share of the questions that full depth answers right and the rule does not. Of every set as many
questions are drawn, evenly spread over all of them (MMLU: over all subjects).

- *The paper's SVM and CRF*: one classifier for all layers on gap and top probability, at its own boundary. *Chosen*: the same SVM, or the gap, with a threshold
  that loses at most one point of the answers on the calibration half.
- *Ours*: an SVM, a CRF or a logistic regression for each layer, whichever saves the most on the calibration half ([evaluation.md](evaluation.md)), on a check head of some 20 tokens, asked after the layers where dynamic programming finds
  that it pays, with a threshold for one lost point; *raw* reads layers as they are, *lens* through linear maps to the end of the
  model ([a lens](bridges.md#a-lens)), one lens for all tasks, fitted on news, prose and prompts of calibration questions.
- Time is that of the whole question (its prompt and the first token of the answer) over full depth's, of interleaved runs through the engine.`,
    ...Object.values(models).flatMap(section),
  ].join('\n\n')
}

function section({ label, layers, measured }) {
  const sets = Object.entries(measured).filter(([, one]) => one.rules !== undefined)
  const passed = Object.entries(measured).filter(([, one]) => one.rules === undefined)
  const ofRule = (one, rule) => one.rules.find((own) => own.rule === rule || own.rule.startsWith(rule)) ?? null
  const depth = (row) => (row === null ? '–' : fixed(row.depth.mean, 2))
  const short = (row) =>
    row === null ? '–' : `${fixed(row.depth.mean, 1)}, ${fixed(row.agreement.mean, 2)}, ${fixed(row.losses, 3)}`
  return [
    `### ${label}`,
    `${layers} layers. ${circumstances(Object.fromEntries(sets))} A cell has mean depth, agreement and lost answers.`,
    gapNote(sets),
    table(
      ['', 'full depth (chance)', 'oracle', "the paper's SVM", "the paper's CRF", 'gap 0.8', 'ours, raw', 'ours, lens'],
      sets.map(([key, one]) => [
        `${key}${beats(one) ? '' : ' *'}`,
        `${fixed(one.full.mean, 3)} (${fixed(one.chance, 3)})`,
        depth(ofRule(one, 'oracle')),
        ...["the paper's SVM", "the paper's CRF", 'gap 0.8', 'ours, raw', 'ours, lens'].map((rule) =>
          short(ofRule(one, rule)),
        ),
      ]),
    ),
    '\\* full depth does not beat chance by two standard errors.',
    ...verdicts(sets, layers),
    `<details><summary>Every rule on every set</summary>`,
    ...sets.map(([key, one]) => detail(key, one)),
    '</details>',
    ...(passed.length === 0 ? [] : transfers(passed)),
  ]
}

/** What the published gap does without calibration. */
function gapNote(sets) {
  const rows = sets.map(([, { rules }]) => rules.find(({ rule }) => rule === 'gap 0.8'))
  const most = Math.max(...rows.map(({ depth }) => depth.mean))
  const share = Math.max(...rows.map(({ agreement }) => agreement.mean))
  const own = sets[0][1].rules.find(({ rule }) => rule.startsWith('gap:0.8'))?.rule
  return `The published gap of 0.8, checked after every layer, leaves at depth ${fixed(most, 2)} at most and agrees with full depth in ${percent(share)} of a set's questions at most. Uncalibrated, Shoal runs it as \`${own}\` ([where checks begin](depth.md#where-checks-begin)).`
}

/** Whether full depth is better than chance by two standard errors. */
function beats({ full, chance, questions }) {
  const error = Math.sqrt((full.mean * (1 - full.mean)) / questions.test)
  return full.mean - chance > 2 * error
}

function verdicts(sets, layers) {
  const rows = sets
    .filter(([, one]) => beats(one))
    .map(([key, one]) => {
      const lens = one.rules.find(({ rule }) => rule === 'ours, lens')
      const paper = one.rules.find(({ rule }) => rule === 'SVM, chosen threshold')
      if (lens === undefined) return null
      const saved = (row) => (row === undefined ? 0 : (layers - row.depth.mean) / layers)
      const raw = saved(paper)
      const times = raw > 0.0005 ? `, ${fixed(saved(lens) / raw, 1)} times as many` : ''
      const time =
        lens.time === null ? '' : `; the time saved is ${fixed(lens.time.saved, 2)} of that (${lens.time.n} questions)`
      return `- ${key}: ${percent(saved(lens))} of the layers saved through the lens${times}; the SVM on raw features saves ${percent(raw)} at the same target${time}.`
    })
  return [rows.filter((row) => row !== null).join('\n')]
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`
}

function detail(key, { rules, full, fullMs, questions }) {
  return [
    `#### ${key}`,
    `${questions.calibration} questions calibrate, ${questions.test} give the results: ${interval(full, 3)} right at full depth${fullMs === null ? '' : `, ${interval(fullMs, 1)} ms a question`}.`,
    table(
      [
        'rule',
        'depth',
        'agreement',
        'accuracy',
        'less full depth',
        'lost',
        'time / full',
        'checked layers',
        'a check, in layers',
      ],
      rules.map(({ rule, depth, agreement, accuracy, difference, losses, time, checks }) => [
        ...[
          rule,
          interval(depth, 2),
          interval(agreement, 3),
          interval(accuracy, 3),
          interval(difference, 3, signed),
          fixed(losses, 3),
        ],
        time === null ? '' : interval(time.time, 2),
        checks === undefined ? '' : String(checks.layers),
        checks?.cost === undefined || checks.cost === null ? '' : fixed(checks.cost, 3),
      ]),
    ),
  ].join('\n\n')
}

function transfers(passed) {
  const cell = (one) =>
    one === null || one === undefined
      ? '–'
      : `${fixed(one.depth.mean, 2)}, ${fixed(one.agreement.mean, 3)}, ${signed(one.difference.mean, 3)}`
  return [
    "The SVM of the paper, fitted on another model's traces of the same questions (it has one classifier for all layers, so it needs no layer of its own); depth here, agreement, accuracy less full depth:",
    table(
      ['', 'from', 'at its own boundary', "with a threshold for one lost point on the other model's questions"],
      passed.map(([key, { from, paper, chosen }]) => [key.replace(/, from .*/, ''), from, cell(paper), cell(chosen)]),
    ),
  ]
}
