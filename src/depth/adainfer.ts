import { createHash } from 'node:crypto'
import { type BoundScope, scopeText } from './bound-scope.js'
import type { Bridge, BridgeSet } from './bridge.js'
import { neededBridges } from './bridge-source.js'
import { type DecisionState, decide, startDecision } from './classifier.js'
import type { DepthModel, PolicyDefinition } from './definition.js'
import { requireLayers } from './definition.js'
import { featureNeeds, type LastCheck, readInputs } from './exit-features.js'
import { foreignModelNotes } from './foreign-model.js'
import { lensNotes, loadedLens } from './lens.js'
import type { ExitPolicy } from './policy.js'
import { loadPolicyFile, type PolicyFile } from './policy-file.js'
import type { SpecArguments } from './spec-arguments.js'

/**
 * AdaInfer (arXiv 2403.02181, section 3): a classical classifier on the features of an exit check says whether the
 * layers above can be dropped. What was fitted, and the threshold, come from a policy file.
 */
export const adainfer: PolicyDefinition = {
  kind: 'adainfer',
  usage: 'adainfer:FILE[,threshold=T]',
  summary: 'stop where the classifier of a policy file says so (shoal calibrate writes one)',
  keys: { threshold: "instead of the file's own: stop where the online value is greater" },
  examples: [
    'adainfer:examples/policies/svm.policy.json',
    'adainfer:examples/policies/crf.policy.json',
    'adainfer:examples/policies/crf.policy.json,threshold=0.9',
  ],
  needs(args) {
    const { lens } = loadPolicyFile(pathOf(args))
    return lens === null ? [] : [neededBridges(lens.file)]
  },
  parse(args, layers, model) {
    const path = pathOf(args)
    const file = loadPolicyFile(path)
    if (file.model.layers !== layers) {
      throw args.error(`${path} was made for a model of ${file.model.layers} layers and this one has ${layers}`)
    }
    const threshold = args.numberOption('threshold')
    const own = threshold === null || threshold === file.threshold
    const notes = modelNotes(path, file, model?.fingerprint)
    if (!own && file.bound?.holds) notes.push(`the bound of ${path} is for its own threshold, not for ${threshold}`)
    const spec = `adainfer:${path}${own ? '' : `,threshold=${threshold}`}`
    const lens = lensOf(args, path, file, model)
    if (lens !== null) notes.push(...lensNotes(lens, model?.fingerprint))
    const policy = adainferPolicy(own ? file : { ...file, threshold, bound: null }, spec, lens?.bridges)
    const source = createHash('sha256').update(JSON.stringify(file)).digest('hex')
    return { ...policy, source, notes: [...notes, ...(policy.notes ?? [])] }
  },
}

function pathOf(args: SpecArguments): string {
  return args.text('the policy file', 'adainfer:policy.json')
}

/** The lens of a policy. Throws SpecError where its file is not the one that the classifier was fitted with. */
function lensOf(
  args: SpecArguments,
  path: string,
  { lens }: PolicyFile,
  model: DepthModel | undefined,
): BridgeSet | null {
  if (lens === null) return null
  const set = loadedLens(args, model, lens.file)
  if (set.source === lens.sha256) return set
  throw args.error(`${lens.file} is another lens than ${path} was calibrated with; calibrate it anew with --lens`)
}

interface Token extends DecisionState, LastCheck {
  /** Inputs of the check at hand: written anew at each one. */
  readonly x: Float64Array
}

/**
 * The exit policy of a policy file's contents.
 * @param lens the maps of its lens
 */
export function adainferPolicy(file: PolicyFile, spec: string, lens?: readonly Bridge[]): ExitPolicy<undefined, Token> {
  const { features, tokens, check_tokens: checkTokens, classifiers, threshold, kind } = file
  const probability = kind === 'adainfer-logistic'
  const boundScope = scopeOf(file)
  return {
    kind: 'exit',
    spec,
    notes:
      threshold === null
        ? ['no threshold of this policy met what was asked of it, so every token runs all layers']
        : [],
    generationNotes: generationNotes(file, boundScope),
    ...(boundScope === null ? {} : { boundScope }),
    needs: featureNeeds(features),
    ...(checkTokens === null ? {} : { checkTokens }),
    ...(lens === undefined ? {} : { lens }),
    checkLayers(layers) {
      requireLayers(spec, file.model.layers, layers)
      return threshold === null ? [] : file.checked_layers
    },
    startToken: () => ({
      ...startDecision(),
      layer: -1,
      attention: null,
      mlp: null,
      x: new Float64Array(features.length + tokens.length),
    }),
    exits(check, token) {
      const value = decide(classifiers, probability, readInputs(features, tokens, check, token, token.x), token)
      return threshold !== null && value > threshold
    },
  }
}

function modelNotes(path: string, file: PolicyFile, fingerprint: string | null | undefined): string[] {
  const across = "AdaInfer's classifiers did only moderately well across models (arXiv 2403.02181)"
  return foreignModelNotes(path, file.model, fingerprint, across)
}

function scopeOf({ bound, prompts, threshold }: PolicyFile): BoundScope | null {
  if (threshold === null || bound?.unit !== 'sequence' || !bound.holds) return null
  return { prompts, tasks: bound.tasks, measure: bound.measure }
}

/**
 * Early exit in free generation degrades quickly where it was calibrated on one-token answers (D-LLM reports
 * perplexity 319 on Alpaca), unless a bound on generated tokens says how much.
 */
function generationNotes({ threshold }: PolicyFile, scope: BoundScope | null): string[] {
  if (threshold === null) return []
  if (scope !== null) return [`the bound of this policy holds for ${scopeText(scope)}`]
  return [
    'this policy has no bound calibrated on generated tokens: early exit in free generation degrades quickly; shoal calibrate --max-disagreement on traces of generated tokens gives one',
  ]
}
