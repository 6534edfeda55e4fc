import { folderFiles, startHub } from './local-hub.js'

// A local Hub that offers the bundled model as testorg/tiny, for other programs: prints its address and runs until it is ended.
const hub = await startHub({ 'testorg/tiny': { files: folderFiles('pretrained/ripple-8m') } })
process.stdout.write(`${hub.endpoint}\n`)
process.stdin.on('end', () => void hub.close()).resume()
