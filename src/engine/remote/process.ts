import { startThread, type ToProcess } from './link.js'

// The runner has a thread here, so that this one can always answer.
const link = startThread({
  message: (message) => process.send?.(message),
  exit: (why) => {
    process.stderr.write(`shoal: the runner's thread is gone: ${why}\n`)
    process.exit(1)
  },
})
process.on('message', (sent: ToProcess) => {
  if (sent.kind === 'post') link.post(sent.message)
  else link.reply(sent.answer)
})
// Whoever asked is gone, perhaps before this was heard.
process.on('disconnect', () => process.exit(0))
if (!process.connected) process.exit(0)
// Ctrl-C reaches all processes of a terminal: whoever asked decides what ends.
process.on('SIGINT', () => undefined)
