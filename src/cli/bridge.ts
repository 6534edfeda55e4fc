import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, Option } from 'commander'
import { fitMemory, type MadeBridges, makeBridges } from '../calibrate/bridges/make.js'
import { type BridgeFigures, writeBridgeFile } from '../convert/bridge-file.js'
import {
  BRIDGE_TYPES,
  type BridgeInput,
  type BridgeType,
  bridgeUnits,
  type Gap,
  gapText,
  planGaps,
} from '../depth/bridge.js'
import type { Plan } from '../depth/plan.js'
import type { Policy } from '../depth/policy.js'
import { balancedPlan, layersInTime } from '../depth/unified.js'
import type { Model } from '../engine/api.js'
import { printable, SpecError, UnsupportedError } from '../errors.js'
import { type BridgeQuality, bridgeQuality } from '../evaluate/bridge-figures.js'
import { downProjection } from '../families/down-projection.js'
import { familyByArchitecture } from '../families/index.js'
import { bridgeJournal, bridgeLens, type LensFitOptions, storedType } from './bridge-lens.js'
import { type BridgeTexts, readBridgeTexts } from './bridge-texts.js'
import { type Cli, NOTHING_KEPT, note, printJson, tellWhenStopped, UsageError } from './cli.js'
import { resolveDepth } from './generation-options.js'
import { addModelOptions, MODEL_HELP, type ModelOptions, withModel } from './model-options.js'
import { bar, bytesText, createProgressLine } from './progress-line.js'
import { printTable } from './table.js'
import { decimal, wholeNumber } from './values.js'

interface CommandOptions extends ModelOptions, LensFitOptions {
  readonly depth?: string
  readonly lens?: boolean
  readonly on: BridgeInput
  readonly prompt?: 'full' | 'plan'
}

interface BridgeOptions extends CommandOptions {
  readonly depth: string
}

const EXAMPLES = `
Examples:
  $ shoal bridge model.gguf --depth unified:1.5x --texts news.txt prose.txt -o mine.bridge.gguf
  $ shoal run model.gguf "The sea" --depth plan:mine.bridge.gguf
  $ shoal run model.gguf "The sea" --depth unified:1.5x,bridge=mine.bridge.gguf
  $ shoal bridge model.gguf --depth layers:0,1,2,3,8,9,10,11 --rank 128 -o small.bridge.gguf
  $ shoal bridge model.gguf --depth plan:shortgpt.policy.json --on mlp -o fold.bridge.gguf
  $ shoal bridge model.gguf --lens --texts news.txt prose.txt -o mine.lens.gguf
  $ shoal run model.gguf "The sea" --depth gap:0.8,lens=mine.lens.gguf

A bridge is a linear map over layers that a plan leaves out, from the hidden state below the gap to the one above it, fitted
by ridge regression: nothing is trained. Without --texts the model samples the texts itself. --on mlp reads the output of
the last MLP below the gap in place of the hidden state: it gains less, and shoal export folds it into the model's own matrices.
A lens leads from each layer to the end of the model: exit checks through it know far better what the last layer will say.
With the same command a fit that was stopped goes on where it was.`

export function buildBridge(cli: Cli): Command {
  const command = new Command('bridge')
    .description(
      'Fit linear maps over the layers that a plan leaves out, or from each layer to the end, which exit checks read.',
    )
    .argument('[model]', MODEL_HELP)
    .usage('[MODEL] (--depth SPEC | --lens) -o FILE [--texts FILE...] [options]')
    .option('--depth <spec>', 'what runs, a plan: unified:2x, layers:0,2,5, plan:FILE, shortgpt:6; prompt= is --prompt')
    .option('--lens', 'fit a lens instead: maps from every layer to the end, which exit checks are read through')
    .requiredOption('-o, --out <file>', 'write the bridges to this file (GGUF), for --depth plan:FILE')
    .option('--texts <file...>', 'texts that the bridges are fitted on; default texts that the model samples')
    .addOption(new Option('--on <what>', 'what a bridge reads').choices(['hidden', 'mlp']).default('hidden'))
    .option('--rank <r>', 'maps of lower rank: 2 r H multiply-adds in place of H x H', wholeNumber(1, 65_536))
    .addOption(
      new Option('--type <type>', 'what the maps are kept in; default q8_0 where it fits, else f16').choices(
        BRIDGE_TYPES,
      ),
    )
    .addOption(
      new Option('--prompt <what>', 'what prompts run: every layer, or the plan; default as the depth says').choices([
        'full',
        'plan',
      ]),
    )
    .option('--samples <n>', 'texts for the fit at most', wholeNumber(5, 100_000), 48)
    .option('--held-out <n>', 'texts for the report at most', wholeNumber(1, 100_000), 24)
    .option('--window <n>', 'tokens that plain text is cut into', wholeNumber(4, 100_000), 256)
    .option(
      '--prompt-share <x>',
      'share of a text that is its prompt, where the file does not say',
      decimal(0, 1),
      0.125,
    )
    .option('--seed <n>', 'of the draw of texts', wholeNumber(0, 2 ** 32 - 1), 0)
  addModelOptions(command).addHelpText('after', EXAMPLES)
  return command.action((name: string | undefined, options: CommandOptions) =>
    tellWhenStopped(
      cli,
      () =>
        existsSync(bridgeJournal(options.out))
          ? `${bridgeJournal(options.out)} keeps what was measured, and the same command goes on`
          : NOTHING_KEPT,
      () => fitMaps(cli, name, options),
    ),
  )
}

async function fitMaps(cli: Cli, name: string | undefined, options: CommandOptions): Promise<void> {
  const { depth, lens, on, prompt, out } = options
  if (!out.endsWith('.gguf')) throw new UsageError('-o FILE must end in .gguf: bridges are a GGUF file')
  if ((depth === undefined) === (lens === undefined)) {
    throw new UsageError('give either --depth SPEC, for bridges over what a plan leaves out, or --lens')
  }
  if (depth !== undefined) return await bridge(cli, name, { ...options, depth })
  if (on !== 'hidden' || prompt !== undefined) {
    throw new UsageError('--on and --prompt go with --depth: a lens reads the hidden state, and leaves nothing out')
  }
  await withModel(cli, name, options, (model) => bridgeLens(cli, model, options), { slots: 8 })
}

async function bridge(cli: Cli, name: string | undefined, options: BridgeOptions): Promise<void> {
  await withModel(
    cli,
    name,
    options,
    async (model) => {
      const started = performance.now()
      const { layers, hidden } = model.hyperparameters
      const { plan, prompt } = await planOf(cli, model, options)
      const gaps = planGaps(plan, layers)
      if (gaps.length === 0)
        throw new SpecError(`depth "${options.depth}" leaves out no layer: there is no gap to bridge`)
      const bias = options.on === 'hidden' || foldsWithBias(model, gaps)
      const type = storedType(hidden, options.type)
      const texts = await readBridgeTexts(cli, model, options)
      const memory = bytesText(fitMemory(hidden, gaps.length, texts.fit))
      note(cli, `fitting ${gaps.length} bridges on ${texts.fit.length} texts: about ${memory} beside the model`)
      const made = await fitted(cli, model, plan, texts, { ...options, prompt, type, bias })
      let written = false
      try {
        const bridges = made.fitted.map(({ bridge }) => bridge)
        const quality = await bridgeQuality(model, texts.heldOut, plan, bridges, { prompt, signal: cli.signal })
        await writeBridgeFile(options.out, {
          plan,
          layers,
          hidden,
          bridges,
          model: { name: model.name, fingerprint: model.fingerprint, quantization: model.quantization },
          texts: texts.sha256,
          figures: figuresOf(made, quality),
        })
        written = true
        const seconds = (performance.now() - started) / 1000
        if (options.json) printJson(cli, resultJson(model, plan, prompt, texts, made, quality, options, seconds))
        else show(cli, model, plan, made, quality, options, seconds)
      } finally {
        made.close(written)
      }
    },
    { slots: 8 },
  )
}

/**
 * Whether bridges of MLP outputs may have a bias: where every down projection below a gap has one, it goes in there.
 * @throws UnsupportedError where a bridge could not be folded
 */
function foldsWithBias({ hyperparameters: h, name }: Model, gaps: readonly Gap[]): boolean {
  const family = familyByArchitecture(h.architecture, name)
  const places = gaps.map((gap) => {
    const place = gap.from < 0 ? 'there is none below it' : downProjection(family, h, gap.from)
    if (typeof place !== 'string') return place
    const where = gap.from < 0 ? '' : `layer ${gap.from} of ${family.architecture}: `
    throw new UnsupportedError(
      `--on mlp: a bridge over ${gapText(gap)} folds into no down projection: ${where}${place}; leave --on out`,
    )
  })
  return places.every(({ bias }) => bias !== null)
}

/** The plan of a depth; of a speedup in time, one that meets it with its bridges. */
async function planOf(
  cli: Cli,
  model: Model,
  options: BridgeOptions,
): Promise<{ readonly plan: Plan; readonly prompt: 'full' | 'plan' }> {
  const policy: Policy = await resolveDepth(cli, model, options.depth)
  if (policy.kind !== 'skip' || policy.everyToken === undefined) {
    throw new SpecError(
      `depth "${options.depth}" has no plan that all tokens run; give one such as unified:2x or plan:FILE`,
    )
  }
  const prompt = options.prompt ?? policy.prompt
  const { speedup } = policy
  if (speedup === undefined) return { plan: policy.everyToken, prompt }
  const { layers, hidden } = model.hyperparameters
  const costs = await model.costs(speedup.batch, { signal: cli.signal })
  const { rank = null } = options
  const units = rank === null ? 1 : Math.min(1, (2 * rank) / hidden)
  const count = layersInTime(costs, speedup.target, (n) => planGaps(balancedPlan(layers, n), layers).length * units)
  if (count === null)
    throw new SpecError(`depth "${options.depth}" cannot be met with bridges: give a smaller target or --rank`)
  return { plan: balancedPlan(layers, count), prompt }
}

async function fitted(
  cli: Cli,
  model: Model,
  plan: Plan,
  texts: BridgeTexts,
  options: BridgeOptions & { readonly prompt: 'full' | 'plan'; readonly type: BridgeType; readonly bias: boolean },
): Promise<MadeBridges> {
  const { on, rank = null, type, prompt, out, bias } = options
  const line = createProgressLine(cli)
  const started = performance.now()
  try {
    return await makeBridges(model, plan, texts.fit, {
      on,
      rank,
      type,
      bias,
      prompt,
      signal: cli.signal,
      journal: bridgeJournal(out),
      run: {
        model: model.fingerprint,
        quantization: model.quantization,
        texts: texts.sha256,
        plan,
        on,
        rank,
        type,
        bias,
        prompt,
      },
      onProgress: (done) => {
        const seconds = Math.round(((performance.now() - started) / 1000) * (1 / done - 1))
        line.show(`fitting ${bar(done)} ${seconds} s left`)
      },
    })
  } finally {
    line.clear()
  }
}

function figuresOf(made: MadeBridges, { texts, tokens, full, plain, bridged }: BridgeQuality): BridgeFigures {
  return {
    fit_rows: made.rows,
    texts,
    tokens,
    full,
    plain: plain.mean,
    plain_low: plain.low,
    plain_high: plain.high,
    bridged: bridged.mean,
    bridged_low: bridged.low,
    bridged_high: bridged.high,
  }
}

function resultJson(
  model: Model,
  plan: Plan,
  prompt: 'full' | 'plan',
  texts: BridgeTexts,
  made: MadeBridges,
  quality: BridgeQuality,
  { on, rank = null, out, seed }: BridgeOptions,
  seconds: number,
): object {
  const { layers, hidden } = model.hyperparameters
  return {
    model: model.name,
    quantization: model.quantization,
    layers,
    plan,
    prompt,
    on,
    rank,
    texts: texts.files,
    sha256: texts.sha256,
    seed,
    gaps: made.fitted.map(({ bridge: { from, to }, ridge, unexplained }) => ({ from, to, ridge, unexplained })),
    units: unitsOf(made, hidden),
    fit: { texts: texts.fit.length, rows: made.rows },
    held_out: quality,
    out,
    seconds,
  }
}

function show(
  cli: Cli,
  model: Model,
  plan: Plan,
  made: MadeBridges,
  { texts, tokens, full, plain, bridged, difference }: BridgeQuality,
  { out, prompt }: BridgeOptions,
  seconds: number,
): void {
  const { layers, hidden } = model.hyperparameters
  const gaps = planGaps(plan, layers).map(gapText).join(', ')
  cli.stdout.write(`${plan.length} of ${layers} layers; bridges over ${gaps}\n`)
  const added = ({ mean, low, high }: typeof plain): string[] => [
    (full + mean).toFixed(4),
    `${signed(mean)} [${signed(low)}, ${signed(high)}]`,
  ]
  printTable(cli, [
    ['', 'loss', 'added'],
    ['full', full.toFixed(4), ''],
    ['without bridges', ...added(plain)],
    ['with bridges', ...added(bridged)],
  ])
  const { mean, low, high } = difference
  cli.stdout.write(
    `bridged - plain ${signed(mean)} [${signed(low)}, ${signed(high)}] nats per token on ${texts} texts (${tokens} tokens) without a part in the fit\n`,
  )
  cli.stdout.write(
    `fitted on ${made.rows} rows in ${seconds.toFixed(0)} s; ${unitsOf(made, hidden).toFixed(2)} x ${hidden} x ${hidden} multiply-adds a token\n`,
  )
  const spec = `plan:${out}${prompt === 'plan' ? ',prompt=plan' : ''}`
  cli.stdout.write(`written to ${printable(basename(out))}; run it with --depth ${printable(spec)}\n`)
}

function unitsOf({ fitted }: MadeBridges, hidden: number): number {
  return bridgeUnits(
    fitted.map(({ bridge }) => bridge),
    hidden,
  )
}

function signed(x: number): string {
  return `${x > 0 ? '+' : ''}${x.toFixed(4)}`
}
