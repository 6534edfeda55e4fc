import koffi from 'koffi'
import { ShoalError, UnsupportedError } from '../errors.js'
import { ggml, type KoffiFunction, librariesFolder, openLibrary, type Pointer } from './library.js'

/** What libllama says of a token (`enum llama_token_attr`). */
export const TOKEN_UNKNOWN = 1
export const TOKEN_CONTROL = 8

const LLAMA = {
  llama_log_set: 'void llama_log_set(void *callback, void *data)',
  llama_model_free: 'void llama_model_free(void *model)',
  llama_model_get_vocab: 'void *llama_model_get_vocab(void *model)',
  llama_vocab_n_tokens: 'int32_t llama_vocab_n_tokens(void *vocab)',
  llama_vocab_get_attr: 'int llama_vocab_get_attr(void *vocab, int32_t id)',
  llama_vocab_is_eog: 'bool llama_vocab_is_eog(void *vocab, int32_t id)',
  llama_vocab_get_add_bos: 'bool llama_vocab_get_add_bos(void *vocab)',
  llama_tokenize:
    'int32_t llama_tokenize(void *vocab, void *text, int32_t bytes, void *ids, int32_t most, bool addSpecial, bool parseSpecial)',
  llama_token_to_piece:
    'int32_t llama_token_to_piece(void *vocab, int32_t id, void *piece, int32_t bytes, int32_t lstrip, bool special)',
} as const

interface Llama {
  readonly functions: Readonly<Record<keyof typeof LLAMA, KoffiFunction>>
  readonly initFromBuffer: KoffiFunction
  readonly initFromUser: KoffiFunction
  readonly freeMetadata: KoffiFunction
  readonly parameters: Readonly<Record<string, unknown>>
  /** A C function that ignores its arguments and does nothing: see `loadFrom`. */
  readonly silence: unknown
}

let loaded: Llama | null = null
let lastLoad: Promise<unknown> = Promise.resolve()

/** Frees vocabularies that nobody holds any more and nobody disposed. */
const forgotten = new FinalizationRegistry<Pointer>((model) => llama().functions.llama_model_free(model))

function llama(): Llama {
  loaded ??= load()
  return loaded
}

function load(): Llama {
  ggml()
  const folder = librariesFolder()
  const base = openLibrary(folder, 'ggml-base')
  const library = openLibrary(folder, 'llama')
  const functions: Record<string, KoffiFunction> = {}
  for (const [name, prototype] of Object.entries(LLAMA)) functions[name] = library.func(prototype)
  // `struct llama_model_params` of the libllama that stands beside ggml 0.23.0.
  const parameters = koffi.struct({
    devices: 'void *',
    tensor_buft_overrides: 'void *',
    n_gpu_layers: 'int32_t',
    split_mode: 'int',
    load_mode: 'int',
    lazy_mode: 'int',
    main_gpu: 'int32_t',
    tensor_split: 'void *',
    progress_callback: 'void *',
    progress_callback_user_data: 'void *',
    kv_overrides: 'void *',
    vocab_only: 'bool',
    check_tensors: 'bool',
    use_extra_bufts: 'bool',
    no_host: 'bool',
    no_alloc: 'bool',
    load_mtp: 'bool',
  })
  const ggufParameters = koffi.struct({ no_alloc: 'bool', ctx: 'void *' })
  const defaults = library.func('llama_model_default_params', parameters, [])
  const silence = base.symbol('ggml_time_us')
  functions.llama_log_set!(silence, null)
  return {
    functions: functions as Llama['functions'],
    initFromBuffer: base.func('gguf_init_from_buffer', 'void *', ['void *', 'size_t', ggufParameters]),
    initFromUser: library.func('llama_model_init_from_user', 'void *', ['void *', 'void *', 'void *', parameters]),
    freeMetadata: base.func('void gguf_free(void *metadata)'),
    parameters: { ...(defaults() as object), vocab_only: true },
    silence,
  }
}

/**
 * libllama's vocabulary of a GGUF file. It asserts where a vocabulary is not what it expects, and then the process ends:
 * what is handed over has been checked (`vocabulary/gguf-vocabulary.ts`).
 */
export class LlamaVocabulary {
  /** Number of tokens. */
  readonly size: number
  /** Whether BOS is added to a text. */
  readonly addsBos: boolean
  private readonly model: Pointer
  private readonly vocab: Pointer
  private scratch = Buffer.alloc(256)
  private disposed = false

  private constructor(model: Pointer) {
    const { functions: f } = llama()
    this.model = model
    this.vocab = f.llama_model_get_vocab(model)
    this.size = f.llama_vocab_n_tokens(this.vocab)
    this.addsBos = f.llama_vocab_get_add_bos(this.vocab)
    forgotten.register(this, model, this)
  }

  /**
   * Loads a vocabulary off the event loop: 0.1 s for 49,000 tokens, 0.8 s for 262,000.
   * @param gguf a GGUF file without tensors that holds `general.architecture` and the keys `tokenizer.ggml.*`
   * @throws UnsupportedError with libllama's reason
   */
  static load(gguf: Uint8Array): Promise<LlamaVocabulary> {
    // One after the other: the reason of a refusal comes through a log that all share.
    const loaded = lastLoad.then(() => LlamaVocabulary.loadNow(gguf))
    lastLoad = loaded.catch(() => undefined)
    return loaded
  }

  private static async loadNow(gguf: Uint8Array): Promise<LlamaVocabulary> {
    const { initFromBuffer, initFromUser, freeMetadata, parameters } = llama()
    const metadata = await onOtherThread<Pointer | null>(initFromBuffer, gguf, gguf.length, {
      no_alloc: true,
      ctx: null,
    })
    if (metadata === null) throw new UnsupportedError('libllama cannot read this vocabulary')
    try {
      const model = await onOtherThread<Pointer | null>(initFromUser, metadata, null, null, parameters)
      if (model === null) throw new UnsupportedError(`libllama refuses this vocabulary: ${reasonOf(metadata)}`)
      return new LlamaVocabulary(model)
    } finally {
      freeMetadata(metadata)
    }
  }

  /**
   * Token ids of UTF-8 text.
   * @param addSpecial add what the vocabulary says: BOS, EOS
   * @param parseSpecial control tokens that the text spells become themselves
   */
  tokenize(text: Uint8Array, addSpecial: boolean, parseSpecial: boolean): Int32Array {
    const { llama_tokenize: tokenize } = llama().functions
    this.check()
    let ids = new Int32Array(text.length + 8)
    let count: number = tokenize(this.vocab, text, text.length, ids, ids.length, addSpecial, parseSpecial)
    if (count < 0 && count !== -(2 ** 31)) {
      ids = new Int32Array(-count)
      count = tokenize(this.vocab, text, text.length, ids, ids.length, addSpecial, parseSpecial)
    }
    if (count < 0) throw new UnsupportedError('the text is too long for libllama')
    return ids.subarray(0, count)
  }

  /** The bytes that a token stands for; a character may be spread over several tokens. */
  piece(id: number): Uint8Array {
    const { llama_token_to_piece: toPiece } = llama().functions
    this.check(id)
    let bytes: number = toPiece(this.vocab, id, this.scratch, this.scratch.length, 0, true)
    if (bytes < 0) {
      this.scratch = Buffer.alloc(-bytes)
      bytes = toPiece(this.vocab, id, this.scratch, this.scratch.length, 0, true)
    }
    return Uint8Array.prototype.slice.call(this.scratch, 0, bytes)
  }

  /** The sum of TOKEN_ flags. */
  attributes(id: number): number {
    this.check(id)
    return llama().functions.llama_vocab_get_attr(this.vocab, id)
  }

  /** True where the token ends a generation: end of text, of turn, of message. */
  isEnd(id: number): boolean {
    this.check(id)
    return llama().functions.llama_vocab_is_eog(this.vocab, id)
  }

  dispose(): void {
    if (this.disposed) return
    this.disposed = true
    forgotten.unregister(this)
    llama().functions.llama_model_free(this.model)
  }

  private check(id = 0): void {
    if (this.disposed) throw new ShoalError('disposed', 'the tokenizer was disposed')
    if (!Number.isInteger(id) || id < 0 || id >= this.size) throw new RangeError(`${id} is no token of ${this.size}`)
  }
}

/** Calls a native function on another thread. */
function onOtherThread<T>(f: KoffiFunction, ...args: unknown[]): Promise<T> {
  return new Promise((resolve, reject) => {
    f.async(...args, (error: unknown, value: T) => {
      // Until now the native side may have read the memory of an argument, so it must not be collected.
      args.length = 0
      if (error) reject(error as Error)
      else resolve(value)
    })
  })
}

/**
 * Why libllama refuses a vocabulary: it says so in its log only. A log in JavaScript cannot be called from another thread
 * while this one waits, so it is tried once more in this one, which fails as soon.
 */
function reasonOf(metadata: Pointer): string {
  const { functions: f, initFromUser, parameters, silence } = llama()
  const lines: string[] = []
  const log = koffi.register(
    (_level: number, text: string) => {
      lines.push(text)
    },
    koffi.pointer(koffi.proto('void', ['int', 'str', 'void *'])),
  )
  f.llama_log_set(log, null)
  try {
    const model: Pointer | null = initFromUser(metadata, null, null, parameters)
    if (model !== null) f.llama_model_free(model)
  } finally {
    f.llama_log_set(silence, null)
    koffi.unregister(log)
  }
  const line = lines.find((text) => text.includes('error loading model')) ?? 'without a reason'
  // What C++ says of a key that a table lacks.
  if (line.includes('::at')) return 'it lacks a token that libllama looks for'
  return line.trim().replace(/^\w+: (error loading model( \w+)?: )*/, '')
}
