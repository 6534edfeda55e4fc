import { createHash } from 'node:crypto'
import type { PolicyDefinition } from './definition.js'
import { fixedPlan, PROMPT_KEY, promptOf } from './fixed-plan.js'
import type { LayerOrderRule } from './measurement.js'
import type { Plan } from './plan.js'
import type { SpecArguments } from './spec-arguments.js'

/** The layers that stay when the first ones of an order are taken out until `kept` are left, ascending. */
export function keptOf(order: readonly number[], kept: number): Plan {
  return order.slice(order.length - kept).sort((a, b) => a - b)
}

/** A rule that takes layers out one after the other, in an order that is measured on text. */
export function orderedRemoval(options: {
  readonly rule: LayerOrderRule
  readonly summary: string
  /** Layers that always stay. */
  readonly fewest: number
}): PolicyDefinition {
  const { rule, summary, fewest } = options
  const read = (args: SpecArguments, layers: number) => ({
    kept: args.whole('the number of layers', `${rule}:12`, Math.min(fewest, layers), layers),
    data: args.textOption('data'),
    prompt: promptOf(args),
  })
  return {
    kind: rule,
    usage: `${rule}:N[,data=FILE][,prompt=full|plan]`,
    summary,
    keys: {
      data: 'text or JSONL file that is measured (default: a short English text that comes along)',
      prompt: PROMPT_KEY,
    },
    // Token ids, which a model without tokenizer can be measured on too.
    examples: [
      `${rule}:12,data=examples/tokens.jsonl`,
      `${rule}:2,data=examples/tokens.jsonl`,
      `${rule}:8,data=examples/tokens.jsonl,prompt=plan`,
    ],
    needs(args, layers) {
      const { data } = read(args, layers)
      return [{ kind: 'layer-order', rule, data }]
    },
    parse(args, layers, model) {
      const { kept, data } = read(args, layers)
      const order = model?.order?.(rule, data)
      if (order === undefined) throw args.error(`${rule} measures the layers, so it needs a model that is loaded`)
      const plan = keptOf(order, kept)
      const policy = fixedPlan(args, `${rule}:${kept}${data === null ? '' : `,data=${data}`}`, layers, plan)
      return { ...policy, source: createHash('sha256').update(plan.join()).digest('hex') }
    },
  }
}
