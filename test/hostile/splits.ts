import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Name, model and what the message says behind the path. */
type HostileModel = readonly [name: string, model: string, says: RegExp]

interface Part {
  readonly no?: number
  readonly count?: number
  readonly total?: number
  /** Names, with the type's number. */
  readonly tensors?: readonly (readonly [name: string, type: number])[]
}

const FIRST = 'm-00001-of-00003.gguf'
const SECOND = 'm-00002-of-00003.gguf'
const THIRD = 'm-00003-of-00003.gguf'

/** Split GGUF files that lie, each in a folder of its own. */
export function hostileSplits(inside: (name: string) => string): HostileModel[] {
  const models: HostileModel[] = []
  /** `replace` puts what it likes in the place of parts. */
  const add = (
    name: string,
    says: RegExp,
    parts: readonly Part[],
    { first = FIRST, replace }: { first?: string; replace?: (folder: string) => void } = {},
  ): void => {
    const folder = inside('split')
    mkdirSync(folder)
    for (const [i, part] of parts.entries()) {
      writeFileSync(
        join(folder, i === 0 ? first : [FIRST, SECOND, THIRD][i]!),
        encode({ no: i, count: 3, total: 2, ...part }),
      )
    }
    replace?.(folder)
    models.push([`a split GGUF file ${name}`, join(folder, first), says])
  }
  const good: Part[] = [{}, { tensors: [['a', 0]] }, { tensors: [['b', 0]] }]
  const with_ = (i: number, part: Part): Part[] => good.map((each, at) => (at === i ? { ...each, ...part } : each))
  const link = (to: string, name = SECOND) => ({
    replace: (folder: string) => swap(folder, name, (path) => symlinkSync(to, path)),
  })

  add('without a model in it', /general.architecture is missing|is not supported/, good)
  add('of four billion parts', /4294967295 parts; at most 1000 may be/, with_(0, { count: 2 ** 32 - 1 }))
  add(
    'of more tensors than any model',
    /split.tensors.count of 4294967295 is over the limit/,
    with_(0, { total: 2 ** 32 - 1 }),
  )
  add(
    'of fewer tensors than it says',
    /says 3 tensors, the 3 parts have 2$/,
    good.map((part) => ({ ...part, total: 3 })),
  )
  add('with a part of another', /the parts are of different models$/, with_(1, { total: 7 }))
  add(
    'with the same tensor twice',
    /has tensor a, which m-00002-of-00003.gguf has too$/,
    with_(2, { tensors: [['a', 0]] }),
  )
  add('with a part twice', /split.no is 1 where part 3 has 2$/, with_(2, { no: 1 }))
  add(
    'with a tensor of ik_llama.cpp',
    /tensor a has type 139, which ggml 0.23 does not have/,
    with_(1, { tensors: [['a', 139]] }),
  )
  add(
    'with a name of control characters',
    /tensor \\u\{1b\}\[2J has type 99/,
    with_(1, { tensors: [['\u001b[2J', 99]] }),
  )
  add(
    'that begins with its second part',
    /is part 2 of a model in 3 parts; give the first, m-00001/,
    with_(0, { no: 1 }),
  )
  add('whose part is a pipe', /is not a regular file$/, good, {
    replace: (folder) => swap(folder, SECOND, (path) => void execFileSync('mkfifo', [path])),
  })
  add('whose part is a device', /is not a regular file$/, good, link('/dev/zero'))
  add('whose part is a folder', /is a folder, not a file$/, good, {
    replace: (folder) => swap(folder, THIRD, mkdirSync),
  })
  add('whose part is a link to the first', /split.no is 0 where part 2 has 1$/, good, link(FIRST))
  add(
    'whose part is a link in a circle',
    /is missing: m-00001-of-00003.gguf is the first of 3 parts$/,
    good,
    link(SECOND),
  )
  add('whose part is a link to nothing', /is missing: m-00001-of-00003.gguf/, good, link('../../nothing', THIRD))
  add('whose part is empty', /is not a GGUF file$/, good, {
    replace: (folder) => writeFileSync(join(folder, THIRD), ''),
  })
  const odd = `..\\${'\u202e'}\n-00001-of-00003.gguf`
  add('with a name of control characters and separators', /is missing/, [{}], { first: odd })
  add('with a number too large for its name', /its name must be m-00001-of-00003.gguf$/, good, {
    first: 'm-99999-of-00004.gguf',
  })
  return models
}

function swap(folder: string, name: string, put: (path: string) => void): void {
  const path = join(folder, name)
  execFileSync('rm', [path])
  put(path)
}

/** A part; its tensors are one float each. */
function encode({ no = 0, count = 0, total = 0, tensors = [] }: Part): Buffer {
  const number = (n: number, bytes: 4 | 8): Buffer => {
    const buffer = Buffer.alloc(bytes)
    buffer.writeUInt32LE(n)
    return buffer
  }
  const string = (text: string): Buffer => Buffer.concat([number(Buffer.byteLength(text), 8), Buffer.from(text)])
  const key = (name: string, value: number): Buffer => Buffer.concat([string(name), number(4, 4), number(value, 4)])
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    number(3, 4),
    number(tensors.length, 8),
    number(3, 8),
    key('split.no', no),
    key('split.count', count),
    key('split.tensors.count', total),
    ...tensors.flatMap(([name, type], i) => [
      string(name),
      number(1, 4),
      number(1, 8),
      number(type, 4),
      number(32 * i, 8),
    ]),
  ])
  return Buffer.concat([header, Buffer.alloc(32 - (header.length % 32)), Buffer.alloc(32 * tensors.length)])
}
