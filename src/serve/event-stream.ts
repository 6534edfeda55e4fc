import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import type { GenerationResult } from '../engine/api.js'
import { toApiError } from './api-error.js'
import type { Choice } from './choices.js'

/** Silence after which a comment goes out: clients and proxies end what says nothing. */
const PING_MS = 15_000

/** What turns the texts of a request into its events. */
export interface ChunkWriter {
  chunks(choice: Choice): AsyncIterable<object>
  /** The last event, where the request wants it. */
  usage(results: readonly GenerationResult[]): object
}

/**
 * Sends the texts of a request as server-sent events, those of all choices as they come. What fails on the way is an event with `error`.
 * @param gone called where the client has left
 * @param done called once, whatever happens
 */
export function streamChoices(
  c: Context,
  choices: readonly Choice[],
  writer: ChunkWriter,
  options: { readonly usage: boolean; readonly gone: () => void; readonly done: () => void },
): Response {
  return streamSSE(c, async (stream) => {
    stream.onAbort(options.gone)
    const send = (data: object): Promise<void> => stream.writeSSE({ data: JSON.stringify(data) })
    const ping = setInterval(() => void stream.write(': ping\n\n'), PING_MS)
    try {
      await Promise.all(
        choices.map(async (choice) => {
          for await (const chunk of writer.chunks(choice)) await send(chunk)
        }),
      )
      if (options.usage) await send(writer.usage(await Promise.all(choices.map(({ result }) => result))))
    } catch (error) {
      if (!stream.aborted) await send(toApiError(error).body)
    } finally {
      clearInterval(ping)
      options.done()
    }
    await stream.writeSSE({ data: '[DONE]' })
  })
}
