import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { Model } from '../engine/api.js'
import { InputError } from '../errors.js'
import { ServeApp, type ServeOptions } from './app.js'

export interface ListenOptions extends Omit<ServeOptions, 'hosts'> {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
}

export interface RunningServer {
  /** `http://127.0.0.1:8080`. */
  readonly url: string
  /**
   * Begins nothing new, lets what is being written end, and closes.
   * @param ms after which what is still being written is cut off
   */
  close(ms: number): Promise<void>
}

const LOOPBACK = ['localhost', '127.0.0.1', '[::1]']

const LISTEN_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has that port; --port 0 takes one that is free',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no such host',
  EACCES: 'ports below 1024 are not for every user',
}

/** How long a client may take to send a request, in ms. */
const REQUEST_MS = 60_000

/** @throws InputError where a host that others reach is to be served without a key */
export function checkHost(host: string, apiKeys: readonly string[]): void {
  if (isLocal(host) || apiKeys.length > 0) return
  throw new InputError(`host ${host} can be reached from elsewhere: give API keys (--api-key-file), or serve 127.0.0.1`)
}

function isLocal(host: string): boolean {
  return LOOPBACK.includes(host) || host === '::1'
}

/** @throws InputError of `checkHost`, and where the address cannot be listened at */
export async function listen(model: Model, options: ListenOptions): Promise<RunningServer> {
  const { host, port } = options
  const local = isLocal(host)
  checkHost(host, options.apiKeys)
  const app = new ServeApp(model, { ...options, hosts: local ? LOOPBACK : null })
  const answer = getRequestListener(app.hono.fetch)
  const server = createServer({ requestTimeout: REQUEST_MS }, (request, response) => void answer(request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new InputError(`${host}:${port} cannot be listened at: ${LISTEN_ERRORS[error.code ?? ''] ?? error.message}`),
      ),
    )
    server.listen(port, host, () => resolve())
  })
  const { address, family, port: given } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${given}`,
    close: (ms) => drain(app, server, ms),
  }
}

/** While texts are being written the server still answers, and says that it is not ready. */
async function drain(app: ServeApp, server: Server, ms: number): Promise<void> {
  app.drain()
  const end = performance.now() + ms
  while (app.active > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20))
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  // What was written last may still be on its way.
  const cut = setTimeout(() => server.closeAllConnections(), Math.max(0, Math.min(1000, end - performance.now())))
  await closed
  clearTimeout(cut)
}
