import { createRandomStream } from '../src/engine/schedule/random-stream.js'
import type { ChatSession, GenerateOptions, Model } from '../src/index.js'

/** What random programs of calls gave beside what each gives alone. */
export interface ProgramsResult {
  readonly programs: number
  readonly tokens: number
  readonly aborted: number
  /** Tokens of prompts that were not computed again. */
  readonly reused: number
  /** First differences between two tokens that full depth's logits hold to be as good as each other. */
  readonly ties: readonly string[]
  readonly wrong: readonly string[]
}

export interface ProgramsOptions {
  readonly count: number
  readonly seed: number
  /** Logits that are so near to each other may change places. */
  readonly tie: number
  readonly onWave?: (done: number) => void
}

const BEGINNINGS = [
  'Once upon a time there was a little fox who lived in the forest. Every morning she went down to the river to drink,',
  'The old heron stood by the water and thought about the winter that was coming. He had seen many of them, and yet',
  'One day a boy found a small red boat on the beach. It had no sail and no name, but he',
]
/** Longer than a slot at first is. */
const LONG = `${BEGINNINGS.join(' ')} `.repeat(5)
const ENDINGS = [' and then', ' but nobody', ' the sea', ' she said', ' in the evening the', ' a dog', '']
const DEPTHS = [
  'full',
  'full',
  'layers:0,1,3,5,9,12,15,prompt=plan',
  'exit:5',
  'gap:0.6',
  'unified:2x,by=layers',
  'layers:0,1,2,5,9,12,15',
  'entropy:0.3',
]
const MESSAGES = ['Who lives in the forest?', 'And then?', 'Tell me about the sea.', 'Why?']
/** Programs that run at once at most. */
const WAVE = 10

/**
 * Runs random calls (generations of all depths, greedy and sampled, lossless, beams, chats, traces), many at once and some of them
 * aborted, on one model, and each of them alone on another one that keeps nothing.
 */
export async function runPrograms(tested: Model, alone: Model, options: ProgramsOptions): Promise<ProgramsResult> {
  const random = createRandomStream(options.seed)
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)] as T
  const upTo = (most: number): number => 1 + Math.floor(random() * most)
  const sums = { programs: 0, tokens: 0, aborted: 0, reused: 0, ties: [] as string[], wrong: [] as string[] }
  const chats = new Map<number, ChatSession>()

  const encode = (text: string): number[] => alone.tokenizer?.encode(text) ?? []
  /** Of tokens that were drawn, either may come of two neighbours where the number stands at their border. */
  const differs = async (
    name: string,
    prompt: readonly number[],
    got: readonly number[],
    expected: readonly number[],
    { drawn = false, isWhole = true } = {},
  ) => {
    const at = got.findIndex((id, i) => id !== expected[i])
    if (at < 0) {
      if (isWhole && got.length !== expected.length)
        sums.wrong.push(`${name}: ${got.length} of ${expected.length} tokens`)
      return
    }
    const { logits } = await alone.trace([...prompt, ...expected.slice(0, at)])
    const last = logits.subarray(logits.length - alone.hyperparameters.vocabulary)
    const apart = Math.abs((last[got[at] as number] ?? Number.NaN) - (last[expected[at] as number] ?? Number.NaN))
    const line = `${name}: token ${at}, ${got[at]} for ${expected[at]}, logits ${apart} apart`
    const neighbours = Math.abs((got[at] as number) - (expected[at] as number)) === 1
    ;(apart < options.tie || (drawn && neighbours) ? sums.ties : sums.wrong).push(line)
  }

  /** A call that is made now; what it gives is looked at when the wave is over. */
  type Program = () => () => Promise<void>

  const generation = (): Program => {
    const prompt = encode((random() < 0.05 ? LONG : pick(BEGINNINGS)) + pick(ENDINGS))
    const lossless = random() < 0.2
    const own: GenerateOptions = {
      depth: pick(DEPTHS),
      maxTokens: upTo(40),
      ...(lossless ? { lossless: { drafts: upTo(5) } } : {}),
      ...(random() < 0.3 ? { temperature: 0.8, seed: upTo(1000) } : {}),
    }
    const stopAt = random() < 0.2 ? upTo(20) : null
    return () => {
      const controller = new AbortController()
      const running = tested.generate(prompt, { ...own, signal: controller.signal })
      const seen = (async () => {
        let count = 0
        for await (const _ of running) if (++count === stopAt) controller.abort()
      })().catch(() => undefined)
      return async () => {
        await seen
        const outcome = await running.result.catch((error: unknown) => error)
        const isAborted = outcome instanceof Error
        if (isAborted && !(stopAt !== null && (outcome as { code?: string }).code === 'aborted')) throw outcome
        const got = running.partial()
        if (isAborted) sums.aborted++
        sums.tokens += got.tokens.length
        sums.reused += got.reusedTokens
        // Drafts of a sampled text take numbers of their own from the stream.
        if (lossless && own.temperature !== undefined) return
        const expected = await alone.generate(prompt, { ...own, ...(lossless && { depth: 'full', lossless: false }) })
          .result
        const name = `generate ${JSON.stringify(own)}`
        await differs(name, prompt, got.tokens, expected.tokens, {
          drawn: own.temperature !== undefined,
          isWhole: !isAborted,
        })
      }
    }
  }
  const beams = (): Program => {
    const prompt = encode(pick(BEGINNINGS))
    const own = { beams: 2 + Math.floor(random() * 2), maxTokens: upTo(6), depth: pick(['full', 'exit:5']) }
    return () => {
      const running = tested.beamSearch(prompt, own)
      return async () => {
        const expected = await alone.beamSearch(prompt, own)
        await differs(`beams ${JSON.stringify(own)}`, prompt, (await running).tokens, expected.tokens)
        sums.tokens += expected.tokens.length
      }
    }
  }
  const chat = (index: number): Program => {
    const message = pick(MESSAGES)
    const isNew = random() < 0.3
    return () => {
      if (isNew) {
        chats.get(index)?.dispose()
        chats.delete(index)
      }
      const session = chats.get(index) ?? tested.chat({ maxTokens: 12 })
      chats.set(index, session)
      const before = [...session.messages]
      const running = session.send(message)
      return async () => {
        const got = await running.result
        const asked = [...before, { role: 'user', content: message }]
        const stop = tested.settings.chatStop ?? []
        const expected = await alone.generate(asked, { maxTokens: 12, stop }).result
        await differs('chat', got.promptTokens, got.tokens, expected.tokens)
        sums.tokens += got.tokens.length
        sums.reused += got.reusedTokens
      }
    }
  }
  const trace = (): Program => {
    const ids = encode(pick(BEGINNINGS)).slice(0, upTo(20))
    return () => {
      const running = tested.trace(ids)
      return async () => {
        const expected = await alone.trace(ids)
        const got = await running
        const worst = got.logits.reduce(
          (most, value, i) => Math.max(most, Math.abs(value - (expected.logits[i] ?? 0))),
          0,
        )
        if (!(worst < options.tie)) sums.wrong.push(`trace: logits ${worst} apart`)
      }
    }
  }

  while (sums.programs < options.count) {
    const wave: Program[] = Array.from({ length: Math.min(upTo(WAVE), options.count - sums.programs) }, (_, i) => {
      const kind = random()
      if (kind < 0.7) return generation()
      if (kind < 0.8) return beams()
      // A chat answers one message at a time.
      return kind < 0.92 && i < 3 ? chat(i) : trace()
    })
    const looks: (() => Promise<void>)[] = []
    for (const begin of wave) {
      looks.push(begin())
      if (random() < 0.5) await new Promise((resolve) => setTimeout(resolve, upTo(10)))
    }
    for (const look of looks) await look()
    sums.programs += wave.length
    options.onWave?.(sums.programs)
  }
  for (const session of chats.values()) session.dispose()
  return sums
}
