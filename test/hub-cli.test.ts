import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { loadTokenizer } from '../src/convert/load-tokenizer.js'
import { convertModel } from '../src/convert/package.js'
import { shoal } from './cli-runner.js'
import { expectFailure } from './expect-failure.js'
import { folderFiles, type LocalHub, startHub } from './hub/local-hub.js'
import { matches } from './schema.js'
import { useWorkspace } from './workspace.js'

/** Models of a local Hub, as a user names them. */
const workspace = useWorkspace()
const TINY = 'testorg/tiny'
const SHORT = ['--max-tokens', '3', '--threads', '1']
const before = { ...process.env }

let hub: LocalHub
let home: string

beforeAll(async () => {
  const q8 = join(workspace.folder, 'tiny-Q8_0.gguf')
  await convertModel('ripple-8m', q8, { quantization: 'q8_0' })
  hub = await startHub({
    [TINY]: { files: folderFiles('pretrained/ripple-8m') },
    'testorg/tiny-gguf': { files: { 'tiny-Q8_0.gguf': folderFiles(workspace.folder)['tiny-Q8_0.gguf']! } },
    'testorg/empty': { files: { 'notes.txt': Buffer.from('x') } },
    'testorg/half': { files: folderFiles('pretrained/ripple-8m-unified2x') },
  })
  home = join(workspace.folder, 'hf')
  delete process.env.HF_HUB_OFFLINE
  Object.assign(process.env, { HF_ENDPOINT: hub.endpoint, HF_HOME: home })
})
afterAll(async () => {
  process.env = before
  await hub.close()
})
beforeEach(() => {
  hub.asked.length = 0
  hub.fault = null
})

const fetched = (): string[] =>
  hub.asked.map(({ url }) => url).flatMap((url) => /\/resolve\/[0-9a-f]{40}\/(.*)$/.exec(url)?.[1] ?? [])

describe('a model of the Hub', () => {
  it('is planned by its config.json, cut into tokens by its tokenizer, run with the rest, and listed', async () => {
    const planned = await shoal(['plan', TINY, '--json'])
    expect(JSON.parse(planned.stdout)).toMatchObject({ model: TINY, total_layers: 16 })
    expect(fetched()).toEqual(['config.json'])

    const tokens = await shoal(['tokenize', TINY, 'The sea', '--json'])
    expect(tokens.stdout).toBe((await shoal(['tokenize', 'ripple-8m', 'The sea', '--json'])).stdout)
    expect(fetched()).not.toContain('model.safetensors')

    const run = await shoal(['run', TINY, 'The sea', ...SHORT, '--json'])
    expect(run.code).toBe(0)
    expect(run.stderr).toMatch(
      /^shoal: fetching testorg\/tiny from the Hub: README\.md [\d.]+ kB, model\.safetensors 14\.6 MB · 14\.6 MB\n$/,
    )
    const local = JSON.parse((await shoal(['run', 'ripple-8m', 'The sea', ...SHORT, '--json'])).stdout)
    expect(JSON.parse(run.stdout)).toMatchObject({ model: TINY, tokens: local.tokens, layers: 16 })

    hub.asked.length = 0
    const again = await shoal(['run', `hf:${TINY}`, 'The sea', ...SHORT])
    expect([again.code, again.stderr]).toEqual([0, ''])
    expect(hub.asked).toHaveLength(1)

    const listed = matches('models', (await shoal(['models', '--json'])).stdout)
    expect(listed.bundled).toContain('ripple-8m')
    const ofHub = listed.hub as { models: { name: string; revisions: { commit: string; refs: string[] }[] }[] }
    expect(ofHub.models).toMatchObject([{ name: TINY, revisions: [{ commit: hub.commit(TINY), refs: ['main'] }] }])
    expect(listed.models).toContainEqual(expect.objectContaining({ name: TINY }))
    expect((await shoal(['models'])).stdout).toMatch(/testorg\/tiny +main [0-9a-f]{7} +7 +14\.\d MB/)
  })

  it('may be one GGUF file', async () => {
    const { code, stdout } = await shoal(['run', 'testorg/tiny-gguf:q8_0', 'The sea', ...SHORT, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ model: 'tiny-Q8_0', quantization: 'q8_0' })
    for (const name of ['testorg/tiny-gguf', 'testorg/tiny-gguf/tiny-Q8_0.gguf', `${hub.endpoint}/testorg/tiny-gguf`]) {
      expect((await shoal(['run', name, 'The sea', ...SHORT, '--json'])).stdout).toContain('"model":"tiny-Q8_0"')
    }
    expectFailure(await shoal(['run', 'testorg/tiny-gguf:Q4_0', 'x']), 1, /no GGUF file is Q4_0; there are tiny-Q8_0/)
  })

  it('is taken by convert, export and the library, at a revision', async () => {
    const revision = hub.commit('testorg/half')
    const gguf = join(workspace.folder, 'half.gguf')
    const converted = await shoal(['convert', 'testorg/half', '--revision', revision, '-o', gguf, '--json'])
    expect(matches('convert', converted.stdout)).toMatchObject({ path: gguf, model: 'testorg/half' })
    const out = join(workspace.folder, 'three.gguf')
    const line = ['export', 'testorg/half', '--revision', revision, '--depth', 'layers:0,1,15', '--format', 'gguf']
    const exported = await shoal([...line, '-o', out, '--no-perplexity', '--json'])
    expect(JSON.parse(exported.stdout)).toMatchObject({ model: 'testorg/half', layers: [0, 1, 15] })
    hub.asked.length = 0
    const model = await workspace.load('testorg/half', { revision })
    expect(model.name).toBe('testorg/half')
    const tokenizer = await loadTokenizer('testorg/half', { revision })
    expect(tokenizer.encode('The sea')).toHaveLength(3)
    tokenizer.dispose()
    expect(hub.asked).toEqual([])
  })

  it('is not what an existing folder names, nor a bundled model', async () => {
    await mkdir(join(workspace.folder, 'testorg/tiny'), { recursive: true })
    const cwd = process.cwd()
    process.chdir(workspace.folder)
    try {
      expectFailure(await shoal(['run', TINY, 'x']), 1, /testorg\/tiny\/config\.json: no such file/)
      expectFailure(await shoal(['run', './testorg/none', 'x']), 1, /no such folder, GGUF file or bundled model/)
    } finally {
      process.chdir(cwd)
    }
    expectFailure(
      await shoal(['run', 'ripple-8m', 'x', '--revision', 'main']),
      2,
      /a revision is for models on the Hub/,
    )
    expect(hub.asked).toEqual([])
  })

  it('is the one argument, and needs a prompt', async () => {
    expectFailure(await shoal(['run', TINY]), 2, /a PROMPT is missing: testorg\/tiny is the model, and stdin is empty/)
    expect((await shoal(['run', TINY, ...SHORT], { input: 'The sea' })).code).toBe(0)
  })

  it('that cannot be had is one line', async () => {
    expectFailure(await shoal(['run', 'testorg/none', 'x']), 1, /no such folder, and no such model on the Hub/)
    expectFailure(await shoal(['run', TINY, 'x', '--revision', 'v9']), 1, /testorg\/tiny: there is no revision v9/)
    expectFailure(await shoal(['run', TINY, 'x', '--revision', '../x']), 2, /is no revision/)
    expectFailure(await shoal(['plan', 'testorg/empty']), 1, /testorg\/empty: holds no model/)
    expect((await shoal(['models'])).stdout).toMatch(/testorg\/empty +listed +0 B +20\d\d-/)
    expectFailure(
      await shoal(['run', `${TINY}@main`, 'x']),
      2,
      /with a revision a model on the Hub is hf:testorg\/tiny@main, or testorg\/tiny with --revision main/,
    )
    expectFailure(await shoal(['run', 'https://example.com/a/b', 'x']), 2, /only addresses of the Hub are taken/)
  })

  it('is run from the cache, with a warning, where the Hub is out of order', async () => {
    await shoal(['run', TINY, 'x', ...SHORT])
    hub.fault = (_, response) => {
      response.writeHead(502).end()
      return true
    }
    const { code, stderr } = await shoal(['run', TINY, 'x', ...SHORT])
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /^shoal: warning: testorg\/tiny: the Hub has trouble .*; what is cached is used \(commit .*\)\n$/,
    )
  })

  it('is removed, and its conversions with it', async () => {
    await shoal(['run', TINY, 'x', ...SHORT])
    expectFailure(await shoal(['models', 'remove', `${TINY}@v1`]), 2, /has no revision v1 in the cache/)
    const removed = matches('models-remove', (await shoal(['models', 'remove', TINY, '--json'])).stdout)
    expect(removed.removed_of_hub).toMatchObject([{ name: TINY, revision: null }])
    expect(removed.removed).toMatchObject([{ name: TINY }])
    expect(existsSync(join(home, 'hub/models--testorg--tiny'))).toBe(false)
    const { stdout } = await shoal(['models', 'remove', 'testorg/tiny-gguf@main'])
    expect(stdout).toMatch(/^removed testorg\/tiny-gguf at [0-9a-f]{7} of the Hub, \d\.\d MB\n\d\.\d MB freed\n$/)
  })
})

describe('a process', () => {
  const blobs = (): string[] => {
    const folder = join(home, 'hub/models--testorg--tiny/blobs')
    return existsSync(folder) ? readdirSync(folder) : []
  }
  const partial = (): string | undefined => blobs().find((name) => name.endsWith('.shoal.incomplete'))

  /** Storage that sends half of a file and then nothing. */
  function stall(): void {
    hub.fault = (_, response, host) => {
      if (host !== 'storage') return false
      const content = hub.repos[TINY]!.files['model.safetensors']!
      response.writeHead(200, { 'content-length': content.length })
      response.write(content.subarray(0, content.length >> 1))
      return true
    }
  }

  async function half(): Promise<void> {
    const bytes = hub.repos[TINY]!.files['model.safetensors']!.length >> 1
    for (;;) {
      const name = partial()
      if (
        name !== undefined &&
        statSync(join(home, 'hub/models--testorg--tiny/blobs', name), { throwIfNoEntry: false })?.size === bytes
      )
        return
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  beforeEach(() => rm(join(home, 'hub'), { recursive: true, force: true }))

  it('that is killed leaves what came and a lock that holds nobody up', async () => {
    stall()
    const runner = join(workspace.folder, 'runner.mjs')
    const source = new URL('../src/hub/fetch-model.ts', import.meta.url).href
    writeFileSync(
      runner,
      `const { fetchModel } = await import(${JSON.stringify(source)})\nawait fetchModel({ repo: '${TINY}' })`,
    )
    const loader = new URL('./typescript-loader.mjs', import.meta.url).href
    const child: ChildProcess = fork(runner, [], { execArgv: ['--import', loader] })
    await half()
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(readdirSync(join(home, 'hub/.locks/models--testorg--tiny'))).toHaveLength(1)
    hub.fault = null
    hub.asked.length = 0
    const { code, stderr } = await shoal(['run', TINY, 'x', ...SHORT])
    expect([code, stderr]).toEqual([0, expect.stringMatching(/14\.6 MB, 7\.\d MB of it here already\n$/)])
    expect(hub.asked.at(-1)).toMatchObject({ host: 'storage', range: expect.stringMatching(/^bytes=7\d{6}-$/) })
    expect(readdirSync(join(home, 'hub/.locks/models--testorg--tiny'))).toEqual([])
  })

  it('that gets Ctrl-C says what is kept', async () => {
    stall()
    const bin = fileURLToPath(new URL('../bin/shoal.js', import.meta.url))
    const child = spawn(process.execPath, [bin, 'run', TINY, 'x', ...SHORT])
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    await half()
    child.kill('SIGINT')
    const [code] = await once(child, 'close')
    expect(code).toBe(130)
    expect(stderr).toMatch(/\nshoal: stopped; what has come is kept, and the same command goes on from there\n$/)
    expect(readdirSync(join(home, 'hub/.locks/models--testorg--tiny'))).toEqual([])
    expect(partial()).toBeDefined()
  })
})
