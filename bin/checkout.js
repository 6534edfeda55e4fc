// Builds a checkout on first use and after its sources changed; not part of the npm package.
import { spawn } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const HEARTBEAT_MS = 1_000
/** A lock that was not touched for so long has lost its owner, whatever now runs under the owner's process id. */
const STALE_MS = 15_000

/**
 * Compiles src/ to dist/ unless dist/ already is what src/ compiles to. Writes nothing to stdout.
 * @param {string} [root] the checkout's folder
 * @returns {Promise<string | null>} one line that says why there is no build, or null
 */
export async function ensureBuilt(root = fileURLToPath(new URL('..', import.meta.url))) {
  const stamp = join(root, 'dist', '.built')
  if (read(stamp) === fingerprint(root)) return null
  let compiler
  try {
    compiler = createRequire(join(root, 'package.json')).resolve('typescript/lib/tsc.js')
  } catch {
    return 'the packages that Shoal is built with are not installed; run npm ci first'
  }
  try {
    mkdirSync(join(root, 'dist'), { recursive: true })
    const release = await lock(join(root, 'dist', '.lock'))
    try {
      // Taken before the compiler reads: a file saved in the meantime makes the next start build again.
      const current = fingerprint(root)
      if (read(stamp) === current) return null
      if (process.stderr.isTTY) process.stderr.write('shoal: building (once, and after every change of src)\n')
      const problem = await compile(compiler, root, read(stamp) === null)
      if (problem !== null) return problem
      const temporary = `${stamp}.${process.pid}`
      writeFileSync(temporary, current)
      renameSync(temporary, stamp)
      return null
    } finally {
      release()
    }
  } catch (error) {
    return `cannot build in ${join(root, 'dist')}: ${error.message}`
  }
}

/** Path, size and time of everything that the build depends on. */
function fingerprint(root) {
  const hash = createHash('sha256').update(process.platform)
  const add = (path) => {
    const { size, mtimeMs } = statSync(join(root, path))
    hash.update(`\n${path} ${size} ${mtimeMs}`)
  }
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.build.json']) add(file)
  const sources = readdirSync(join(root, 'src'), { recursive: true })
    .map((name) => join('src', String(name)))
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .sort()
  for (const file of sources) add(file)
  return hash.digest('hex')
}

function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

function compile(compiler, root, force) {
  return new Promise((resolve) => {
    const args = [compiler, '-b', join(root, 'tsconfig.build.json'), '--pretty', 'false', ...(force ? ['--force'] : [])]
    // stdin stays closed and stdout goes to stderr: a pipe behind shoal sees Shoal's own output only.
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    child.on('error', (error) => resolve(`cannot build: ${error.message}`))
    child.on('close', (code) => resolve(code === 0 ? null : `the build failed\n${output.trimEnd()}`))
  })
}

/**
 * Waits for the lock file and takes it; the owner's death frees it.
 * @returns {Promise<() => void>} gives the lock back
 */
async function lock(path) {
  const mine = `${process.pid} ${randomUUID()}`
  for (;;) {
    try {
      const file = openSync(path, 'wx')
      writeSync(file, mine)
      closeSync(file)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const owner = abandoned(path)
    if (owner !== null) takeAway(path, owner)
    else await sleep(50)
  }
  const heartbeat = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // Somebody removed dist/ meanwhile; the next start builds again.
    }
  }, HEARTBEAT_MS)
  const release = () => {
    clearInterval(heartbeat)
    process.off('exit', release)
    if (read(path) === mine) rmSync(path, { force: true })
  }
  process.on('exit', release)
  return release
}

/** The content of a lock whose owner is gone, or null. */
function abandoned(path) {
  try {
    const owner = readFileSync(path, 'utf8')
    if (Date.now() - statSync(path).mtimeMs > STALE_MS) return owner
    const pid = Number.parseInt(owner, 10)
    if (!Number.isInteger(pid)) return null
    if (pid === process.pid) return owner
    process.kill(pid, 0)
    return null
  } catch (error) {
    return error.code === 'ESRCH' ? read(path) : null
  }
}

/** Removes a lock that still holds `owner`; one that changed hands between the look and the grip goes back. */
function takeAway(path, owner) {
  const aside = `${path}.${process.pid}`
  try {
    renameSync(path, aside)
    if (read(aside) !== owner) linkSync(aside, path)
  } catch {
    // Another process was quicker.
  }
  rmSync(aside, { force: true })
}
