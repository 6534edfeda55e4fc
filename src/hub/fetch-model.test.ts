import { existsSync } from 'node:fs'
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { etagOf, folderFiles, type LocalHub, refuse, startHub, TOKEN } from '../../test/hub/local-hub.js'
import { processStart } from '../checkpoint/process-start.js'
import { type DownloadProgress, type FetchOptions, fetchModel } from './fetch-model.js'
import { type HubSettings, hubSettings } from './hub-settings.js'

const REPO = 'testorg/tiny'
const WEIGHTS = 'model.safetensors'

let hub: LocalHub
let folder: string
let settings: HubSettings
/** A file of 3 MB, so that it comes in many pieces. */
let large: Buffer

beforeEach(async () => {
  large = Buffer.alloc(3_000_000, 'shoal ')
  large.write('GGUF')
  hub = await startHub({
    [REPO]: { files: { ...folderFiles('test/fixtures/checkpoints/llama'), 'x.bin': Buffer.from('x') } },
    'testorg/gguf': { files: { 'm-Q4_K_M.gguf': large, 'm-Q8_0.gguf': Buffer.from('GGUF8') } },
  })
  folder = await mkdtemp(join(tmpdir(), 'shoal-hub-'))
  settings = { ...hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder, HF_TOKEN: TOKEN }), retryMs: 1 }
})
afterEach(async () => {
  await hub.close()
  await rm(folder, { recursive: true })
})

function fetchTiny(options: FetchOptions = {}, repo = REPO) {
  return fetchModel({ repo }, { settings, ...options })
}

const repoFolder = (repo = REPO): string => join(folder, 'hub', `models--${repo.replace('/', '--')}`)
const blobs = (repo = REPO): Promise<string[]> => readdir(join(repoFolder(repo), 'blobs'))
const partial = (): string => join(repoFolder('testorg/gguf'), 'blobs', `${etagOf('m.gguf', large)}.shoal.incomplete`)
const urls = (): string[] => hub.asked.map(({ url }) => url)

/** The first so many answers with bytes of a large file end after `bytes`. */
function cut(times: number, bytes: number): void {
  let left = times
  hub.fault = (request, response, host) => {
    if (host !== 'storage' || left === 0) return false
    left--
    const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0)
    response.writeHead(start === 0 ? 200 : 206, {
      'content-length': large.length - start,
      ...(start > 0 && { 'content-range': `bytes ${start}-${large.length - 1}/${large.length}` }),
    })
    response.write(large.subarray(start, start + bytes), () => setTimeout(() => response.destroy(), 20))
    return true
  }
}

describe('the cache', () => {
  it('has the layout of huggingface_hub, and what is there is not fetched again', async () => {
    const seen: DownloadProgress[] = []
    const { path, commit, warnings } = await fetchTiny({ progress: (info) => seen.push(info) })
    expect(warnings).toEqual([])
    expect(commit).toBe(hub.commit(REPO))
    expect(path).toBe(join(repoFolder(), 'snapshots', commit))
    expect((await readdir(path)).sort()).toEqual(['config.json', WEIGHTS])
    const weights = hub.repos[REPO]!.files[WEIGHTS]!
    expect(await readlink(join(path, WEIGHTS))).toBe(`../../blobs/${etagOf(WEIGHTS, weights)}`)
    expect(await readFile(join(path, WEIGHTS))).toEqual(weights)
    expect(await readFile(join(repoFolder(), 'refs/main'), 'utf8')).toBe(commit)
    expect(await blobs()).toHaveLength(2)
    expect(await readdir(join(folder, 'hub/.locks/models--testorg--tiny'))).toEqual([])
    expect(await readFile(join(folder, 'hub/CACHEDIR.TAG'), 'utf8')).toMatch(/^Signature: 8a477f597d28d172789f/)

    expect(seen.slice(0, 2).map(({ status, file }) => [status, file])).toEqual([
      ['initiate', 'config.json'],
      ['initiate', WEIGHTS],
    ])
    expect(seen[2]).toMatchObject({ status: 'download', stage: 'download', name: REPO, file: 'config.json', loaded: 0 })
    const total = weights.length
    expect(seen.at(-1)).toEqual({ ...seen.at(-1), status: 'done', file: WEIGHTS, progress: 100, loaded: total, total })

    hub.asked.length = 0
    await fetchTiny()
    expect(urls()).toEqual(['/api/models/testorg/tiny/revision/main'])
  })

  it('needs no network for a commit, nor offline', async () => {
    const { path, commit } = await fetchTiny()
    hub.asked.length = 0
    expect((await fetchTiny({ revision: commit })).path).toBe(path)
    expect((await fetchTiny({ settings: { ...settings, offline: true } })).path).toBe(path)
    // As an older huggingface_hub leaves it.
    await rm(join(repoFolder(), 'trees'), { recursive: true })
    expect((await fetchTiny({ settings: { ...settings, offline: true } })).path).toBe(path)
    expect(hub.asked).toEqual([])
    await rm(join(path, WEIGHTS))
    await expect(fetchTiny({ settings: { ...settings, offline: true } })).rejects.toThrow(
      /testorg\/tiny: is not in the/,
    )
    const missing = fetchTiny({ settings: { ...settings, offline: true } }, 'testorg/gguf')
    await expect(missing).rejects.toMatchObject({ code: 'hub', problem: 'offline' })
    await fetchTiny({ revision: commit })
    await rm(join(path, WEIGHTS))
    const lacking = fetchTiny({ settings: { ...settings, offline: true } })
    await expect(lacking).rejects.toThrow(`${REPO}/${WEIGHTS}: is not in the cache, and HF_HUB_OFFLINE says not to ask`)
  })

  it('is used with a warning where the Hub cannot be asked', async () => {
    const { path } = await fetchTiny()
    for (const status of [500, 429, 401]) {
      hub.fault = (_, response) => {
        refuse(response, status, undefined)
        return true
      }
      const { path: again, warnings } = await fetchTiny()
      expect(again).toBe(path)
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toMatch(/^testorg\/tiny: .*; what is cached is used \(commit [0-9a-f]{7}\)$/)
    }
    hub.fault = null
    await hub.close()
    expect((await fetchTiny()).warnings[0]).toMatch(/127\.0\.0\.1:\d+ cannot be reached, or broke off \(ECONNREFUSED\)/)
    await expect(fetchTiny({}, 'testorg/gguf')).rejects.toMatchObject({ problem: 'network' })
  })

  it('keeps an old revision beside a new one, and shares blobs', async () => {
    const first = await fetchTiny()
    hub.repos[REPO]!.files['config.json'] = Buffer.from('{"changed": true}')
    const second = await fetchTiny()
    expect(second.commit).not.toBe(first.commit)
    expect(await blobs()).toHaveLength(3)
    expect(existsSync(join(first.path, 'config.json'))).toBe(true)
    expect(await readFile(join(second.path, 'config.json'), 'utf8')).toBe('{"changed": true}')
  })

  it('takes a revision whose name has a slash, and one that does not exist is an error', async () => {
    const { commit } = await fetchTiny({ revision: 'v/1' })
    expect(urls()[0]).toBe('/api/models/testorg/tiny/revision/v%2F1')
    expect(await readFile(join(repoFolder(), 'refs/v/1'), 'utf8')).toBe(commit)
    await expect(fetchTiny({ revision: 'v/2' })).rejects.toThrow('testorg/tiny: there is no revision v/2')
    const twice = fetchModel({ repo: REPO, revision: 'main' }, { settings, revision: 'v/1' })
    await expect(twice).rejects.toThrow('the revision is main in its name and v/1 beside it')
  })

  it('holds files instead of links where links are not wanted', async () => {
    const plain = { ...settings, symlinks: false }
    const { path } = await fetchTiny({ settings: plain })
    expect((await lstat(join(path, WEIGHTS))).isFile()).toBe(true)
    expect(await blobs()).toEqual([])
    hub.asked.length = 0
    await fetchTiny({ settings: plain })
    expect(hub.asked).toHaveLength(1)
    // Who waited for another finds the file in its place, and no blob any more.
    await rm(repoFolder(), { recursive: true })
    hub.asked.length = 0
    await Promise.all([fetchTiny({ settings: plain }), fetchTiny({ settings: plain })])
    expect(hub.asked.filter(({ host }) => host === 'storage')).toHaveLength(1)
    expect(await blobs()).toEqual([])
  })

  it('that cannot be written to is still good to read; one that must be written to says which variable helps', async () => {
    await fetchTiny()
    const file = join(folder, 'file')
    await writeFile(file, '')
    const refused = fetchTiny({ settings: { ...settings, cache: file } })
    await expect(refused).rejects.toThrow(`${file}: is not a folder; HF_HUB_CACHE may name another cache folder`)
    await chmod(repoFolder(), 0o500)
    expect((await fetchTiny()).warnings).toEqual([])
    await chmod(repoFolder(), 0o700)
  })

  it('fetches only what is needed', async () => {
    await fetchTiny({ need: 'config' })
    expect(urls().filter((url) => url.includes('/resolve/'))).toHaveLength(1)
    expect(await blobs()).toHaveLength(1)
  })

  it('has the shards that an index names', async () => {
    const index = { weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' } }
    const weights = hub.repos[REPO]!.files[WEIGHTS]!
    const files: Record<string, Buffer> = {
      'config.json': Buffer.from('{}'),
      'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
      'model-00001-of-00002.safetensors': weights,
      'model-00002-of-00002.safetensors': weights,
      'model-00003-of-00002.safetensors': weights,
    }
    hub.repos['testorg/shards'] = { files }
    const seen: string[] = []
    const progress = ({ status, file }: DownloadProgress) => status === 'initiate' && seen.push(file)
    const { path } = await fetchTiny({ progress }, 'testorg/shards')
    expect((await readdir(path)).sort()).toEqual(
      Object.keys(files)
        .sort()
        .filter((name) => !name.includes('00003')),
    )
    expect(seen).toEqual(['config.json', 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'])
    delete files['model-00002-of-00002.safetensors']
    await expect(fetchTiny({}, 'testorg/shards')).rejects.toThrow(/has no model-00002-of-00002\.safetensors, which its/)
  })
})

describe('a download', () => {
  it('goes on after cuts', async () => {
    cut(3, 700_000)
    const { path } = await fetchTiny({}, 'testorg/gguf')
    expect((await readFile(path)).equals(large)).toBe(true)
    const ranges = hub.asked.filter(({ host }) => host === 'storage').map(({ range }) => range)
    expect(ranges).toEqual([undefined, 'bytes=700000-', 'bytes=1400000-', 'bytes=2100000-'])
  })

  it('gives up after five tries and keeps what came; the next one goes on', async () => {
    cut(5, 1000)
    const failed = fetchTiny({}, 'testorg/gguf')
    await expect(failed).rejects.toMatchObject({ problem: 'network' })
    expect((await lstat(partial())).size).toBe(5000)
    expect(existsSync(join(repoFolder('testorg/gguf'), 'refs'))).toBe(false)
    hub.fault = null
    hub.asked.length = 0
    const first: DownloadProgress[] = []
    const { path } = await fetchTiny({ progress: (info) => first.push(info) }, 'testorg/gguf')
    expect(first[0]).toMatchObject({ status: 'initiate', loaded: 5000 })
    expect(hub.asked.at(-1)).toMatchObject({ range: 'bytes=5000-', authorization: undefined })
    expect((await readFile(path)).equals(large)).toBe(true)
    expect(existsSync(partial())).toBe(false)
  })

  it('stops at once where it is aborted, and keeps what came', async () => {
    const controller = new AbortController()
    hub.fault = (_, response, host) => {
      if (host !== 'storage') return false
      response.writeHead(200, { 'content-length': large.length })
      response.write(large.subarray(0, 100_000))
      return true
    }
    const progress = ({ loaded, file }: DownloadProgress) => {
      if (file.endsWith('.gguf') && loaded === 100_000) controller.abort()
    }
    const stopped = fetchTiny({ signal: controller.signal, progress }, 'testorg/gguf')
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    expect((await lstat(partial())).size).toBe(100_000)
    expect(await readdir(join(folder, 'hub/.locks/models--testorg--gguf'))).toEqual([])
    const before = fetchTiny({ signal: AbortSignal.abort() })
    await expect(before).rejects.toMatchObject({ code: 'aborted' })
  })

  it('that stands still is tried again', async () => {
    let left = 2
    hub.fault = (_, response, host) => {
      if (host !== 'storage' || left-- <= 0) return false
      response.writeHead(200, { 'content-length': large.length })
      response.write(large.subarray(0, 1000))
      return true
    }
    const { path } = await fetchTiny({ settings: { ...settings, readMs: 200 } }, 'testorg/gguf')
    expect((await readFile(path)).equals(large)).toBe(true)
    hub.fault = () => true
    const silent = fetchTiny({ settings: { ...settings, answerMs: 50, cache: join(folder, 'other') } })
    await expect(silent).rejects.toThrow('testorg/tiny: the Hub does not answer in time')
  })

  it.each([
    ['answers a range with all of it', (_r, s) => s.writeHead(200, { 'content-length': large.length }).end(large)],
    ['knows of no such range', (_r, s) => s.writeHead(416).end()],
    [
      'sends another range',
      (_r, s) => s.writeHead(206, { 'content-range': `bytes 0-9/${large.length}` }).end('GGUF012345'),
    ],
  ] satisfies [string, (...args: Parameters<NonNullable<LocalHub['fault']>>) => void][])(
    'begins anew where the server %s',
    async (_, answer) => {
      cut(5, 1000)
      await expect(fetchTiny({}, 'testorg/gguf')).rejects.toThrow()
      let left = 1
      hub.fault = (request, response, host) => {
        if (host !== 'storage' || left-- <= 0) return false
        answer(request, response)
        return true
      }
      expect((await readFile((await fetchTiny({}, 'testorg/gguf')).path)).equals(large)).toBe(true)
    },
  )

  it('begins anew where what was left is of other content', async () => {
    await mkdir(join(repoFolder('testorg/gguf'), 'blobs'), { recursive: true })
    await writeFile(partial(), 'GGUF of another time')
    expect((await readFile((await fetchTiny({}, 'testorg/gguf')).path)).equals(large)).toBe(true)
    expect(hub.asked.filter(({ host }) => host === 'storage').map(({ range }) => range)).toEqual([
      'bytes=20-',
      undefined,
    ])
  })

  it('whose address in the storage has expired gets a new one', async () => {
    let left = 1
    hub.fault = (_, response, host) => {
      if (host !== 'storage' || left-- <= 0) return false
      refuse(response, 403, undefined)
      return true
    }
    expect((await readFile((await fetchTiny({}, 'testorg/gguf')).path)).equals(large)).toBe(true)
    expect(urls().filter((url) => url.includes('/resolve/'))).toHaveLength(2)
  })

  it('is refused where the disk is too small', async () => {
    const fault: LocalHub['fault'] = (request, response) => {
      if (!request.url?.includes('/tree/')) return false
      const oid = 'a'.repeat(40)
      response.end(JSON.stringify([{ type: 'file', path: 'm.gguf', size: 2 ** 52, oid, lfs: { oid, size: 2 ** 52 } }]))
      return true
    }
    hub.fault = fault
    const failed = fetchTiny({}, 'testorg/gguf')
    await expect(failed).rejects.toMatchObject({ code: 'disk_full' })
    await expect(failed).rejects.toThrow(/hub: testorg\/gguf needs 4\.50e\+6 GB and .* are free; HF_HUB_CACHE may name/)
  })

  it('waits for another that fetches the same, and takes over from one that is gone', async () => {
    const both = await Promise.all([fetchTiny({}, 'testorg/gguf'), fetchTiny({}, 'testorg/gguf')])
    expect(both[0]).toEqual(both[1])
    expect(hub.asked.filter(({ host }) => host === 'storage')).toHaveLength(1)
    await rm(repoFolder('testorg/gguf'), { recursive: true })
    const lock = join(folder, 'hub/.locks/models--testorg--gguf', `${etagOf('m.gguf', large)}.shoal.lock`)
    await writeFile(lock, `${process.ppid} ${processStart(process.ppid) ?? ''}`)
    const waiting = fetchTiny({}, 'testorg/gguf')
    expect(await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 500, 'waits'))])).toBe('waits')
    await writeFile(lock, `${process.ppid} 1`)
    await waiting
    await writeFile(lock, '')
    await utimes(lock, 1, 1)
    await rm(repoFolder('testorg/gguf'), { recursive: true })
    await fetchTiny({}, 'testorg/gguf')
    expect(existsSync(lock)).toBe(false)
  })
})

describe('the token', () => {
  it('goes to the Hub and nowhere else', async () => {
    await fetchTiny()
    for (const { host, authorization } of hub.asked) {
      expect(authorization).toBe(host === 'hub' ? `Bearer ${TOKEN}` : undefined)
    }
    expect(hub.asked.some(({ host }) => host === 'storage')).toBe(true)
  })

  it('opens what is private', async () => {
    hub.repos[REPO]!.guard = 'private'
    await fetchTiny()
    await rm(repoFolder(), { recursive: true })
    const without = fetchTiny({ settings: { ...settings, token: null } })
    await expect(without).rejects.toMatchObject({ problem: 'missing' })
    await expect(without).rejects.toThrow(
      'testorg/tiny: no such folder, and no such model on the Hub, or one that is private or gated: check its name, or set HF_TOKEN',
    )
  })

  it('is not enough where a licence is to be accepted, and the message says where', async () => {
    hub.repos[REPO]!.guard = 'gated'
    const page = `${hub.endpoint}/testorg/tiny`
    await expect(fetchTiny()).rejects.toThrow(
      `is gated: accept its conditions at ${page} with the account of your token`,
    )
    await expect(fetchTiny({ settings: { ...settings, token: null } })).rejects.toThrow(
      `is gated: accept its conditions at ${page}, then set HF_TOKEN or run hf auth login`,
    )
  })
})

it('follows a repository to its new name', async () => {
  hub.repos['oldorg/tiny'] = { files: {}, renamedTo: REPO }
  const { path } = await fetchTiny({}, 'oldorg/tiny')
  expect(path).toContain('models--oldorg--tiny')
  expect(existsSync(join(path, WEIGHTS))).toBe(true)
})

describe('too many requests', () => {
  it('are tried again after the time that the Hub names', async () => {
    let left = 1
    hub.fault = (_, response) => {
      if (left-- <= 0) return false
      response.writeHead(429, { ratelimit: '"api";r=0;t=1' }).end()
      return true
    }
    const start = performance.now()
    await fetchTiny()
    expect(performance.now() - start).toBeGreaterThan(950)
  })

  it('are tried again a little later where the Hub names no time', async () => {
    let left = 2
    hub.fault = (_, response) => {
      if (left-- <= 0) return false
      response.writeHead(429, { ratelimit: '"api";r=0' }).end()
      return true
    }
    const started = performance.now()
    await fetchTiny({ settings: { ...settings, retryMs: 50 } })
    expect(performance.now() - started).toBeGreaterThan(140)
  })

  it('are told where it is long', async () => {
    hub.fault = (_, response) => {
      response.writeHead(429, { ratelimit: '"api";r=0;t=250' }).end()
      return true
    }
    await expect(fetchTiny()).rejects.toThrow(/too many requests to the Hub; try again in 250 s, or set HF_TOKEN/)
    expect(hub.asked).toHaveLength(1)
  })
})

it('a server that always begins anew, and always breaks off, is given up', async () => {
  hub.fault = (_, response, host) => {
    if (host !== 'storage') return false
    response.writeHead(200, { 'content-length': large.length })
    response.write(large.subarray(0, 2_000_000), () => setTimeout(() => response.destroy(), 20))
    return true
  }
  await expect(fetchTiny({}, 'testorg/gguf')).rejects.toMatchObject({ problem: 'network' })
  expect(hub.asked.filter(({ host }) => host === 'storage').length).toBeLessThan(12)
})

it('a Hub that is out of order for a moment is asked again, four times', async () => {
  let left = 4
  hub.fault = (_, response) => {
    if (left-- <= 0) return false
    refuse(response, 503, undefined)
    return true
  }
  await fetchTiny()
  left = 5
  await expect(fetchTiny({}, 'testorg/gguf')).rejects.toThrow(/the Hub has trouble of its own \(503\); try again later/)
})
