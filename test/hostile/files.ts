import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { hostileSplits } from './splits.js'

const LLAMA = 'test/fixtures/checkpoints/llama'

export interface Case {
  readonly name: string
  readonly args: readonly string[]
  /** What the message says behind the path. */
  readonly says: RegExp
  /** Size of the file, which memory may grow with. */
  readonly bytes?: number
}

/** What stands where a file should be. */
type Put = (path: string) => void
const PLACES: Record<string, [Put, RegExp]> = {
  'a pipe that nobody writes to': [(path) => void execFileSync('mkfifo', [path]), /is not a regular file/],
  '/dev/zero': [(path) => symlinkSync('/dev/zero', path), /is not a regular file/],
  '/dev/urandom': [(path) => symlinkSync('/dev/urandom', path), /is not a regular file/],
  'a folder': [(path) => mkdirSync(path), /is a folder, not a file|is not a file|no config\.json|no such file|neither/],
}

const NASTY = `\u001b[2J\u202e\n\r\ud800${'n'.repeat(1_000_000)}`

/** Makes the hostile files under `folder` and tells how each is given to a command. */
export async function hostileCases(folder: string): Promise<Case[]> {
  const cases: Case[] = []
  let count = 0
  const inside = (name: string): string => join(folder, `${count++}-${name}`)
  const run = (model: string): string[] => ['run', model, '--tokens', '1', '--max-tokens', '1']
  const add = (name: string, args: readonly string[], says: RegExp, bytes = 0): void => {
    cases.push({ name, args, says, bytes })
  }
  const checkpoint = (file: string, put: Put): string => {
    const copy = inside('checkpoint')
    cpSync(LLAMA, copy, { recursive: true })
    rmSync(join(copy, file), { force: true, recursive: true })
    put(join(copy, file))
    return copy
  }
  const config = JSON.parse(readFileSync(join(LLAMA, 'config.json'), 'utf8')) as Record<string, unknown>
  const withConfig = (text: string): string[] => run(checkpoint('config.json', (path) => writeFileSync(path, text)))
  const withField = (field: string, value: unknown): string[] =>
    withConfig(JSON.stringify({ ...config, [field]: value }))

  for (const [what, [put, says]] of Object.entries(PLACES)) {
    for (const file of [
      'config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'generation_config.json',
      'model.safetensors',
    ]) {
      if (what === 'a folder' && file === 'model.safetensors') continue
      add(`${what} as ${file}`, run(checkpoint(file, put)), says)
    }
    const place = (name: string): string => {
      const path = inside(name)
      put(path)
      return path
    }
    if (what !== 'a folder') add(`${what} as a model`, run(place('m.gguf')), says)
    add(`${what} as a policy`, ['run', '--tokens', '1', '--depth', `adainfer:${place('p.json')}`], says)
    add(`${what} as a plan`, ['run', '--tokens', '1', '--depth', `plan:${place('p.json')}`], says)
    add(`${what} as prompts`, ['run', '--prompts', place('p.jsonl')], says)
    add(`${what} as a text`, ['score', '--text', place('t.txt')], says)
    add(
      `${what} as traces`,
      ['calibrate', '--policy', 'adainfer-svm', '--traces', place('t.json'), '--out', inside('out.json')],
      says,
    )
    add(
      `${what} as a file of questions`,
      ['calibrate', '--policy', 'adainfer-svm', '--traces', place('t.jsonl'), '--out', inside('out.json')],
      says,
    )
    add(
      `${what} as an imported plan`,
      ['policy', 'import', place('i.json'), '--layers', '16', '--out', inside('o.json')],
      says,
    )
  }
  const socket = inside('socket')
  const server = createServer().listen(socket)
  await new Promise((resolve) => server.once('listening', resolve))
  server.unref()
  add('a socket as a model', run(socket), /is not a regular file/)

  const deep = '['.repeat(1_000_000) + ']'.repeat(1_000_000)
  const keys = `{${Array.from({ length: 2_000_000 }, (_, i) => `"${i}":0`).join()}}`
  add('config.json nested a million deep', withConfig(`{"a":${deep}}`), /nested more than 256 deep/, deep.length)
  add('config.json of millions of keys', withConfig(keys), /keys, at most 250000 may be/, keys.length)
  const tokenizer = (text: string): string[] => run(checkpoint('tokenizer.json', (path) => writeFileSync(path, text)))
  add('tokenizer.json nested a million deep', tokenizer(`{"model":${deep}}`), /nested more than/, deep.length)
  add('tokenizer.json of millions of keys', tokenizer(keys), /more tokens or merges than any tokenizer/, keys.length)
  const file = (name: string, content: string | Uint8Array): string => {
    const path = inside(name)
    writeFileSync(path, content)
    return path
  }
  const policy = file('deep.json', `{"format":"shoal-policy","version":1,"kind":${deep}}`)
  add(
    'a policy nested a million deep',
    ['run', '--tokens', '1', '--depth', `adainfer:${policy}`],
    /nested more than/,
    deep.length,
  )
  const traces = file('deep.json', `{"layers":${deep}}`)
  add(
    'traces nested a million deep',
    ['calibrate', '--policy', 'adainfer-svm', '--traces', traces, '--out', inside('o.json')],
    /nested more/,
    deep.length,
  )

  const ropes = {
    none: {},
    linear: { rope_type: 'linear', factor: 4 },
    llama3: { rope_type: 'llama3', factor: 4, low_freq_factor: 1, high_freq_factor: 4 },
    yarn: { rope_type: 'yarn', factor: 4 },
  }
  const sizes = Object.keys(config).filter(
    (field) => typeof config[field] === 'number' && !/id$|eps|range|dropout|theta|head_dim|pretraining/.test(field),
  )
  for (const [rope, scaling] of Object.entries(ropes)) {
    for (const field of [...sizes, 'head_dim']) {
      for (const value of [2 ** 31 - 2, 2 ** 31]) {
        if (field === 'max_position_embeddings' && value < 2 ** 31) continue
        const changed = { ...config, [field]: value, rope_parameters: null, rope_scaling: scaling }
        add(`${field} of ${value} with rope ${rope}`, withConfig(JSON.stringify(changed)), /./)
      }
    }
  }
  add(
    'a value of megabytes',
    withField('hidden_act', NASTY),
    /hidden_act = "\\u001b\[2J.*is not supported$/,
    NASTY.length,
  )
  add('a model type of megabytes', withField('model_type', NASTY), /./, NASTY.length)
  add(
    'a key of megabytes in shoal.json',
    run(checkpoint('shoal.json', (path) => writeFileSync(path, JSON.stringify({ [NASTY]: 1 })))),
    /unknown key/,
    NASTY.length,
  )

  const safetensors = (header: string, data = 0): string[] => {
    const json = Buffer.from(header)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(json.length))
    return run(
      checkpoint('model.safetensors', (path) => writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(data)]))),
    )
  }
  const tensor = (more: object): string =>
    JSON.stringify({ [NASTY]: { dtype: 'F32', shape: [1], data_offsets: [0, 4], ...more } })
  add(
    'a tensor name of megabytes',
    safetensors(tensor({ data_offsets: [0, 9] }), 9),
    /data_offsets give 9$/,
    NASTY.length,
  )
  add('a dtype of megabytes', safetensors(tensor({ dtype: NASTY }), 4), /./, 2 * NASTY.length)
  add('a shape of megabytes', safetensors(tensor({ shape: Array(500_000).fill(1e15) }), 4), /./, 10_000_000)
  add('a safetensors header nested a million deep', safetensors(`{"a":${deep}}`), /nested more than/, deep.length)

  add(
    'a GGUF key with control characters',
    run(file('k.gguf', gguf(`\u001b[2J\u202e${'k'.repeat(60_000)}`))),
    /unknown type 99$/,
  )
  add('a GGUF architecture of megabytes', run(file('a.gguf', gguf('general.architecture', NASTY))), /./, NASTY.length)
  for (const [name, model, says] of hostileSplits(inside)) add(name, run(model), says)
  add(
    'a path of control characters',
    ['run', join(folder, `\u001b[31m\n${'p'.repeat(200)}`), 'hello'],
    /no such folder, GGUF file or bundled model/,
  )
  add('a SPEC of megabytes', ['run', '--tokens', '1', '--depth', `exit:${NASTY.slice(0, 100_000)}`], /./)
  return cases
}

/** A GGUF file with one key, which has a type that does not exist, or this string. */
function gguf(key: string, value?: string): Buffer {
  const number = (n: number, bytes: 4 | 8): Buffer => {
    const buffer = Buffer.alloc(bytes)
    buffer.writeUInt32LE(n)
    return buffer
  }
  const string = (text: string): Buffer => Buffer.concat([number(Buffer.byteLength(text), 8), Buffer.from(text)])
  const start = [Buffer.from('GGUF'), number(3, 4), number(0, 8), number(1, 8), string(key)]
  const rest = value === undefined ? [number(99, 4)] : [number(8, 4), string(value)]
  return Buffer.concat([...start, ...rest, Buffer.alloc(64)])
}
