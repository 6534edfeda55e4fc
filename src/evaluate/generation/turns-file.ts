import { damaged, digest, openJournal } from '../../checkpoint/journal.js'
import * as json from '../../depth/json-field.js'
import type { Model } from '../../engine/api.js'
import type { JsonObject } from '../../json.js'
import { contentsOf, modelFacts } from '../answers-file.js'
import { depthNames } from '../depth-names.js'
import type { GenerationOptions } from './evaluate.js'
import type { TurnKey, Turns, TurnsFile, Windows } from './kept-turns.js'
import type { Output, Turn } from './turn.js'
import type { WindowScore } from './window.js'

/**
 * Opens what an evaluation has done, or begins to keep it. Whoever goes on must ask the same of the same model in the same
 * way, on the same machine.
 * @throws FileError where the file is of another run
 */
export async function openTurnsFile(
  path: string,
  model: Model,
  options: GenerationOptions,
  settings: { readonly kvType: string | null; readonly threads: number | null },
): Promise<TurnsFile> {
  const turns = new Map<string, Turns>()
  const windows = new Map<string, Windows>()
  const { layers, vocabulary } = model.hyperparameters
  const depths = await depthNames(model, options.depths, options.signal)
  const facts: JsonObject = {
    ...modelFacts(model, settings),
    tasks: options.tasks.map(({ name }) => name),
    contents_of_tasks: digest(options.tasks.map((task) => [task.items, task.shots])),
    texts: options.texts.map(({ name }) => name),
    contents_of_texts: digest(options.texts.map(({ text }) => text)),
    shots: options.shots,
    depths: depths.map(({ name }) => name),
    contents_of_policies: digest(depths.map(({ policy }) => contentsOf(policy))),
    batch_sizes: options.batches,
    seed: options.seed,
    limit: options.limit,
    template: options.template,
    max_tokens: options.maxTokens,
    beams: options.beams ?? undefined,
    no_repeat_ngram: options.noRepeatNgram,
    window: options.window,
    prompt_length: options.promptLength,
  }
  const journal = openJournal(path, 'shoal-generations', facts, (record, line) => {
    const at = json.fieldsOf({ file: path, name: `line ${line}`, value: record }, [
      'kind',
      'group',
      'batch',
      'index',
      'depths',
    ])
    const key: TurnKey = {
      kind: json.choice(at('kind'), ['turn', 'window'] as const),
      group: json.whole(at('group'), 0),
      batch: json.whole(at('batch'), 1),
      index: json.whole(at('index'), 0),
    }
    const whole = (names: { has(name: string): boolean }) => depths.every(({ name }) => names.has(name))
    if (key.kind === 'turn') {
      const read = new Map(json.listOf(at('depths'), (field) => readTurn(field, layers, vocabulary), 1))
      const sizes = new Set([...read.values()].map(({ outputs }) => outputs.length))
      if (!whole(read) || sizes.size !== 1 || Math.max(...sizes) > key.batch) throw damaged(path, line)
      turns.set(textOf(key), read)
    } else {
      const read = new Map(json.listOf(at('depths'), (field) => readWindow(field, layers, vocabulary), 1))
      if (!whole(read) || new Set([...read.values()].map(({ tops }) => tops.length)).size !== 1) {
        throw damaged(path, line)
      }
      windows.set(textOf(key), read)
    }
  })
  const append = (key: TurnKey, values: ReadonlyMap<string, object>): void =>
    journal.append({ ...key, depths: Array.from(values, ([name, value]) => ({ name, ...value })) })
  return {
    kept: turns.size + windows.size,
    turns: (key) => turns.get(textOf(key)),
    windows: (key) => windows.get(textOf(key)),
    appendTurns: append,
    appendWindows: append,
    close: (how) => journal.close(how),
  }
}

function textOf({ kind, group, batch, index }: TurnKey): string {
  return JSON.stringify([kind, group, batch, index])
}

function readTurn(field: json.Field, layers: number, vocabulary: number): [string, Turn] {
  const at = json.fieldsOf(field, ['name', 'outputs', 'ms', 'decodeMs'])
  return [
    json.text(at('name')),
    {
      outputs: json.listOf(at('outputs'), (output) => readOutput(output, layers, vocabulary), 1),
      ms: json.number(at('ms'), 0),
      decodeMs: json.number(at('decodeMs'), 0),
    },
  ]
}

function readOutput(field: json.Field, layers: number, vocabulary: number): Output {
  const at = json.fieldsOf(field, ['tokens', 'text', 'promptTokens', 'depth', 'rowLayers'])
  const { value } = at('text')
  return {
    tokens: json.listOf(at('tokens'), (id) => json.whole(id, 0, vocabulary - 1), 1),
    text: value === '' ? '' : json.text(at('text')),
    promptTokens: json.whole(at('promptTokens'), 1),
    depth: json.number(at('depth'), 0, layers),
    rowLayers: json.whole(at('rowLayers'), 0),
  }
}

function readWindow(field: json.Field, layers: number, vocabulary: number): [string, WindowScore] {
  const at = json.fieldsOf(field, ['name', 'loss', 'depth', 'tops'])
  const tops = json.listOf(at('tops'), (id) => json.whole(id, 0, vocabulary - 1), 1)
  return [
    json.text(at('name')),
    { loss: json.number(at('loss'), 0), depth: json.number(at('depth'), 0, layers * tops.length), tops },
  ]
}
