import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { Host } from './host.js'
import type { ThreadData } from './link.js'
import type { Answer, FromRunner, ToRunner } from './messages.js'

const { replied, replies } = workerData as ThreadData & { readonly replies: MessagePort }
const flag = new Int32Array(replied)
const port = parentPort as MessagePort
let replyCount = 0

const host = new Host({
  post: (message: FromRunner, transfer = []) => port.postMessage(message, transfer),
  inquire(message) {
    port.postMessage(message)
    Atomics.wait(flag, 0, replyCount)
    replyCount++
    return receiveMessageOnPort(replies)?.message as Answer
  },
})
port.on('message', (message: ToRunner) => host.take(message))
