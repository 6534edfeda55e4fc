import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ggml, librariesFolder, loadFrom } from './library.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shoal-libraries-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

/** A folder with libggml-base of another version: a library that exports ggml_version alone, where a compiler is here. */
function otherVersion(version: string): boolean {
  const source = join(folder, 'v.c')
  writeFileSync(source, `const char * ggml_version(void) { return "${version}"; }\n`)
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-o', join(folder, 'libggml-base.so'), source], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

describe('the libraries of ggml', () => {
  it('load once', () => {
    expect(ggml()).toBe(ggml())
    expect(String(ggml().functions.ggml_version())).toBe('0.23.0')
  })

  it('are refused where their folder is missing', () => {
    const missing = join(folder, 'nowhere')
    expect(() => loadFrom(missing)).toThrow(
      expect.objectContaining({ code: 'library_missing', message: `${missing} cannot be read: no such folder` }),
    )
  })

  it('are refused where one is missing', () => {
    expect(() => loadFrom(folder)).toThrow(
      expect.objectContaining({ code: 'library_missing', message: `${folder} has no library ggml-base` }),
    )
    // Not a library of that name: other libraries of ggml share the beginning.
    writeFileSync(join(folder, 'libggml-base-extra.so'), '')
    writeFileSync(join(folder, 'libggml-base.txt'), '')
    expect(() => loadFrom(folder)).toThrow(/has no library ggml-base$/)
  })

  it('are refused where one is damaged', () => {
    writeFileSync(join(folder, 'libggml-base.v0.4.0.so'), 'no library')
    expect(() => loadFrom(folder)).toThrow(expect.objectContaining({ code: 'library_missing' }))
    expect(() => loadFrom(folder)).toThrow(/libggml-base.v0.4.0.so cannot be loaded: /)
  })

  it.runIf(process.platform === 'linux')('are refused where they are of another version', ({ skip }) => {
    if (!otherVersion('0.99.1')) skip('no C compiler here')
    expect(() => loadFrom(folder)).toThrow(
      expect.objectContaining({
        code: 'library_version',
        message: `${folder} holds ggml 0.99.1, Shoal needs 0.23.0: install @node-llama-cpp packages 3.21.1`,
      }),
    )
  })

  it.runIf(process.platform === 'linux')('are refused where no library fits the processor', () => {
    // The base libraries alone, without those of the processors. In a process of its own: ggml keeps what it once found.
    const complete = librariesFolder()
    for (const file of readdirSync(complete)) {
      if (/^libggml(-base)?\.(v?[0-9.]+\.)?so/.test(file))
        symlinkSync(join(realpathSync(complete), file), join(folder, file))
    }
    const script = `import('${new URL('./library.ts', import.meta.url).href}').then(({ loadFrom }) => {
      try { loadFrom(${JSON.stringify(folder)}); console.log('loaded') } catch (e) { console.log(e.code, e.message) }
    })`
    const output = execFileSync(process.execPath, ['--import', './test/typescript-loader.mjs', '-e', script], {
      encoding: 'utf8',
    })
    expect(output.trim()).toBe(`library_missing ${folder} has no library for this processor`)
  })
})

describe('the package of the libraries', () => {
  it('is the one of this platform', () => {
    expect(librariesFolder()).toMatch(/@node-llama-cpp/)
  })

  it('is refused by a line that says what to install where it is missing', () => {
    const require = createRequire(join(folder, 'x.js'))
    expect(() => librariesFolder('linux-x64', require.resolve)).toThrow(
      expect.objectContaining({
        code: 'library_missing',
        message:
          'package @node-llama-cpp/linux-x64 is not installed; run "npm install @node-llama-cpp/linux-x64@3.21.1"',
      }),
    )
  })

  it('is refused where it holds no libraries', () => {
    const entry = join(folder, 'node_modules/@node-llama-cpp/linux-x64/dist/index.js')
    mkdirSync(dirname(entry), { recursive: true })
    expect(() => librariesFolder('linux-x64', () => entry)).toThrow(/bins\/linux-x64 is missing; run "npm install/)
  })

  it('does not exist for every platform', () => {
    expect(() => librariesFolder('sunos-sparc')).toThrow(
      expect.objectContaining({ code: 'library_missing', message: 'no ggml libraries exist for sunos-sparc' }),
    )
  })
})
