import { existsSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type LocalHub, sendJson, startHub, TOKEN } from '../../test/hub/local-hub.js'
import { MAX_MESSAGE } from '../errors.js'
import { fetchModel } from './fetch-model.js'
import { hubSettings } from './hub-settings.js'

/** A Hub that lies, or a proxy that stands before it: one line, soon, and nothing outside of the cache. */
const REPO = 'testorg/tiny'
const CONFIG = Buffer.from('{"a": 1}')
const WEIGHTS = Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}'), Buffer.alloc(1000)])

let hub: LocalHub
let folder: string

beforeAll(async () => {
  hub = await startHub({ [REPO]: { files: { 'config.json': CONFIG, 'model.safetensors': WEIGHTS } } })
  folder = await mkdtemp(join(tmpdir(), 'shoal-hostile-'))
})
afterAll(async () => {
  await hub.close()
  await rm(folder, { recursive: true })
})
beforeEach(() => {
  hub.fault = null
  hub.asked.length = 0
})

/** Answers addresses with `part` in them by `answer`, and fetches. */
async function refusal(part: string, answer: (response: ServerResponse, url: string) => void): Promise<string> {
  await rm(join(folder, 'hub'), { recursive: true, force: true })
  hub.fault = ({ url = '' }, response) => {
    if (!url.includes(part)) return false
    answer(response, url)
    return true
  }
  const settings = { ...hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder, HF_TOKEN: TOKEN }), retryMs: 1 }
  const error: unknown = await fetchModel({ repo: REPO }, { settings }).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(Error)
  const { message } = error as Error
  expect(message).toMatch(/^testorg\/tiny[^\n]*: [^\n]+$/)
  expect(message.length).toBeLessThanOrEqual(MAX_MESSAGE)
  expect(message).not.toContain(TOKEN)
  expect(await readdir(folder)).toEqual(existsSync(join(folder, 'hub')) ? ['hub'] : [])
  return message
}

const listing = (entry: object) => (response: ServerResponse) =>
  sendJson(response, [{ type: 'file', path: 'config.json', size: 8, oid: 'a'.repeat(40), ...entry }])

describe('a list of files', () => {
  it.each(['../config.json', '/etc/passwd', 'a/../../x', 'a//b', './x', 'a\0b'])('with %j', async (path) => {
    expect(await refusal('/tree/', listing({ path }))).toMatch(/the Hub lists a file that lies outside/)
  })

  it.each([-1, 1.5, '8', 2 ** 60, null])('with a size of %j', async (size) => {
    expect(await refusal('/tree/', listing({ size }))).toMatch(/lists a file without a size: config\.json/)
  })

  it.each(['', '../x', 'g'.repeat(40), 'a'.repeat(41), 5])('with the checksum %j', async (oid) => {
    expect(await refusal('/tree/', listing({ oid }))).toMatch(/lists a file without a checksum/)
  })

  it.each([null, 5, 'x', [[]], [null], [{}], { a: 1 }])('that is %j', async (value) => {
    expect(await refusal('/tree/', (response) => sendJson(response, value))).toMatch(/the Hub/)
  })

  it('that never ends, goes round in a circle, or goes on nowhere', async () => {
    let page = 0
    const linking = (link: () => string) => (response: ServerResponse) => {
      response.setHeader('link', `<${link()}>; rel="next"`)
      sendJson(response, [])
    }
    const next = () => `${hub.endpoint}/tree/?cursor=${page++}`
    expect(await refusal('/tree/', linking(next))).toMatch(/does not end/)
    expect(page).toBe(1000)
    // Another host's address too, as a mirror passes it on: only its cursor is taken.
    const same = () => 'https://elsewhere.example/tree/x?cursor=1'
    expect(await refusal('/tree/', linking(same))).toMatch(/does not end/)
    expect(hub.asked.length).toBeLessThan(1010)
    expect(
      await refusal(
        '/tree/',
        linking(() => '/tree/'),
      ),
    ).toMatch(/goes on where nobody can tell/)
  }, 30_000)

  it('of pages is read to its end', async () => {
    hub.pageSize = 1
    const settings = hubSettings({ HF_ENDPOINT: hub.endpoint, HF_HOME: folder })
    expect(await readdir((await fetchModel({ repo: REPO }, { settings })).path)).toHaveLength(2)
    hub.pageSize = 1000
  })
})

describe('an answer', () => {
  it.each(['../..', 'main', 'A'.repeat(40), null, 5])('that names %j as a commit', async (sha) => {
    expect(await refusal('/revision/', (response) => sendJson(response, { sha }))).toMatch(/names no commit/)
  })

  it('of megabytes of JSON, nested without end, or none', async () => {
    const huge = (response: ServerResponse) => {
      const chunk = Buffer.alloc(1_000_000, ' ')
      const more = (): void => {
        if (!response.destroyed) response.write(chunk, more)
      }
      response.on('error', () => undefined)
      more()
    }
    expect(await refusal('/revision/', huge)).toMatch(/more than 32 MiB of JSON/)
    expect(await refusal('/revision/', (response) => response.end('['.repeat(1000)))).toMatch(/nested more than 256/)
    expect(await refusal('/revision/', (response) => response.end('{'))).toMatch(/answer is not valid JSON/)
  })

  it('that is a web page', async () => {
    const page = (response: ServerResponse) => {
      response.setHeader('content-type', 'text/html').end('<!DOCTYPE html><title>Log in</title>')
    }
    expect(await refusal('/revision/', page)).toMatch(/answers with a web page; a proxy or a login stands before it/)
    expect(await refusal('/config.json', page)).toMatch(/config\.json: a web page comes in place of the file/)
    expect(await refusal('/-/model.safetensors', page)).toMatch(/model\.safetensors: a web page comes in place/)
  })

  it('that leads round in a circle, to another protocol or with a password', async () => {
    const to = (location: string) => (response: ServerResponse) => void response.writeHead(302, { location }).end()
    expect(await refusal('/revision/', to('/revision/x'))).toMatch(/leads from one address to the next, 10 times/)
    expect(hub.asked.length).toBe(11)
    for (const location of [
      'file:///etc/passwd',
      'data:text/plain,x',
      'http://a:b@127.0.0.1/x',
      'http://:b@127.0.0.1/x',
      'http://[',
    ]) {
      expect(await refusal('/revision/', to(location))).toMatch(/leads to an address that cannot be followed/)
    }
  })

  it('with a status that nobody expects, and words of its own', async () => {
    const answer = (status: number, headers: Record<string, string>) => (response: ServerResponse) =>
      void response.writeHead(status, headers).end()
    const disabled = { 'x-error-message': 'Access to this resource is disabled.' }
    expect(await refusal('/revision/', answer(403, disabled))).toMatch(/was taken down by the Hub/)
    const token = { 'x-error-message': 'Invalid credentials in Authorization header' }
    expect(await refusal('/revision/', answer(401, token))).toMatch(/does not take your token/)
    expect(await refusal('/revision/', answer(418, { 'x-error-message': 'x'.repeat(4000) }))).toMatch(
      /status 418: x+…x+$/,
    )
    expect(await refusal('/revision/', answer(304, {}))).toMatch(/status 304/)
    expect(await refusal('/revision/', answer(503, {}))).toMatch(/trouble of its own \(503\)/)
    expect(await refusal('/config.json', answer(404, { 'x-error-code': 'EntryNotFound' }))).toMatch(
      /^testorg\/tiny\/config\.json: there is no such file in revision main/,
    )
  })
})

describe('a file', () => {
  it('of other bytes than were listed', async () => {
    const other = Buffer.from(WEIGHTS)
    other[500] = 1
    expect(await refusal('/-/model', (response) => response.end(other))).toMatch(/another checksum than the Hub lists/)
    const longer = Buffer.concat([WEIGHTS, WEIGHTS])
    expect(await refusal('/-/model', (response) => response.end(longer))).toMatch(/more comes than the 1010 bytes/)
    expect(await refusal('/-/model', (response) => response.end(WEIGHTS.subarray(0, 90)))).toMatch(
      /broke off after 90 of 1010/,
    )
    expect(await refusal('/config.json', (response) => response.end('[1, 2,3]'))).toMatch(/another checksum/)
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:'
    expect(await refusal('/-/model', (response) => response.end(pointer))).toMatch(/only a pointer of git LFS/)
    expect(await readdir(join(folder, 'hub/models--testorg--tiny/blobs'))).toHaveLength(1)
  })
})
