// The page of docs/unified.json: Markdown, and a figure for each model beside it. Nothing here is measured, and every figure
// of the text is taken from the document.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { bootstrapSums } from '../dist/evaluate/bootstrap.js'
import { fixed, interval, NONE, signed } from '../dist/evaluate/report/format.js'
import { figureSvg } from '../dist/evaluate/report/svg.js'
import { PUBLISHED_SETUP, PUBLISHED_SPEEDS, publishedSpeedup } from '../dist/evaluate/speed-table/published.js'
import { fromMarks } from './marks.js'
import { qualityFigure } from './quality-figure.js'

const TUNED = 'ripple-8m-unified2x'

export function writePage(document, out) {
  const folder = join(dirname(out), 'figures')
  mkdirSync(folder, { recursive: true })
  const name = basename(out, '.md')
  for (const model of document.models) {
    writeFileSync(join(folder, `${name}-${model.name}.svg`), `${figureSvg(figure(model, document), 'auto')}\n`)
  }
  // What another command writes there stays.
  const kept = existsSync(out) ? fromMarks(readFileSync(out, 'utf8'), 'npm run bench:methods') : null
  writeFileSync(out, `${[...page(document, name), ...(kept === null ? [] : [kept])].join('\n\n')}\n`)
}

function page(document, name) {
  const { models, table, speedup } = document
  return [
    '# Quality against speed',
    ...head(document, name),
    ...models.flatMap((model) => modelSection(model, name)),
    ...tunedSection(models),
    ...searchSection(document),
    ...losslessSection(models),
    ...(table === null ? [] : tableSection(table)),
    ...(speedup === null ? [] : speedupSection(speedup)),
  ]
}

function head({ date, machine, threads, quick, size, rules, models }, name) {
  const windows = models[0].rows.find((row) => row.name === 'full').losses.length
  return [
    `Written by \`npm run bench:unified\` on ${date.slice(0, 10)}: ${machine}; ${threads} threads. Every figure is in [${name}.json](${name}.json).`,
    ...(quick ? ['**A quick run, to see that it runs: none of these figures means anything.**'] : []),
    `The bundled models cannot translate, so quality is the perplexity of a text that they never saw (the beginning of Austen's
Persuasion: ${windows} windows of ${size.window} tokens, of which the first ${size.promptLength} run at full depth and are not scored) and the share of right answers
to rule tasks, generated with ${size.shots} shots: ${size.questions} held-out questions each of ${rules.join(', ')}. Added loss is the mean
negative log-likelihood less full depth's on the same tokens, in nats per token. A first token comes from the prompt's pass, which
skip policies run at full depth; exit policies may leave there too.`,
    `Delivered is full depth's decode time over the policy's: prompts of ${size.prompt} tokens of the same text, ${size.tokens} new tokens, greedy, batch 1,
${size.rounds} rounds in which full depth runs before and after every four policies. Computed counts the layers run for each new token, rows that caught
up included. It is the median of the rounds' ratios, with an interval of order statistics; policies that run the same layers are measured
once. The other brackets are 95% bootstrap intervals, over windows and questions. Rules and sources of the policies are in
[depth.md](depth.md).`,
  ]
}

function modelSection(model, name) {
  const { rows, layers, parameters } = model
  const full = rows.find((row) => row.name === 'full')
  const possible = rows.filter(isMeasured)
  const missing = rows.filter((row) => !isMeasured(row))
  const front = possible.filter(
    (row) =>
      row.delivered.mean > 1 &&
      !possible.some(
        (other) =>
          other !== row && other.delivered.mean >= row.delivered.mean && other.addedLoss.mean < row.addedLoss.mean,
      ),
  )
  const about = `${layers} layers, ${(parameters / 1e6).toFixed(1)} million parameters, ${model.quantization}. At full depth its perplexity is ${interval(full.perplexity, 2)}, and it gives ${interval(full.accuracy, 3)} of the answers, at ${fixed(full.msPerToken, 3)} ms a token.`
  const best =
    front.length === 0
      ? 'No policy was faster than full depth.'
      : `Faster than full depth, with no other policy that is at least as fast and loses less: ${front
          .sort((a, b) => a.delivered.mean - b.delivered.mean)
          .map((row) => `\`${row.name}\` (${times(row.delivered.mean)}, ${signed(row.addedLoss.mean, 2)} nats)`)
          .join(', ')}.`
  return [
    `## ${model.name}`,
    `${about} ${best}`,
    `![Added loss and accuracy against delivered speedup](figures/${name}-${model.name}.svg)`,
    markdown(
      [
        'policy',
        '',
        'layers',
        'computed',
        'perplexity',
        'added loss',
        'accuracy',
        'to full',
        'predicted',
        'delivered',
        'checks',
      ],
      possible.map((row) => [
        row.group,
        `\`${row.name}\``,
        fixed(row.plan === null ? row.depthMean : row.plan.length, row.plan === null ? 1 : 0),
        fixed(row.computed, 1),
        interval(row.perplexity, 2),
        interval(row.addedLoss, 3, signed),
        interval(row.accuracy, 3),
        signed(row.accuracyDifference.mean, 3),
        times(row.predicted),
        interval(row.delivered, 2),
        `${fixed(100 * row.checkShare, 0)}%`,
      ]),
    ),
    ...(missing.length === 0
      ? []
      : [`Not measured: ${missing.map((row) => `\`${row.name}\` (${row.reason.split('; known:')[0]})`).join('; ')}.`]),
  ]
}

function isMeasured(row) {
  return row.reason === null && row.perplexity !== undefined && row.delivered !== undefined
}

/** The checkpoint that was fine-tuned for a plan beside the others, under that plan. */
function tunedSection(models) {
  const group = `the plan of ${TUNED}`
  const rows = models.flatMap((model) => {
    const own = model.rows.find((row) => row.group === group && isMeasured(row))
    const full = model.rows.find((row) => row.name === 'full')
    return own === undefined ? [] : [{ model, own, full }]
  })
  const tuned = rows.find(({ model }) => model.name === TUNED)
  if (tuned === undefined) return []
  const others = rows.filter((row) => row !== tuned)
  const sentences = others.map(({ model, own }) => {
    const difference = lossDifference(tuned.own, own)
    return `Under it ${TUNED} loses ${interval(difference, 3, signed)} nats against ${model.name} under the same plan, where below zero is better.`
  })
  return [
    '## A checkpoint made for its plan',
    `${TUNED} was fine-tuned for \`${tuned.own.name}\`, with the prompt at full depth, as the paper's checkpoints are for theirs. ${sentences.join(' ')}`,
    markdown(
      [
        'model',
        'perplexity at full depth',
        'under the plan',
        'added loss',
        'accuracy at full depth',
        'under the plan',
        'delivered',
      ],
      rows.map(({ model, own, full }) => [
        model.name,
        interval(full.perplexity, 2),
        interval(own.perplexity, 2),
        interval(own.addedLoss, 3, signed),
        interval(full.accuracy, 3),
        interval(own.accuracy, 3),
        interval(own.delivered, 2),
      ]),
    ),
  ]
}

/** Mean difference in nats on the same windows, paired. */
function lossDifference(a, b) {
  return bootstrapSums(
    a.losses.map(([loss, tokens], i) => [loss - b.losses[i][0], tokens]),
    ([loss, tokens]) => loss / tokens,
  )
}

function searchSection({ models, searches }) {
  if (searches.length === 0) return []
  const ofTargets = searches.filter(({ target }) => target !== 'dynamic')
  const rows = ofTargets.map(({ model: name, target, reason }) => {
    const model = models.find((one) => one.name === name)
    const balanced = model?.rows.find((row) => row.name === `unified:${target}x` && isMeasured(row))
    const searched = model?.rows.find((row) => row.group === 'searched' && row.target === target && isMeasured(row))
    if (balanced === undefined || searched === undefined) {
      return [name, `${target}x`, balanced?.plan?.join(',') ?? NONE, reason ?? NONE, NONE, NONE, NONE, NONE, NONE]
    }
    const same = balanced.plan.join() === searched.plan.join()
    return [
      name,
      `${target}x`,
      balanced.plan.join(','),
      same ? 'the same' : searched.plan.join(','),
      fixed(balanced.perplexity.mean, 2),
      fixed(searched.perplexity.mean, 2),
      same ? NONE : interval(lossDifference(searched, balanced), 3, signed),
      interval(balanced.delivered, 2),
      interval(searched.delivered, 2),
    ]
  })
  return [
    '## Searched plans beside balanced ones',
    '`shoal search` looked for the layers on the last part of the text, which nothing else on this page is measured on. The difference is the loss of the searched plan less that of the balanced one, in nats per token on the held-out windows, paired: an interval that holds 0 says that no difference is seen.',
    markdown(
      ['model', 'target', 'balanced', 'searched', 'perplexity', 'searched', 'difference', 'delivered', 'searched'],
      rows,
    ),
  ]
}

function losslessSection(models) {
  const rows = models.flatMap(({ name, lossless }) =>
    (lossless ?? []).map((row) => [
      name,
      `\`${row.name}\``,
      `${row.identical} of ${row.prompts}`,
      fixed(row.acceptance, 3),
      fixed(row.tokensPerPass, 2),
      interval(row.delivered, 2),
    ]),
  )
  if (rows.length === 0) return []
  return [
    '## Lossless',
    'With `--lossless` a policy drafts and the full model verifies, so that greedy output is that of full depth; where drafting does not pay it falls back. Same prompts and lengths as above.',
    markdown(['model', 'draft', 'identical to full depth', 'accepted', 'tokens a pass', 'delivered'], rows),
  ]
}

function tableSection(table) {
  const batches = [...new Set(table.cells.map(({ batch }) => batch))]
  const rows = table.cells.map((cell) => {
    const paper = PUBLISHED_SPEEDS.find((row) => row.target === cell.target && row.method === cell.method)
    return [
      `${cell.target}x`,
      cell.method,
      String(cell.batch),
      cell.depth === null ? cell.reason : `\`${cell.depth}\``,
      fixed(cell.plan?.length ?? cell.meanDepth, cell.plan === null ? 1 : 0),
      fixed(cell.outputTokensPerSecond, 1),
      times(cell.predicted),
      times(cell.delivered),
      fixed(cell.delivered === null ? null : cell.delivered / cell.target, 2),
      fixed(cell.allTokensPerSecond, 1),
      times(cell.deliveredAll),
      times(paper === undefined ? null : publishedSpeedup(paper, cell.batch)),
    ]
  })
  const order = [...new Set(table.cells.map(({ target }) => target))].sort((a, b) => a - b)
  rows.sort((a, b) => order.indexOf(Number.parseFloat(a[0])) - order.indexOf(Number.parseFloat(b[0])))
  return [
    "## The paper's table on TinyLlama's shape",
    `Random weights of TinyLlama-1.1B's shape in q4_0: ${table.layers} layers, prompt ${table.promptLength}, ${table.maxTokens} new tokens, greedy, batch ${batches.join(', ')}; medians of ${table.rounds} interleaved rounds. Unified is planned for each batch size from measured costs; early exit stops after as many layers; SkipDecode runs ${table.layers} / target on average. Decoding alone gives \`output tok/s\` and \`delivered\`; the last three columns count prompt and output over all time, as the paper does, and only those stand beside it. An early exit leaves the rest of the prompt undone, which they count in its favour.`,
    markdown(
      [
        ...['target', 'method', 'batch', 'depth', 'layers', 'output tok/s', 'predicted', 'delivered', 'over target'],
        ...['all tok/s', 'delivered (all)', 'paper'],
      ],
      rows,
    ),
    `Paper: ${PUBLISHED_SETUP}. \`shoal bench\` prints this table for any model.`,
  ]
}

function speedupSection({ rounds, prompt, tokens, machine, rows }) {
  return [
    '## What a target delivers',
    `\`npm run bench:speedup\`: ${machine.cpu}, ${machine.threads} threads; prompt ${prompt}, ${tokens} new tokens, medians of each of ${rounds} rounds' ratio to full depth at the same batch.`,
    markdown(
      [
        'batch',
        'target',
        'layers',
        'predicted',
        'delivered',
        'delivered / target',
        'prompt + output',
        'over target',
        'paper',
      ],
      rows.map((row) => [
        String(row.batch),
        `${row.target}x`,
        String(row.layers),
        times(row.predicted),
        times(row.delivered),
        fixed(row.delivered_over_target, 3),
        times(row.whole),
        fixed(row.whole_over_target, 2),
        fixed(row.paper, 2),
      ]),
    ),
  ]
}

function times(value) {
  return value === null || value === undefined ? NONE : `${fixed(value, 2)}x`
}

function markdown(header, rows) {
  const line = (cells) => `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), `|${header.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}

/** Added loss and accuracy against delivered speedup, a mark for each policy. */
function figure(model, { size }) {
  const rows = model.rows.filter(isMeasured)
  const points = rows.map((row) => ({ ...row, loss: row.addedLoss }))
  return qualityFigure(
    points,
    points.find(({ name }) => name === 'full'),
    {
      name: `unified-${model.name}`,
      title: `Quality against delivered speedup: ${model.name}`,
      subtitle: `${model.quantization}, batch 1, ${size.rounds} rounds; dashed: full depth`,
      answers: 'Rule tasks',
    },
  )
}
