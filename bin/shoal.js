#!/usr/bin/env node
// Plain JavaScript: this file must run in a fresh checkout, where nothing is built yet.
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'

const [major, minor] = process.versions.node.split('.').map(Number)
const main = new URL('../dist/cli/main.js', import.meta.url)

/** @param {string} line */
function fail(line) {
  process.stderr.write(`shoal: ${line}\n`)
  process.exitCode = 1
}

async function start() {
  if (major < 20 || (major === 20 && minor < 19)) {
    return fail(`Node ${process.versions.node} is too old; Shoal needs 20.19 or newer`)
  }
  // Node 22 and newer; halves the time that loading takes from the second start on.
  nodeModule.enableCompileCache?.()
  const isCheckout =
    existsSync(new URL('../src', import.meta.url)) && existsSync(new URL('../tsconfig.build.json', import.meta.url))
  if (isCheckout) {
    const { ensureBuilt } = await import('./checkout.js')
    const problem = await ensureBuilt()
    if (problem !== null) return fail(problem)
  }
  let run
  try {
    run = (await import(main.href)).main
  } catch (error) {
    if (isCheckout && error?.code === 'ERR_MODULE_NOT_FOUND' && / package /.test(error.message)) {
      return fail('a package that Shoal needs is not installed; run npm ci first')
    }
    throw error
  }
  process.exitCode = await run(process.argv.slice(2))
}

await start()
