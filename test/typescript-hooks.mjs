// Lets a test start `src` in a process of its own: Node 20 runs no TypeScript by itself.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export async function resolve(specifier, context, next) {
  // Where a thread or a process begins.
  if (specifier.startsWith('file:') && specifier.includes('/src/') && !existsSync(fileURLToPath(specifier))) {
    return next(specifier.replace(/\.js$/, '.ts'), context)
  }
  if (!specifier.startsWith('.') || !specifier.endsWith('.js') || !context.parentURL?.endsWith('.ts')) {
    return next(specifier, context)
  }
  return next(specifier.replace(/\.js$/, '.ts'), context)
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context)
  const text = await readFile(new URL(url), 'utf8')
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: true },
  })
  return { format: 'module', source: outputText, shortCircuit: true }
}
