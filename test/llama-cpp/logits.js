// Logits of every position by libllama itself, since node-llama-cpp gives none. Reads {path, inputs: [[ids]]} from stdin,
// writes {logits: [[numbers]]}, or {error} where it does not load the file. A process of its own: an assertion ends it.
import koffi from 'koffi'
import { ggml, librariesFolder, openLibrary } from '../../dist/ggml/library.js'

const CONTEXT = 128
const F32 = 0
const FLASH_ATTENTION_OFF = 0

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const { path, inputs } = JSON.parse(Buffer.concat(chunks).toString())

ggml()
const folder = librariesFolder()
const library = openLibrary(folder, 'llama')
// `struct llama_model_params`, `struct llama_context_params` and `struct llama_batch` of llama.cpp v0.4.0.
const modelParameters = koffi.struct({
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
const contextParameters = koffi.struct({
  n_ctx: 'uint32_t',
  n_batch: 'uint32_t',
  n_ubatch: 'uint32_t',
  n_seq_max: 'uint32_t',
  n_rs_seq: 'uint32_t',
  n_outputs_max: 'uint32_t',
  n_outputs_max_per_seq: 'uint32_t',
  n_threads: 'int32_t',
  n_threads_batch: 'int32_t',
  ctx_type: 'int',
  rope_scaling_type: 'int',
  pooling_type: 'int',
  attention_type: 'int',
  flash_attn_type: 'int',
  rope_freq_base: 'float',
  rope_freq_scale: 'float',
  yarn_ext_factor: 'float',
  yarn_attn_factor: 'float',
  yarn_beta_fast: 'float',
  yarn_beta_slow: 'float',
  yarn_orig_ctx: 'uint32_t',
  defrag_thold: 'float',
  cb_eval: 'void *',
  cb_eval_user_data: 'void *',
  type_k: 'int',
  type_v: 'int',
  abort_callback: 'void *',
  abort_callback_data: 'void *',
  embeddings: 'bool',
  offload_kqv: 'bool',
  no_perf: 'bool',
  op_offload: 'bool',
  swa_full: 'bool',
  kv_unified: 'bool',
  samplers: 'void *',
  n_samplers: 'size_t',
  ctx_other: 'void *',
})
const batch = koffi.struct({
  n_tokens: 'int32_t',
  token: 'int32_t *',
  embd: 'void *',
  pos: 'int32_t *',
  n_seq_id: 'int32_t *',
  seq_id: 'void *',
  logits: 'int8_t *',
})
const llama = {
  setLog: library.func('void llama_log_set(void *callback, void *data)'),
  modelDefaults: library.func('llama_model_default_params', modelParameters, []),
  contextDefaults: library.func('llama_context_default_params', contextParameters, []),
  load: library.func('llama_model_load_from_file', 'void *', ['str', modelParameters]),
  createContext: library.func('llama_init_from_model', 'void *', ['void *', contextParameters]),
  decode: library.func('llama_decode', 'int32_t', ['void *', batch]),
  logitsOf: library.func('float *llama_get_logits_ith(void *context, int32_t i)'),
  vocabularyOf: library.func('void *llama_model_get_vocab(void *model)'),
  tokensOf: library.func('int32_t llama_vocab_n_tokens(void *vocab)'),
}

const lines = []
const log = koffi.register(
  (_level, text) => lines.push(text),
  koffi.pointer(koffi.proto('void', ['int', 'str', 'void *'])),
)
llama.setLog(log, null)
const model = llama.load(path, { ...llama.modelDefaults(), n_gpu_layers: 0 })
llama.setLog(openLibrary(folder, 'ggml-base').symbol('ggml_time_us'), null)
process.stdout.write(JSON.stringify(model === null ? { error: reason() } : { logits: inputs.map(logitsOfInput) }))

/** Each in a context of its own: nothing of another is in its cache. */
function logitsOfInput(ids) {
  const context = llama.createContext(model, {
    ...llama.contextDefaults(),
    n_ctx: CONTEXT,
    n_batch: CONTEXT,
    n_ubatch: CONTEXT,
    n_seq_max: 1,
    n_threads: 1,
    n_threads_batch: 1,
    flash_attn_type: FLASH_ATTENTION_OFF,
    type_k: F32,
    type_v: F32,
    offload_kqv: false,
    op_offload: false,
  })
  if (context === null) throw new Error('libllama made no context')
  const status = llama.decode(context, {
    n_tokens: ids.length,
    token: Int32Array.from(ids),
    embd: null,
    pos: Int32Array.from(ids.keys()),
    n_seq_id: null,
    seq_id: null,
    logits: new Int8Array(ids.length).fill(1),
  })
  if (status !== 0) throw new Error(`llama_decode ended with ${status}`)
  const vocabulary = llama.tokensOf(llama.vocabularyOf(model))
  return ids.flatMap((_, i) => [...koffi.decode(llama.logitsOf(context, i), 'float', vocabulary)])
}

function reason() {
  const line = lines.find((text) => text.includes('error loading model')) ?? lines.at(-1) ?? 'no reason given'
  return line.trim().replace(/^\w+: (error loading model( \w+)?: )*/, '')
}
