import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const repository = fileURLToPath(new URL('..', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function shoal(root: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'bin/shoal.js'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

const says = (text: string): string =>
  `export function main(args: string[]): Promise<number> {
  process.stdout.write(${JSON.stringify(text)} + args.join(' ') + '\\n')
  return Promise.resolve(3)
}
`

describe('bin/shoal.js', () => {
  let root: string

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'shoal-bin-'))
    for (const name of ['bin', 'package.json', 'tsconfig.json', 'tsconfig.build.json']) {
      cpSync(join(repository, name), join(root, name), { recursive: true })
    }
    mkdirSync(join(root, 'src/cli'), { recursive: true })
    writeFileSync(join(root, 'src/cli/main.ts'), says('one '))
    symlinkSync(join(repository, 'node_modules'), join(root, 'node_modules'), 'junction')
  })

  afterEach(() => rmSync(root, { recursive: true, force: true }))

  it('builds a fresh checkout, silently where stderr is no terminal, and passes arguments and exit code on', async () => {
    expect(await shoal(root, 'a', 'b')).toEqual({ code: 3, stdout: 'one a b\n', stderr: '' })
  })

  it('builds again after a change of the sources, and not without one', async () => {
    await shoal(root)
    const stamp = join(root, 'dist/.built')
    const first = readFileSync(stamp, 'utf8')
    writeFileSync(join(root, 'dist/cli/main.js'), "export const main = async () => { console.log('kept'); return 0 }")
    expect((await shoal(root)).stdout).toBe('kept\n')
    writeFileSync(join(root, 'src/cli/main.ts'), says('two'))
    expect((await shoal(root)).stdout).toBe('two\n')
    expect(readFileSync(stamp, 'utf8')).not.toBe(first)
  })

  it('is safe when two first runs start at once', async () => {
    const runs = await Promise.all([shoal(root, 'x'), shoal(root, 'x'), shoal(root, 'x')])
    for (const run of runs) expect(run).toEqual({ code: 3, stdout: 'one x\n', stderr: '' })
    expect(existsSync(join(root, 'dist/.lock'))).toBe(false)
  })

  it('takes over the lock of a killed process', async () => {
    mkdirSync(join(root, 'dist'))
    const gone = spawn(process.execPath, ['-e', '0'])
    await new Promise((resolve) => gone.on('close', resolve))
    writeFileSync(join(root, 'dist/.lock'), `${gone.pid} left-behind`)
    expect((await shoal(root)).stdout).toBe('one \n')
    expect(existsSync(join(root, 'dist/.lock'))).toBe(false)
  })

  it('says what to do where the packages are missing', async () => {
    rmSync(join(root, 'node_modules'))
    const run = await shoal(root)
    expect(run.code).toBe(1)
    expect(run.stdout).toBe('')
    expect(run.stderr).toMatch(/^shoal: .*run npm ci first\n$/)
  })

  it('shows the compiler’s complaint where the sources do not compile', async () => {
    writeFileSync(join(root, 'src/cli/main.ts'), 'export const main: number = "no"\n')
    const run = await shoal(root)
    expect(run.code).toBe(1)
    expect(run.stderr).toMatch(/the build failed\nsrc\/cli\/main\.ts\(1,14\): error TS2322/)
  })

  it('runs an installed package as it is', async () => {
    await shoal(root)
    rmSync(join(root, 'src'), { recursive: true })
    rmSync(join(root, 'node_modules'))
    rmSync(join(root, 'dist/.built'))
    expect((await shoal(root)).stdout).toBe('one \n')
  })
})
