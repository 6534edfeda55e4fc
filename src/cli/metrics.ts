import { Command, Option } from 'commander'
import { FileError } from '../errors.js'
import { corpusBleu } from '../evaluate/metrics/bleu.js'
import { corpusChrf } from '../evaluate/metrics/chrf.js'
import { corpusRouge } from '../evaluate/metrics/rouge.js'
import { splitSegments } from '../evaluate/metrics/segments.js'
import { BLEU_TOKENIZERS, type BleuTokenizer } from '../evaluate/metrics/tokenize.js'
import { type Cli, printJson, requireSubcommand } from './cli.js'
import { addOutputOptions, type OutputOptions } from './output-options.js'
import { printTable } from './table.js'
import { readTextFile } from './text-input.js'
import { wholeNumber } from './values.js'

const EXAMPLES = `
HYPOTHESES and REFERENCES are text files with a segment on each line. Only "\\n"
ends a line, and an empty line is a segment too.

Examples:
  $ shoal metrics bleu answers.en newstest.en
  $ shoal metrics bleu answers.zh newstest.zh --tokenize zh --json
  $ shoal metrics chrf answers.de newstest.de --word-order 2     chrF++
  $ shoal metrics rouge summaries.txt references.txt`

export function buildMetrics(cli: Cli): Command {
  const metrics = new Command('metrics')
    .description('Score translations and summaries against references.')
    .usage('bleu|chrf|rouge HYPOTHESES REFERENCES [options]')
    .helpCommand(false)
    .addHelpText('after', EXAMPLES)
  metrics.addCommand(
    shared('bleu', "BLEU, 0 to 100, as sacrebleu's default")
      .addOption(
        new Option('--tokenize <name>', '13a for languages with spaces, zh for Chinese')
          .choices(BLEU_TOKENIZERS)
          .default('13a'),
      )
      .action((hypotheses: string, references: string, options: OutputOptions & { tokenize: BleuTokenizer }) =>
        bleu(cli, hypotheses, references, options),
      ),
  )
  metrics.addCommand(
    shared('chrf', "chrF2, 0 to 100, as sacrebleu's default")
      .option('--word-order <n>', 'also n-grams of up to n words; 2 is chrF++', wholeNumber(0, 6), 0)
      .action((hypotheses: string, references: string, options: OutputOptions & { wordOrder: number }) =>
        chrf(cli, hypotheses, references, options),
      ),
  )
  metrics.addCommand(
    shared(
      'rouge',
      'ROUGE-1, 2 and L, 0 to 1: lower-cased words of a-z and 0-9, no stemmer, mean over segments',
    ).action((hypotheses: string, references: string, options: OutputOptions) =>
      rouge(cli, hypotheses, references, options),
    ),
  )
  return requireSubcommand(metrics)
}

function shared(name: string, description: string): Command {
  return addOutputOptions(new Command(name).description(description))
    .usage('HYPOTHESES REFERENCES [options]')
    .argument('<hypotheses>', 'what is scored')
    .argument('<references>', 'what it should be')
    .addHelpText('after', EXAMPLES)
}

async function bleu(
  cli: Cli,
  hypotheses: string,
  references: string,
  options: OutputOptions & { tokenize: BleuTokenizer },
): Promise<void> {
  const { tokenize } = options
  const pairs = await readPairs(hypotheses, references)
  const result = corpusBleu(pairs.hypotheses, pairs.references, { tokenize })
  // sacrebleu's words for the settings; its version is left out, as no sacrebleu ran.
  const signature = `nrefs:1|case:mixed|eff:no|tok:${tokenize}|smooth:exp`
  if (options.json) {
    printJson(cli, {
      metric: 'bleu',
      score: result.score,
      precisions: result.precisions,
      bp: result.brevityPenalty,
      hypothesis_length: result.hypothesisLength,
      reference_length: result.referenceLength,
      segments: pairs.hypotheses.length,
      signature,
    })
    return
  }
  const precisions = result.precisions.map((precision) => precision.toFixed(1)).join('/')
  cli.stdout.write(
    `BLEU ${result.score.toFixed(2)} · precisions ${precisions} · brevity penalty ${result.brevityPenalty.toFixed(3)} · ${result.hypothesisLength} tokens for ${result.referenceLength} · ${segmentsText(pairs)} · ${signature}\n`,
  )
}

async function chrf(
  cli: Cli,
  hypotheses: string,
  references: string,
  options: OutputOptions & { wordOrder: number },
): Promise<void> {
  const { wordOrder } = options
  const pairs = await readPairs(hypotheses, references)
  const score = corpusChrf(pairs.hypotheses, pairs.references, { wordOrder })
  const signature = `nrefs:1|case:mixed|eff:yes|nc:6|nw:${wordOrder}|space:no`
  if (options.json) {
    printJson(cli, { metric: 'chrf', score, word_order: wordOrder, segments: pairs.hypotheses.length, signature })
    return
  }
  cli.stdout.write(
    `chrF2${'+'.repeat(Math.min(2, wordOrder))} ${score.toFixed(2)} · ${segmentsText(pairs)} · ${signature}\n`,
  )
}

async function rouge(cli: Cli, hypotheses: string, references: string, options: OutputOptions): Promise<void> {
  const pairs = await readPairs(hypotheses, references)
  const result = corpusRouge(pairs.hypotheses, pairs.references)
  if (options.json) {
    printJson(cli, { metric: 'rouge', ...result, segments: pairs.hypotheses.length })
    return
  }
  const rows = Object.entries(result).map(([kind, { precision, recall, f1 }]) => [
    kind.replace('rouge', 'ROUGE-'),
    precision.toFixed(4),
    recall.toFixed(4),
    f1.toFixed(4),
  ])
  printTable(cli, [['', 'precision', 'recall', 'F1'], ...rows])
  cli.stdout.write(`\n${segmentsText(pairs)}\n`)
}

interface Pairs {
  readonly hypotheses: readonly string[]
  readonly references: readonly string[]
}

async function readPairs(hypothesesPath: string, referencesPath: string): Promise<Pairs> {
  const hypotheses = splitSegments(await readTextFile(hypothesesPath))
  const references = splitSegments(await readTextFile(referencesPath))
  if (hypotheses.length !== references.length) {
    throw new FileError(
      referencesPath,
      `has ${lines(references.length)} and ${hypothesesPath} ${lines(hypotheses.length)}: each hypothesis needs its reference`,
    )
  }
  if (hypotheses.length === 0) throw new FileError(hypothesesPath, 'is empty, so there is nothing to score')
  return { hypotheses, references }
}

function lines(count: number): string {
  return count === 1 ? '1 line' : `${count} lines`
}

function segmentsText({ hypotheses }: Pairs): string {
  return hypotheses.length === 1 ? '1 segment' : `${hypotheses.length} segments`
}
