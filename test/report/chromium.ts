import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** The browser of SHOAL_CHROMIUM or of the PATH; null where there is none. */
export function findChromium(): string | null {
  const asked = process.env.SHOAL_CHROMIUM
  for (const name of asked === undefined ? NAMES : [asked]) {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' })
      return name
    } catch {}
  }
  return null
}

/** What a page of a browser can be asked. */
export interface Page {
  /** Loads a page at a window's width in CSS pixels, light or dark. */
  open(url: string, width: number, dark: boolean): Promise<void>
  /** Value of a JavaScript expression in the page; must be JSON. */
  evaluate(expression: string): Promise<unknown>
  /** Bytes of a PNG file: the whole page, or a part of it in CSS pixels. */
  screenshot(clip?: { x: number; y: number; width: number; height: number }): Promise<Buffer>
  close(): Promise<void>
}

interface Answer {
  readonly id?: number
  readonly method?: string
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

const WINDOW_HEIGHT = 900
const PATIENCE_MS = 60_000

/** A headless browser, spoken to in the DevTools protocol over pipes: no port, no library. */
export async function openChromium(program: string): Promise<Page> {
  const profile = mkdtempSync(join(tmpdir(), 'shoal-chromium-'))
  const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars']
  const child = spawn(program, [...flags, '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  })
  const send = connect(child)
  const targets = (await send('Target.getTargets')).targetInfos as { targetId: string; type: string }[]
  const target = targets.find(({ type }) => type === 'page')
  const targetId = target?.targetId ?? (await send('Target.createTarget', { url: 'about:blank' })).targetId
  const sessionId = (await send('Target.attachToTarget', { targetId, flatten: true })).sessionId as string
  const inPage = (method: string, params: object = {}) => send(method, params, sessionId)
  const evaluate = async (expression: string): Promise<unknown> => {
    const { result, exceptionDetails } = await inPage('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value?: unknown }).value
  }
  return {
    evaluate,
    async open(url, width, dark) {
      const size = { width, height: WINDOW_HEIGHT, deviceScaleFactor: 1, mobile: width < 600 }
      await inPage('Emulation.setDeviceMetricsOverride', size)
      const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
      await inPage('Emulation.setEmulatedMedia', { features })
      await inPage('Page.navigate', { url })
      const end = Date.now() + PATIENCE_MS
      const ready = `document.readyState === 'complete' && location.href === ${JSON.stringify(url)}`
      while ((await evaluate(ready)) !== true) {
        if (Date.now() > end) throw new Error(`${url} does not load`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async screenshot(clip) {
      const part = clip === undefined ? {} : { clip: { ...clip, scale: 1 } }
      const { data } = await inPage('Page.captureScreenshot', { captureBeyondViewport: true, ...part })
      return Buffer.from(data as string, 'base64')
    },
    async close() {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      await send('Browser.close').catch(() => child.kill())
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

type Send = (method: string, params?: object, sessionId?: string) => Promise<Record<string, unknown>>

interface Caller {
  readonly resolve: (value: Record<string, unknown>) => void
  readonly reject: (error: Error) => void
}

/** Commands go to descriptor 3 and answers come from descriptor 4, each a JSON text that ends in a zero byte. */
function connect(child: ChildProcess): Send {
  const commands = child.stdio[3] as Writable
  const answers = child.stdio[4] as Readable
  const waiting = new Map<number, Caller>()
  let next = 1
  let rest = ''
  answers.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\0')
    rest = parts.pop() ?? ''
    for (const part of parts) {
      const answer = JSON.parse(part) as Answer
      const caller = answer.id === undefined ? undefined : waiting.get(answer.id)
      if (caller === undefined) continue
      waiting.delete(answer.id!)
      if (answer.error === undefined) caller.resolve(answer.result ?? {})
      else caller.reject(new Error(answer.error.message))
    }
  })
  const lost = (): void => {
    for (const { reject } of waiting.values()) reject(new Error('the browser ended'))
    waiting.clear()
  }
  child.once('exit', lost).once('error', lost)
  commands.on('error', lost)
  return (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      const id = next++
      waiting.set(id, { resolve, reject })
      commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
}
