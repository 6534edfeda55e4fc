/**
 * What drafts gain on texts of a known kind: full depth and every way of drafting take turns on the same prompts, in another
 * order each round. Their time per token is held against full depth's of the same prompt and round, and the median counts.
 * What steps cost and how often drafts stand is learned in a first round that does not count. Ways with `once`, whose acceptance is of
 * interest and not their speed, take part in one round.
 */
import { existsSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { loadModel } from '../dist/index.js'
import { GEMMA3, realModel, SMOLLM2 } from '../test/real-model.mjs'
import { TEXT_KINDS } from './lossless-prompts.js'
import { writeBetweenMarks } from './marks.js'

const MODELS = {
  'ripple-8m': { label: 'ripple-8m, f32', chat: false, path: () => 'ripple-8m' },
  smollm2: { label: 'SmolLM2-135M-Instruct, q4_1', chat: true, path: () => realModel(SMOLLM2) },
  gemma3: { label: 'Gemma 3 270M, Q4_K_M', chat: false, path: () => realModel(GEMMA3) },
}
const FULL = { depth: 'full' }

/** @param {number} layers of the model @param {{lens: string | null, bridge: string | null}} files that drafts may go through */
function waysOf(layers, { lens, bridge }) {
  const exit = `exit:${Math.round(layers / 4) - 1}`
  const half = `exit:${Math.round(layers / 2) - 1}`
  const once = { once: true }
  return [
    { name: 'text', options: { depth: 'full', lossless: true } },
    { name: `text and \`${exit}\``, options: { depth: exit, lossless: true } },
    { ...once, name: `\`${exit}\`, 3 drafts`, options: drafting(exit) },
    { ...once, name: '`unified:1.5x`, 3 drafts', options: drafting('unified:1.5x,by=layers') },
    ...(lens === null
      ? []
      : [
          { name: `text and \`${half}\` through a lens`, options: { depth: `${half},lens=${lens}`, lossless: true } },
          { ...once, name: `\`${half}\` through a lens, 3 drafts`, options: drafting(`${half},lens=${lens}`) },
        ]),
    ...(bridge === null
      ? []
      : [
          { name: 'text and a bridged plan', options: { depth: `plan:${bridge}`, lossless: true } },
          { ...once, name: 'a bridged plan, 3 drafts', options: drafting(`plan:${bridge}`) },
        ]),
  ]
}

function drafting(depth) {
  return { depth, lossless: { drafts: 3 } }
}

/** The lens of a model and the bridges of a searched plan, the fastest, where the folder has them. */
function draftFiles(folder, name) {
  const first = (...names) =>
    folder === undefined ? null : (names.map((own) => join(folder, own)).find((path) => existsSync(path)) ?? null)
  return {
    lens: first(`${name}.lens.gguf`),
    bridge: first(...['2x', '1.5x', '1.25x'].map((target) => `${name}-${target}.bridge.gguf`)),
  }
}

/** @param options of the command line, all texts */
export async function texts(options) {
  const [rounds, tokens, threads] = [options.rounds, options.tokens, options.threads].map(Number)
  const reports = []
  for (const name of options.models.split(',')) {
    if (!(name in MODELS)) throw new Error(`--models has ${name}; there are ${Object.keys(MODELS).join(', ')}`)
    const { label, chat, path } = MODELS[name]
    const found = path()
    if (found === null) continue
    const report = {
      label,
      ...(await measure(found, chat, draftFiles(options.drafts, name), { rounds, tokens, threads })),
    }
    reports.push(report)
    console.log(`${table(report)}\n`)
  }
  const page = [
    `${cpus()[0]?.model ?? 'A processor'}, ${threads} threads; up to ${tokens} tokens after each of two prompts of a kind, ${rounds} rounds.`,
    ...reports.map(table),
  ].join('\n\n')
  console.log(JSON.stringify({ threads, rounds, tokens, reports }))
  if (options.doc !== undefined) writeBetweenMarks(options.doc, 'npm run bench:lossless -- --doc', page)
}

async function measure(path, chat, files, { rounds, tokens, threads }) {
  const model = await loadModel(path, { thread: false, threads, context: 1024 })
  const ways = waysOf(model.hyperparameters.layers, files)
  const rows = []
  for (const { kind, prompts, sampling } of TEXT_KINDS) {
    const samples = ways.map(() => [])
    for (let round = 0; round <= rounds; round++) {
      for (const [i, prompt] of prompts(chat).entries()) {
        const how = { ...sampling, seed: 10 * round + i, maxTokens: tokens }
        const taking = ways.filter(({ once }) => once !== true || round === 1)
        const order = [FULL, ...taking.map((way) => way.options)]
        for (let turn = 0; turn < (round + i) % order.length; turn++) order.push(order.shift())
        const results = new Map()
        for (const way of order) results.set(way, await model.generate(prompt, { ...how, ...way }).result)
        if (round === 0) continue
        const full = results.get(FULL)
        for (const way of taking) samples[ways.indexOf(way)].push(sampleOf(results.get(way.options), full))
      }
    }
    process.stderr.write(`${path}: ${kind} is measured\n`)
    rows.push({ kind, ways: samples.map((of) => summary(of, sampling.temperature === 0)) })
  }
  await model.dispose()
  return { ways: ways.map((way) => way.name), rows }
}

function sampleOf(own, full) {
  const { drafted, accepted, fromText, passes } = own.lossless
  const msPerToken = ({ tokens, timing }) => timing.decodeMs / (tokens.length - 1)
  return {
    gain: msPerToken(full) / msPerToken(own),
    tokens: own.tokens.length - 1,
    same: own.tokens.join() === full.tokens.join(),
    drafted,
    accepted,
    fromText: fromText.drafted,
    passes,
  }
}

/** @param {boolean} greedy where texts have to be equal */
function summary(samples, greedy) {
  const sum = (field) => samples.reduce((all, sample) => all + sample[field], 0)
  const gains = samples.map(({ gain }) => gain).sort((a, b) => a - b)
  const at = (share) => gains[Math.round(share * (gains.length - 1))]
  return {
    gain: at(0.5),
    quartiles: [at(0.25), at(0.75)],
    drafted: sum('drafted'),
    fromText: sum('fromText'),
    acceptance: sum('drafted') === 0 ? null : sum('accepted') / sum('drafted'),
    tokensPerPass: sum('tokens') / sum('passes'),
    ...(greedy ? { different: samples.filter(({ same }) => !same).length } : {}),
  }
}

function table({ label, ways, rows }) {
  const cell = ({ gain, acceptance, tokensPerPass }) =>
    acceptance === null
      ? `${gain.toFixed(2)}x, none`
      : `${gain.toFixed(2)}x, ${Math.round(100 * acceptance)}%, ${tokensPerPass.toFixed(1)}`
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [
    line([label, ...ways]),
    line(['---', ...ways.map(() => '---')]),
    ...rows.map((row) => line([row.kind, ...row.ways.map(cell)])),
  ].join('\n')
}
