import { readTextFile } from '../checkpoint/text-file.js'
import { FEATURE_NAMES, type FeatureName } from '../depth/exit-features.js'
import * as json from '../depth/json-field.js'
import type { Prompts } from '../depth/prompts.js'
import { FileError } from '../errors.js'
import { parseJsonObject } from '../json.js'
import { type QuestionFacts, type QuestionRecord, readQuestions } from './question-file.js'

/** Exit features of every layer for one position of a full-depth run. Arrays have L entries, one per layer. */
export interface TraceInstance {
  readonly task: string
  /** Which sequence of the file the position belongs to, from 0; an answer is a sequence of one. */
  readonly sequence: number
  /** Instances of the same question never stand on two sides of a split: its input, or the sequence where that is not known. */
  readonly question: string
  readonly features: Readonly<Partial<Record<FeatureName, Float64Array>>>
  /** Ids of each layer's argmax, where they are known. */
  readonly top1?: ArrayLike<number>
  /** Ids of each layer's best among the tokens of a check head that is cut down; then features are of that head too. */
  readonly checkTop?: ArrayLike<number>
  /** Features of the whole head, where `features` are of a cut-down one. */
  readonly whole?: Readonly<Partial<Record<FeatureName, Float64Array>>>
  /** 1 where the argmax is the last layer's; always 1 at the last layer. */
  readonly agree: Uint8Array
  /** 1 where the argmax is the gold answer; null where no answer is known. */
  readonly correct: Uint8Array | null
}

export interface TraceSet {
  readonly path: string
  /** L. */
  readonly layers: number
  /** What was traced: the position of an answer, or every generated token. */
  readonly unit: 'answer' | 'generated'
  /** The ids of the check head that the features are of, ascending; null for the whole vocabulary. */
  readonly checkTokens: readonly number[] | null
  /** `BridgeSet.source` of the lens that layers were read through; null where they were read as they are. */
  readonly lens: string | null
  /** The model that was traced and how it was asked, where the file says so. */
  readonly model: { readonly name: string; readonly fingerprint: string } | null
  readonly prompts: Prompts | null
  /** How many sequences the instances belong to; those of one sequence stand together. */
  readonly sequences: number
  readonly instances: readonly TraceInstance[]
}

/** Traces from a `.jsonl` file of questions as `shoal trace` writes it, or from JSON. Throws FileError. */
export async function readTraces(path: string): Promise<TraceSet> {
  const name = path.toLowerCase()
  if (name.endsWith('.parquet')) {
    throw new FileError(path, 'is an export for other programs; the .jsonl file that shoal trace writes is read here')
  }
  if (!name.endsWith('.jsonl')) return parseTraces(path, await readTextFile(path))
  const { facts, records } = await readQuestions(path)
  return traceSetOf(records, facts, path)
}

/** Records of questions as traces; features are of the cut-down check head where there is one. */
export function traceSetOf(records: readonly QuestionRecord[], facts: QuestionFacts, path = ''): TraceSet {
  const { layers, name, fingerprint } = facts.model
  const instances = records.flatMap(({ task, question, golds, traces }, sequence) =>
    traces.map(({ top1, cut, features }): TraceInstance => {
      const right = new Set(golds)
      return {
        task,
        sequence,
        question,
        features: { ...features, ...cut?.features },
        ...(cut === null ? {} : { checkTop: cut.top, whole: features }),
        top1,
        agree: equalTo(top1, top1[layers - 1]!),
        correct: golds === null ? null : Uint8Array.from(top1, (id) => Number(right.has(id))),
      }
    }),
  )
  const { positions: unit, check_tokens: checkTokens, lens, prompts } = facts
  return {
    path,
    layers,
    unit,
    checkTokens,
    lens,
    model: { name, fingerprint },
    prompts,
    sequences: records.length,
    instances,
  }
}

/** The same traces with the features of the whole head. */
export function wholeHead(traces: TraceSet): TraceSet {
  if (traces.checkTokens === null) return traces
  const instances = traces.instances.map((instance): TraceInstance => {
    const { checkTop: _checkTop, whole, ...rest } = instance
    return { ...rest, features: whole ?? {} }
  })
  return { ...traces, checkTokens: null, instances }
}

/** How JSON names the features. */
const JSON_NAMES: Readonly<Record<FeatureName, string>> = {
  gap: 'gap',
  top_prob: 'top',
  entropy: 'entropy',
  cos_attention: 'cos_attention',
  cos_mlp: 'cos_mlp',
  cos_hidden: 'cos_hidden',
}

const INSTANCE_FIELDS = ['task', 'agree', 'correct', 'top1', 'gold', 'final', 'sequence', ...Object.values(JSON_NAMES)]

/**
 * Traces from JSON: `{ layers: L, instances: [{ task, gap: [L], top: [L], agree: [L], .. }] }`. An instance may also have
 * `entropy`, `cos_attention`, `cos_mlp` and `cos_hidden`; and, so that answers can be judged, `correct` [L] of 0 and 1, or
 * `gold` (a token id) with `top1` [L] ids. `agree` may be left out where `top1` is there. Instances with the same
 * `sequence` one after the other are tokens of one generated text.
 */
export function parseTraces(path: string, text: string): TraceSet {
  const value = parseJsonObject(path, text, 'traces file')
  const at = json.fieldsOf({ file: path, name: '', value }, ['layers', 'instances'])
  const layers = json.whole(at('layers'), 2, 100_000)
  let sequence = -1
  let id: number | null = null
  let repeated = false
  const seen = new Set<number>()
  const instances = json.listOf(
    at('instances'),
    (field) => {
      const own = readSequence(field)
      if (own === null || own !== id) {
        if (own !== null && seen.has(own)) throw json.wrong(field, 'next to the others of its sequence')
        if (own !== null) seen.add(own)
        sequence++
      } else repeated = true
      id = own
      return readInstance(field, layers, sequence)
    },
    1,
  )
  return {
    path,
    layers,
    unit: repeated ? 'generated' : 'answer',
    checkTokens: null,
    lens: null,
    model: null,
    prompts: null,
    sequences: sequence + 1,
    instances,
  }
}

function readSequence(field: json.Field): number | null {
  const sequence = json.fieldsOf<string>(field, INSTANCE_FIELDS)('sequence')
  return sequence.value === undefined ? null : json.whole(sequence, 0)
}

function readInstance(field: json.Field, layers: number, sequence: number): TraceInstance {
  const at = json.fieldsOf<string>(field, INSTANCE_FIELDS)
  const given = (key: string): boolean => at(key).value !== undefined
  const numbers = (key: string): number[] => json.listOf(at(key), json.number, layers, layers)
  const bits = (key: string): Uint8Array =>
    Uint8Array.from(json.listOf(at(key), (f) => json.whole(f, 0, 1), layers, layers))
  const features: Partial<Record<FeatureName, Float64Array>> = {}
  for (const name of FEATURE_NAMES) {
    const key = JSON_NAMES[name]
    if (given(key)) features[name] = Float64Array.from(numbers(key))
  }
  const top1 = given('top1') ? json.listOf(at('top1'), (f) => json.whole(f, 0), layers, layers) : null
  const gold = given('gold') ? json.whole(at('gold'), 0) : null
  const agree = given('agree') || top1 === null ? bits('agree') : equalTo(top1, top1[layers - 1]!)
  if (agree[layers - 1] !== 1) throw json.wrong(at('agree'), '1 at the last layer')
  return {
    task: given('task') ? json.text(at('task')) : 'unnamed',
    sequence,
    question: String(sequence),
    features,
    ...(top1 === null ? {} : { top1 }),
    agree,
    correct: given('correct') ? bits('correct') : top1 !== null && gold !== null ? equalTo(top1, gold) : null,
  }
}

/** 1 where an id is `wanted`. */
export function equalTo(ids: ArrayLike<number>, wanted: number): Uint8Array {
  return Uint8Array.from(ids, (id) => (id === wanted ? 1 : 0))
}

/** The instances of sequences `from` .. `to` - 1. */
export function sliceTraces(traces: TraceSet, from: number, to = traces.sequences): TraceSet {
  return selectTraces(traces, (sequence) => sequence >= from && sequence < to)
}

/** The instances of the sequences that `keep` chooses by their number. */
export function selectTraces(traces: TraceSet, keep: (sequence: number) => boolean): TraceSet {
  const instances = traces.instances.filter(({ sequence }) => keep(sequence))
  return { ...traces, instances, sequences: new Set(instances.map(({ sequence }) => sequence)).size }
}

/** Answers of one model, of several sets, as one set. */
export function pooledTraces(
  sets: readonly TraceSet[],
  keep: (instance: TraceInstance) => boolean = () => true,
): TraceSet {
  const own = sets.flatMap(({ instances }) => instances.filter(keep))
  return { ...sets[0]!, sequences: own.length, instances: own.map((instance, sequence) => ({ ...instance, sequence })) }
}

/** Names of the tasks, sorted. */
export function taskNames(traces: TraceSet): string[] {
  return [...new Set(traces.instances.map(({ task }) => task))].sort()
}

/** One feature of an instance, [L]. Throws FileError where the file lacks it. */
export function featureOf(traces: TraceSet, instance: TraceInstance, feature: FeatureName): Float64Array {
  const values = instance.features[feature]
  if (values === undefined) throw new FileError(traces.path, `the traces lack the feature ${JSON_NAMES[feature]}`)
  return values
}
