import { readRecord as readQuestion, storedRecord } from '../calibrate/question-file.js'
import { damaged, digest, openJournal } from '../checkpoint/journal.js'
import * as json from '../depth/json-field.js'
import type { Policy } from '../depth/policy.js'
import type { Model } from '../engine/api.js'
import type { JsonObject } from '../json.js'
import { DEFAULT_TEMPLATE } from '../tasks/index.js'
import type { Answer } from './answers.js'
import type { DepthName } from './cells.js'
import { depthNames } from './depth-names.js'
import type { EvaluateOptions } from './evaluate.js'
import type { AnswersFile, KeptAnswers, QuestionKey } from './kept-answers.js'
import { machineName } from './machine.js'

/**
 * Opens the answers of an evaluation, or begins to keep them. Whoever goes on must ask the same questions of the same
 * model in the same way, on the same machine: times are compared with each other.
 * @param settings of how the model was loaded
 * @throws FileError where the file holds the answers of another run
 */
export async function openAnswersFile(
  path: string,
  model: Model,
  options: EvaluateOptions,
  settings: { readonly kvType: string | null; readonly threads: number | null },
): Promise<AnswersFile> {
  const known = new Map<string, KeptAnswers>()
  const { layers } = model.hyperparameters
  const named = await depthNames(model, options.depths, options.signal)
  const depths = named.map(({ name }) => name)
  const traced = options.controls && options.score === 'token'
  const journal = openJournal(path, 'shoal-answers', factsOf(model, options, named, settings), (record, line) => {
    const [key, answers] = readRecord({ file: path, name: `line ${line}`, value: record }, layers)
    const asked = key.control === null ? depths : [key.control, 'full']
    const whole =
      asked.every((name) => answers.answers.has(name)) && (!traced || key.control !== null || answers.record)
    if (!whole) throw damaged(path, line)
    known.set(textOf(key), answers)
  })
  return {
    kept: known.size,
    recall: (key) => known.get(textOf(key)),
    append(key, { answers, record }) {
      journal.append({
        ...key,
        answers: Array.from(answers, ([name, answer]) => ({ name, ...answer })),
        record: record && storedRecord(record),
      })
    },
    close: (how) => journal.close(how),
  }
}

function textOf({ group, question, control }: QuestionKey): string {
  return JSON.stringify([group, question, control])
}

function factsOf(
  model: Model,
  options: EvaluateOptions,
  depths: readonly DepthName[],
  settings: JsonObject,
): JsonObject {
  const { tasks, shots, score, seed, limit, maxTokens, controls, template = DEFAULT_TEMPLATE } = options
  return {
    ...modelFacts(model, settings),
    tasks: tasks.map(({ name }) => name),
    contents_of_tasks: digest(tasks.map((task) => [task.items, task.shots])),
    shots,
    depths: depths.map(({ name }) => name),
    contents_of_policies: digest(depths.map(({ policy }) => contentsOf(policy))),
    score,
    seed,
    limit,
    template,
    max_tokens: score === 'generate' ? maxTokens : undefined,
    controls,
  }
}

/** What of a model, and of how it was loaded, must be the same for a run to go on. */
export function modelFacts(model: Model, settings: JsonObject): JsonObject {
  return {
    model: model.fingerprint,
    quantization: model.quantization,
    context: model.context,
    cache_type: settings.kvType ?? 'default',
    threads: settings.threads ?? 'default',
    machine: machineName(),
  }
}

/** What a policy is made of beside its SPEC: a file, or the plan that costs were measured for. */
export function contentsOf(policy: Policy | null): unknown {
  if (policy?.source !== undefined) return policy.source
  return policy?.kind === 'skip' && policy.speedup !== undefined ? (policy.everyToken ?? null) : null
}

function readRecord(field: json.Field, layers: number): [QuestionKey, KeptAnswers] {
  const at = json.fieldsOf(field, ['group', 'question', 'control', 'answers', 'record'])
  const key = {
    group: json.whole(at('group'), 0),
    question: json.whole(at('question'), 0),
    control: json.orNull(at('control'), json.text),
  }
  const answers = new Map(json.listOf(at('answers'), (answer) => readAnswer(answer, layers), 1))
  const shape = { model: { layers }, positions: 'answer' as const, check_tokens: null }
  return [key, { answers, record: json.orNull(at('record'), (record) => readQuestion(record, shape)) }]
}

function readAnswer(field: json.Field, layers: number): [string, Answer] {
  const at = json.fieldsOf(field, ['name', 'correct', 'f1', 'choice', 'depth', 'runs', 'ms', 'checkMs'])
  const choice = at('choice')
  const answer: Answer = {
    correct: json.whole(at('correct'), 0, 1),
    f1: json.orNull(at('f1'), (f1) => json.number(f1, 0, 1)),
    choice: typeof choice.value === 'string' ? choice.value : json.whole(choice, -1),
    depth: json.number(at('depth'), 0, layers),
    runs: json.listOf(at('runs'), (run) => json.listOf(run, (depth) => json.whole(depth, 0, layers)), 1),
    ms: json.number(at('ms'), 0),
    checkMs: json.number(at('checkMs'), 0),
  }
  return [json.text(at('name')), answer]
}
