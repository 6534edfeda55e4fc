import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

/** A repository of the local Hub. */
export interface LocalRepo {
  /** Contents by path, of the newest commit. */
  files: Record<string, Buffer>
  /** Refuses whoever has no token, or asks for its licence to be accepted. */
  guard?: 'private' | 'gated'
  /** Where it has gone. */
  renamedTo?: string
}

/** What was asked, and whether the token came along. */
export interface Asked {
  readonly host: 'hub' | 'storage'
  readonly method: string
  readonly url: string
  readonly range: string | undefined
  readonly authorization: string | undefined
}

/** Answers in place of the Hub; false leaves the request to it. */
export type Fault = (request: IncomingMessage, response: ServerResponse, host: Asked['host']) => boolean

/** Behaves as the Hub does towards a program that fetches models: its API, files, redirects to a storage, and errors. */
export interface LocalHub {
  readonly endpoint: string
  readonly repos: Record<string, LocalRepo>
  readonly asked: Asked[]
  fault: Fault | null
  /** Entries of a page of a list of files. */
  pageSize: number
  /** The commit that a repository has now; it follows from its files. */
  commit(repo: string): string
  close(): Promise<void>
}

export const TOKEN = 'hf_local'
const LARGE = /\.(safetensors|gguf|bin)$/

export function folderFiles(folder: string): Record<string, Buffer> {
  return Object.fromEntries(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]))
}

export function etagOf(path: string, content: Buffer): string {
  if (LARGE.test(path)) return createHash('sha256').update(content).digest('hex')
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
}

export async function startHub(repos: Record<string, LocalRepo>): Promise<LocalHub> {
  const asked: Asked[] = []
  const servers: Server[] = []
  const listen = async (host: Asked['host'], name: string, answer: Answer): Promise<string> => {
    const server = createServer((request, response) => {
      const { method = '', url = '', headers } = request
      asked.push({ host, method, url, range: headers.range, authorization: headers.authorization })
      if (hub.fault?.(request, response, host)) return
      answer(request, response, new URL(url, 'http://local'))
    })
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, name, resolve))
    return `http://${name}:${(server.address() as AddressInfo).port}`
  }
  const commit = (repo: string): string => {
    const facts = Object.entries(repos[repo]?.files ?? {}).map(([path, content]) => [path, etagOf(path, content)])
    return createHash('sha1').update(JSON.stringify(facts)).digest('hex')
  }
  // Another name and another port: what is for the Hub is not for this one.
  const storage = await listen('storage', 'localhost', (request, response, url) => {
    const [, repo = '', path = ''] = /^\/(.+?)\/-\/(.+)$/.exec(decodeURIComponent(url.pathname)) ?? []
    sendBytes(request, response, repos[repo]?.files[path] ?? Buffer.alloc(0))
  })
  const hub: LocalHub = {
    repos,
    asked,
    commit,
    fault: null,
    pageSize: 1000,
    endpoint: await listen('hub', '127.0.0.1', (request, response, url) => answerHub(request, response, url)),
    async close() {
      for (const server of servers) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    },
  }

  function answerHub(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const path = decodeURIComponent(url.pathname)
    const [, api, name = '', what, rest = ''] =
      /^\/(api\/models\/)?([^/]+\/[^/]+)(?:\/(revision|tree|resolve)\/(.+))?$/.exec(path) ?? []
    const repo = repos[name]
    const isKnown = request.headers.authorization === `Bearer ${TOKEN}`
    if (repo === undefined) {
      refuse(response, isKnown ? 404 : 401, isKnown ? 'RepoNotFound' : undefined)
      return
    }
    if (repo.renamedTo !== undefined) {
      response.writeHead(307, { location: `${url.pathname}${url.search}`.replace(name, repo.renamedTo) })
      response.end()
      return
    }
    if (repo.guard === 'private' && !isKnown) {
      refuse(response, 401, undefined)
      return
    }
    const now = commit(name)
    if (api !== undefined && (what === undefined || what === 'revision')) {
      if (what !== undefined && !['main', now, 'v/1'].includes(rest)) {
        refuse(response, 404, 'RevisionNotFound')
        return
      }
      const siblings = Object.keys(repo.files).map((rfilename) => ({ rfilename }))
      sendJson(response, { id: name, sha: now, siblings, private: false, tags: [], downloads: 0, likes: 0 })
      return
    }
    if (api !== undefined && what === 'tree') {
      sendTree(response, url, repo)
      return
    }
    if (what !== 'resolve') {
      refuse(response, 404, undefined)
      return
    }
    if (repo.guard === 'gated') {
      refuse(response, isKnown ? 403 : 401, 'GatedRepo')
      return
    }
    const [, revision = '', file = ''] = /^(main|[0-9a-f]{40}|v\/1)\/(.+)$/.exec(rest) ?? []
    const content = repo.files[file]
    if (revision === '' || (revision.length === 40 && revision !== now)) {
      refuse(response, 404, 'RevisionNotFound')
      return
    }
    response.setHeader('x-repo-commit', now)
    if (content === undefined) {
      refuse(response, 404, 'EntryNotFound')
      return
    }
    if (!LARGE.test(file)) {
      response.setHeader('etag', `"${etagOf(file, content)}"`)
      sendBytes(request, response, content)
      return
    }
    response.writeHead(302, {
      location: `${storage}/${name}/-/${file}`,
      'x-linked-etag': `"${etagOf(file, content)}"`,
      'x-linked-size': String(content.length),
    })
    response.end()
  }

  function sendTree(response: ServerResponse, url: URL, { files }: LocalRepo): void {
    const start = Number(url.searchParams.get('cursor') ?? 0)
    const all = Object.entries(files)
    const entries = all.slice(start, start + hub.pageSize).map(([path, content]) => {
      const oid = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
      const lfs = { oid: etagOf(path, content), size: content.length, pointerSize: 134 }
      return { type: 'file', path, size: content.length, oid, ...(LARGE.test(path) && { lfs }) }
    })
    const next = start + hub.pageSize
    if (next < all.length) {
      response.setHeader('link', `<${hub.endpoint}${url.pathname}?recursive=true&cursor=${next}>; rel="next"`)
    }
    sendJson(response, entries)
  }
  return hub
}

type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void

export function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(value))
}

export function refuse(response: ServerResponse, status: number, code: string | undefined): void {
  response.writeHead(status, code === undefined ? {} : { 'x-error-code': code })
  response.end('{}')
}

export function sendBytes(request: IncomingMessage, response: ServerResponse, content: Buffer): void {
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? []
  const start = Number(from ?? 0)
  if (from !== undefined && start >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` })
    response.end()
    return
  }
  response.writeHead(from === undefined ? 200 : 206, {
    'content-length': content.length - start,
    'accept-ranges': 'bytes',
    ...(from !== undefined && { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` }),
  })
  response.end(request.method === 'HEAD' ? undefined : content.subarray(start))
}
