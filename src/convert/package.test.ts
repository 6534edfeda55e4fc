import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHuggingFace } from '../checkpoint/huggingface.js'
import { InputError, UnsupportedError } from '../errors.js'
import { cachedPath, listCache, removeCached } from './cache.js'
import { cacheFolder } from './cache-folder.js'
import { contentHash } from './content-hash.js'
import { loadTokenizer } from './load-tokenizer.js'
import { bundledModels, convertModel, locateModel, openPackage } from './package.js'
import type { ProgressInfo } from './progress.js'

const RIPPLE = 'pretrained/ripple-8m'

let folder: string
let cacheDir: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-package-'))
  cacheDir = join(folder, 'cache')
})
afterEach(() => rm(folder, { recursive: true }))

describe('openPackage', () => {
  it('converts the bundled model once, and says how far it is', async () => {
    const seen: ProgressInfo[] = []
    const options = { cacheDir, progress: (info: ProgressInfo) => seen.push(info) }
    const made = await openPackage(undefined, options)
    expect(made).toMatchObject({
      name: 'ripple-8m',
      quantization: 'f32',
      endIds: [1],
      settings: { chatStop: ['\n\n'] },
      specialTokens: { bos: '<s>', eos: '</s>' },
      warnings: [],
    })
    const tokenizerJson = made.gguf.metadata.string('tokenizer.huggingface.json')
    expect(tokenizerJson).toBe(await readFile(join(RIPPLE, 'tokenizer.json'), 'utf8'))
    expect(made.chatTemplate).toContain('bos_token')
    expect(made.gguf.tensors.has('token_embd.weight')).toBe(true)
    expect(seen[0]).toMatchObject({ status: 'initiate', name: 'ripple-8m', file: made.path, progress: 0 })
    expect(seen.at(-1)).toMatchObject({
      status: 'done',
      progress: 100,
      loaded: made.gguf.bytes,
      total: made.gguf.bytes,
    })
    expect(seen.slice(1, -1).every(({ status, loaded, total }) => status === 'progress' && loaded <= total)).toBe(true)
    const count = seen.length
    const { mtimeMs } = await stat(made.path)
    expect((await openPackage('ripple-8m', options)).path).toBe(made.path)
    expect(seen).toHaveLength(count)
    expect((await stat(made.path)).mtimeMs).toBe(mtimeMs)
  })

  it('opens a GGUF file as it is', async () => {
    const path = join(folder, 'mine.gguf')
    const conversion = await convertModel('ripple-8m', path, { quantization: 'q8_0' })
    expect(conversion).toMatchObject({ path, name: 'ripple-8m', quantization: 'q8_0', warnings: [] })
    expect(await openPackage(path)).toMatchObject({ name: 'mine', path, quantization: 'q8_0', endIds: [1] })
    await expect(openPackage(path, { quantization: 'q4_0' })).rejects.toThrow(InputError)
    expect(await convertModel(path, join(folder, 'other.gguf'))).toMatchObject({ name: 'mine', quantization: 'q8_0' })
  })

  it('keeps the sampling that generation_config.json recommends, under the standard keys', async () => {
    const source = join(folder, 'warm')
    await cp(RIPPLE, source, { recursive: true })
    const generation = { eos_token_id: 5, do_sample: true, temperature: 0.6, top_k: 40, top_p: 0.9 }
    await writeFile(join(source, 'generation_config.json'), JSON.stringify(generation))
    const made = await openPackage(source, { cacheDir })
    expect(made.sampling).toEqual({ temperature: 0.6, topK: 40, topP: 0.9 })
    expect(made.gguf.metadata.number('general.sampling.temp')).toBeCloseTo(0.6, 6)
    expect(made.endIds).toEqual([5, 1])
    expect((await openPackage(RIPPLE, { cacheDir })).sampling).toEqual({})
  })

  it("keeps a variant's depth", async () => {
    const { settings } = await openPackage('pretrained/ripple-8m-unified2x', { cacheDir, quantization: 'q4_0' })
    expect(settings.depth).toBe('layers:0,2,4,6,8,10,12,15')
  })

  it('makes a damaged file of the cache anew', async () => {
    const { path, gguf } = await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
    await writeFile(path, (await readFile(path)).subarray(0, 1_000_000))
    expect((await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })).gguf.bytes).toBe(gguf.bytes)
  })

  it('says what is wrong in one line', async () => {
    const refusal = async (model: string, reason: RegExp) => {
      const error = await openPackage(model, { cacheDir }).catch((error: unknown) => error as Error)
      expect((error as Error).message).toMatch(reason)
      expect((error as Error).message).not.toContain('\n')
      return error
    }
    await refusal('absent', /^absent: no such folder, GGUF file or bundled model \(.*ripple-8m/)
    await refusal('meta-llama/Llama-2-7b', /^meta-llama\/Llama-2-7b: is not in the cache, and HF_HUB_OFFLINE says not/)
    await refusal('./a/b', /no such folder, GGUF file/)
    await refusal('a/b.gguf', /no such folder, GGUF file/)
    await refusal(folder, /config\.json: no such file$/)
    await refusal('package.json', /package\.json: is not a GGUF file/)
    await writeFile(join(folder, 'config.json'), '{"model_type":"mamba"}')
    expect(await refusal(folder, /model_type "mamba" is not supported; supported: llama/)).toBeInstanceOf(
      UnsupportedError,
    )
    await writeFile(join(folder, 'config.json'), '{}')
    await refusal(folder, /config\.json: field model_type is missing/)
    const unknown = openPackage('ripple-8m', { cacheDir, quantization: 'q3' as 'q4_0' })
    await expect(unknown).rejects.toThrow('unknown quantization q3; known are f32')
    expect(await readdir(folder)).toEqual(['config.json'])
  })

  it.each([null, 5, '', 'a\0b'])('refuses %j as the name of a model', async (name) => {
    await expect(openPackage(name as string, { cacheDir })).rejects.toThrow(InputError)
    await expect(loadTokenizer(name as string)).rejects.toThrow(/^a model is the path of a folder or GGUF file, or /)
  })

  it('tells a name that is no possible path from a missing file', async () => {
    await expect(openPackage('a'.repeat(5000), { cacheDir })).rejects.toThrow(/: the name is too long$/)
    await symlink('loop', join(folder, 'loop'))
    await expect(openPackage(join(folder, 'loop'), { cacheDir })).rejects.toThrow(/loop: its links lead in a circle$/)
  })

  it('finds models by path first, then among the bundled ones', async () => {
    expect(bundledModels()).toContain('ripple-8m')
    expect(locateModel('ripple-8m')).toMatchObject({ kind: 'folder', name: 'ripple-8m' })
    expect(locateModel(`${RIPPLE}/`)).toEqual({ kind: 'folder', path: `${RIPPLE}/`, name: 'ripple-8m' })
  })
})

describe('the cache', () => {
  const keyOf = async (source: string, quantization: 'f32' | 'f16' = 'f32') =>
    cachedPath(await openHuggingFace(source), quantization, cacheDir)

  it('has another file for other content, options or name', async () => {
    const copy = join(folder, 'ripple-8m')
    await cp(RIPPLE, copy, { recursive: true })
    const key = await keyOf(RIPPLE)
    expect(await keyOf(copy)).toBe(key)
    expect(await keyOf(copy, 'f16')).not.toBe(key)
    await writeFile(join(copy, 'shoal.json'), '{"depth":"full"}')
    expect(await keyOf(copy)).not.toBe(key)
    await rm(join(copy, 'shoal.json'))
    expect(await keyOf(copy)).not.toBe(key)
  })

  it('lists and removes what it holds', async () => {
    expect(await listCache(cacheDir)).toEqual([])
    const first = await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
    await utimes(first.path.replace('.gguf', '.json'), 1, 1)
    const second = await openPackage('ripple-8m', { cacheDir, quantization: 'q8_0' })
    const list = await listCache(cacheDir)
    expect(list.map(({ path }) => path)).toEqual([second.path, first.path])
    expect(list[1]).toMatchObject({
      name: 'ripple-8m',
      quantization: 'q4_0',
      bytes: first.gguf.bytes,
      lastUsed: new Date(1000),
    })
    expect(list[1]!.source.endsWith('ripple-8m')).toBe(true)
    await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
    expect((await listCache(cacheDir))[0]!.path).toBe(first.path)
    await removeCached(list[1]!.id, cacheDir)
    expect((await listCache(cacheDir)).map(({ path }) => path)).toEqual([second.path])
    await expect(removeCached(list[1]!.id, cacheDir)).rejects.toThrow('is not in the cache')
    await expect(removeCached('../../x', cacheDir)).rejects.toThrow('is not in the cache')
  })

  it('lists a file whose note is gone', async () => {
    const { path } = await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
    await rm(path.replace('.gguf', '.json'))
    expect(await listCache(cacheDir)).toMatchObject([{ name: 'ripple-8m', quantization: 'q4_0', source: '' }])
  })

  it('is where the user or the platform wants it', () => {
    expect(cacheFolder({ SHOAL_CACHE: '/a' }, 'linux')).toBe('/a')
    expect(cacheFolder({ XDG_CACHE_HOME: '/b' }, 'linux')).toBe(join('/b', 'shoal'))
    expect(cacheFolder({ XDG_CACHE_HOME: 'relative' }, 'linux')).toMatch(/\.cache.shoal$/)
    expect(cacheFolder({}, 'linux')).toMatch(/\.cache.shoal$/)
    expect(cacheFolder({}, 'darwin')).toMatch(/Library.Caches.shoal$/)
    expect(cacheFolder({ LOCALAPPDATA: 'C:' }, 'win32')).toBe(join('C:', 'shoal', 'Cache'))
  })

  it('names what is in the way of its folder', async () => {
    const file = join(folder, 'file')
    await writeFile(file, '')
    for (const cacheDir of [file, join(file, 'cache')]) {
      const reason = `${file}: is not a folder; SHOAL_CACHE may name another cache folder`
      await expect(openPackage('ripple-8m', { cacheDir })).rejects.toThrow(reason)
    }
  })
})

describe('a content hash', () => {
  const old = new Date(Date.now() - 60_000)

  it('follows the content', async () => {
    const path = join(folder, 'x')
    await writeFile(path, 'abc')
    const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    expect(await contentHash(path, cacheDir)).toBe(abc)
    await writeFile(path, 'abd')
    expect(await contentHash(path, cacheDir)).not.toBe(abc)
    await expect(contentHash(join(folder, 'absent'), cacheDir)).rejects.toMatchObject({ code: 'file_missing' })
    const stopped = contentHash(path, join(folder, 'other'), AbortSignal.abort())
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
  })

  it('is not remembered for a file that changed just now, nor where the record is damaged', async () => {
    const path = join(folder, 'x')
    await writeFile(path, 'abc')
    await utimes(path, old, old)
    await contentHash(path, cacheDir)
    expect(await readdir(folder)).toEqual(['x'])
    const bundled = join(RIPPLE, 'config.json')
    const hash = await contentHash(bundled, cacheDir)
    for (const record of await readdir(join(cacheDir, 'hashes')).catch((): string[] => [])) {
      await writeFile(join(cacheDir, 'hashes', record), '{"hash":"x"')
    }
    expect(await contentHash(bundled, cacheDir)).toBe(hash)
  })
})

describe('processes', () => {
  /** Opens the bundled model as f16 in a process of its own, which tells when it has written something. */
  async function start(...rest: string[]): Promise<ChildProcess> {
    const runner = join(folder, 'runner.mjs')
    const script = `
      const { openPackage } = await import(${JSON.stringify(new URL('./package.ts', import.meta.url).href)})
      let calls = 0
      const progress = ({ status }) => {
        process.send(status)
        if (process.argv[3] === 'hang' && ++calls === 9) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      }
      const { path } = await openPackage('ripple-8m', { cacheDir: process.argv[2], quantization: 'f16', progress })
      process.send(path)
      process.disconnect()
    `
    await writeFile(runner, script)
    const loader = new URL('../../test/typescript-loader.mjs', import.meta.url).href
    return fork(runner, [cacheDir, ...rest], { execArgv: ['--import', loader] })
  }

  async function reaches(child: ChildProcess, status: string): Promise<void> {
    for (;;) if ((await once(child, 'message'))[0] === status) return
  }

  it('that convert the same model at once end with one good file', async () => {
    const children = await Promise.all([start(), start()])
    const codes = await Promise.all(children.map(async (child) => (await once(child, 'exit'))[0] as number))
    expect(codes).toEqual([0, 0])
    const files = await readdir(join(cacheDir, 'models'))
    expect(files.filter((file) => file.endsWith('.tmp'))).toEqual([])
    expect(files.filter((file) => file.endsWith('.gguf'))).toHaveLength(1)
    expect((await openPackage('ripple-8m', { cacheDir, quantization: 'f16' })).gguf.tensors.size).toBe(146)
  })

  it('that are killed leave no half file, and what they leave goes with the next conversion', async () => {
    const child = await start('hang')
    await reaches(child, 'progress')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const left = await readdir(join(cacheDir, 'models'))
    expect(left.filter((file) => file.endsWith('.gguf'))).toEqual([])
    expect(left).toHaveLength(1)
    await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
    expect((await readdir(join(cacheDir, 'models'))).filter((file) => file.endsWith('.tmp'))).toEqual([])
  })
})

it('needs no place to write but the cache', async () => {
  await mkdir(cacheDir)
  await openPackage('ripple-8m', { cacheDir, quantization: 'q4_0' })
  expect(await readdir(cacheDir)).toEqual(expect.arrayContaining(['models']))
  expect(await readdir(folder)).toEqual(['cache'])
})
