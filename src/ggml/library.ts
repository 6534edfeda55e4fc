import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import koffi, { type LibraryHandle } from 'koffi'
import { ShoalError } from '../errors.js'

/** The ggml that the prototypes below were read from; struct layouts and signatures may differ in another one. */
export const GGML_VERSION = '0.23.0'

export type KoffiFunction = ReturnType<LibraryHandle['func']>

/** A pointer into native memory. It stays inside src/ggml. */
export type Pointer = bigint

const PACKAGES: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
}

/** Name and C prototype of every function that is used, by the library that exports it. */
const BASE = {
  ggml_version: 'const char *ggml_version()',
  ggml_log_set: 'void ggml_log_set(void *callback, void *data)',
  ggml_free: 'void ggml_free(void *ctx)',
  ggml_tensor_overhead: 'size_t ggml_tensor_overhead()',
  ggml_graph_overhead_custom: 'size_t ggml_graph_overhead_custom(size_t size, bool grads)',
  ggml_new_tensor_4d: 'void *ggml_new_tensor_4d(void *ctx, int type, int64_t a, int64_t b, int64_t c, int64_t d)',
  ggml_new_graph_custom: 'void *ggml_new_graph_custom(void *ctx, size_t size, bool grads)',
  ggml_build_forward_expand: 'void ggml_build_forward_expand(void *graph, void *tensor)',
  ggml_graph_n_nodes: 'int ggml_graph_n_nodes(void *graph)',
  ggml_set_input: 'void ggml_set_input(void *t)',
  ggml_set_output: 'void ggml_set_output(void *t)',
  ggml_get_data: 'void *ggml_get_data(void *t)',
  ggml_nbytes: 'size_t ggml_nbytes(void *t)',
  ggml_get_rows: 'void *ggml_get_rows(void *ctx, void *a, void *b)',
  ggml_set_rows: 'void *ggml_set_rows(void *ctx, void *a, void *b, void *c)',
  ggml_mul_mat: 'void *ggml_mul_mat(void *ctx, void *a, void *b)',
  ggml_add: 'void *ggml_add(void *ctx, void *a, void *b)',
  ggml_mul: 'void *ggml_mul(void *ctx, void *a, void *b)',
  ggml_div: 'void *ggml_div(void *ctx, void *a, void *b)',
  ggml_scale_bias: 'void *ggml_scale_bias(void *ctx, void *a, float scale, float bias)',
  ggml_scale: 'void *ggml_scale(void *ctx, void *a, float scale)',
  ggml_clamp: 'void *ggml_clamp(void *ctx, void *a, float min, float max)',
  ggml_sum_rows: 'void *ggml_sum_rows(void *ctx, void *a)',
  ggml_tanh: 'void *ggml_tanh(void *ctx, void *a)',
  ggml_sigmoid: 'void *ggml_sigmoid(void *ctx, void *a)',
  ggml_sqr: 'void *ggml_sqr(void *ctx, void *a)',
  ggml_gelu: 'void *ggml_gelu(void *ctx, void *a)',
  ggml_gelu_erf: 'void *ggml_gelu_erf(void *ctx, void *a)',
  ggml_xielu: 'void *ggml_xielu(void *ctx, void *a, float alphaN, float alphaP, float beta, float eps)',
  ggml_swiglu_oai: 'void *ggml_swiglu_oai(void *ctx, void *a, void *b, float alpha, float limit)',
  ggml_argsort_top_k: 'void *ggml_argsort_top_k(void *ctx, void *a, int k)',
  ggml_mul_mat_id: 'void *ggml_mul_mat_id(void *ctx, void *a, void *b, void *ids)',
  ggml_add_id: 'void *ggml_add_id(void *ctx, void *a, void *b, void *ids)',
  ggml_soft_max_add_sinks: 'void ggml_soft_max_add_sinks(void *a, void *sinks)',
  ggml_flash_attn_ext_add_sinks: 'void ggml_flash_attn_ext_add_sinks(void *a, void *sinks)',
  ggml_geglu_split: 'void *ggml_geglu_split(void *ctx, void *a, void *b)',
  ggml_silu: 'void *ggml_silu(void *ctx, void *a)',
  ggml_cpy: 'void *ggml_cpy(void *ctx, void *a, void *b)',
  ggml_cont: 'void *ggml_cont(void *ctx, void *a)',
  ggml_norm: 'void *ggml_norm(void *ctx, void *a, float eps)',
  ggml_relu: 'void *ggml_relu(void *ctx, void *a)',
  ggml_rms_norm: 'void *ggml_rms_norm(void *ctx, void *a, float eps)',
  ggml_swiglu_split: 'void *ggml_swiglu_split(void *ctx, void *a, void *b)',
  ggml_soft_max: 'void *ggml_soft_max(void *ctx, void *a)',
  ggml_soft_max_ext: 'void *ggml_soft_max_ext(void *ctx, void *a, void *mask, float scale, float maxBias)',
  ggml_reshape_4d: 'void *ggml_reshape_4d(void *ctx, void *a, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3)',
  ggml_view_4d:
    'void *ggml_view_4d(void *ctx, void *a, int64_t ne0, int64_t ne1, int64_t ne2, int64_t ne3, size_t nb1, size_t nb2, size_t nb3, size_t offset)',
  ggml_permute: 'void *ggml_permute(void *ctx, void *a, int a0, int a1, int a2, int a3)',
  ggml_rope_ext:
    'void *ggml_rope_ext(void *ctx, void *a, void *b, void *c, int dims, int mode, int ctxOrig, float base, float scale, float ext, float attn, float fast, float slow)',
  ggml_flash_attn_ext:
    'void *ggml_flash_attn_ext(void *ctx, void *q, void *k, void *v, void *mask, float scale, float maxBias, float softcap)',
  ggml_get_type_traits: 'void *ggml_get_type_traits(int type)',
  ggml_quantize_chunk:
    'size_t ggml_quantize_chunk(int type, void *src, void *dst, int64_t start, int64_t rows, int64_t columns, void *imatrix)',
  ggml_fp32_to_fp16_row: 'void ggml_fp32_to_fp16_row(void *x, void *y, int64_t n)',
  ggml_fp32_to_bf16_row: 'void ggml_fp32_to_bf16_row(void *x, void *y, int64_t n)',
  ggml_gallocr_new: 'void *ggml_gallocr_new(void *buft)',
  ggml_gallocr_free: 'void ggml_gallocr_free(void *galloc)',
  ggml_gallocr_alloc_graph: 'bool ggml_gallocr_alloc_graph(void *galloc, void *graph)',
  ggml_gallocr_get_buffer_size: 'size_t ggml_gallocr_get_buffer_size(void *galloc, int id)',
  ggml_backend_free: 'void ggml_backend_free(void *backend)',
  ggml_backend_get_default_buffer_type: 'void *ggml_backend_get_default_buffer_type(void *backend)',
  ggml_backend_graph_compute: 'int ggml_backend_graph_compute(void *backend, void *graph)',
  ggml_backend_buffer_free: 'void ggml_backend_buffer_free(void *buffer)',
  ggml_backend_buffer_clear: 'void ggml_backend_buffer_clear(void *buffer, uint8_t value)',
  ggml_backend_buffer_is_host: 'bool ggml_backend_buffer_is_host(void *buffer)',
  ggml_backend_buffer_get_size: 'size_t ggml_backend_buffer_get_size(void *buffer)',
  ggml_backend_buffer_set_usage: 'void ggml_backend_buffer_set_usage(void *buffer, int usage)',
  ggml_backend_buft_name: 'const char *ggml_backend_buft_name(void *buft)',
  ggml_backend_alloc_ctx_tensors_from_buft: 'void *ggml_backend_alloc_ctx_tensors_from_buft(void *ctx, void *buft)',
  ggml_backend_cpu_buffer_from_ptr: 'void *ggml_backend_cpu_buffer_from_ptr(void *ptr, size_t size)',
  ggml_backend_tensor_alloc: 'int ggml_backend_tensor_alloc(void *buffer, void *tensor, void *address)',
  ggml_backend_tensor_set: 'void ggml_backend_tensor_set(void *tensor, void *data, size_t offset, size_t size)',
  ggml_backend_tensor_get: 'void ggml_backend_tensor_get(void *tensor, void *data, size_t offset, size_t size)',
  ggml_backend_dev_supports_op: 'bool ggml_backend_dev_supports_op(void *device, void *op)',
  ggml_backend_dev_backend_reg: 'void *ggml_backend_dev_backend_reg(void *device)',
  ggml_backend_dev_init: 'void *ggml_backend_dev_init(void *device, const char *params)',
  ggml_backend_dev_description: 'const char *ggml_backend_dev_description(void *device)',
  ggml_backend_reg_get_proc_address: 'void *ggml_backend_reg_get_proc_address(void *reg, const char *name)',
  ggml_threadpool_params_init: 'void ggml_threadpool_params_init(void *params, int threads)',
} as const

const REGISTRY = {
  ggml_backend_load_all_from_path: 'void ggml_backend_load_all_from_path(const char *path)',
  ggml_backend_dev_by_type: 'void *ggml_backend_dev_by_type(int type)',
} as const

export type GgmlFunctions = Readonly<Record<keyof typeof BASE | keyof typeof REGISTRY | 'ggml_init', KoffiFunction>>

/** ggml's functions in this process; loaded once. */
export interface Ggml {
  readonly functions: GgmlFunctions
  /** The CPU device. */
  readonly cpu: Pointer
}

let loaded: Ggml | null = null

/**
 * Loads ggml's shared libraries on first use.
 * @throws ShoalError `library_missing` or `library_version`
 */
export function ggml(): Ggml {
  loaded ??= loadFrom(librariesFolder())
  return loaded
}

/** The folder of a platform's libraries, from the package that npm chose for it; the parameters serve the tests. */
export function librariesFolder(
  platform = `${process.platform}-${process.arch}`,
  resolve: (name: string) => string = createRequire(import.meta.url).resolve,
): string {
  const name = PACKAGES[platform]
  if (name === undefined) throw new ShoalError('library_missing', `no ggml libraries exist for ${platform}`)
  const hint = `run "npm install @node-llama-cpp/${name}@3.21.1"`
  let entry: string
  try {
    entry = resolve(`@node-llama-cpp/${name}`)
  } catch (cause) {
    throw new ShoalError('library_missing', `package @node-llama-cpp/${name} is not installed; ${hint}`, { cause })
  }
  const folder = join(dirname(entry), '..', 'bins', name)
  if (!existsSync(folder)) throw new ShoalError('library_missing', `${folder} is missing; ${hint}`)
  return folder
}

/** Loads the libraries of one folder; exported for the tests of its refusals. */
export function loadFrom(folder: string): Ggml {
  if (!existsSync(folder)) throw new ShoalError('library_missing', `${folder} cannot be read: no such folder`)
  const base = openLibrary(folder, 'ggml-base')
  const version = String(base.func(BASE.ggml_version)())
  if (version !== GGML_VERSION) {
    throw new ShoalError(
      'library_version',
      `${folder} holds ggml ${version}, Shoal needs ${GGML_VERSION}: install @node-llama-cpp packages 3.21.1`,
    )
  }
  const registry = openLibrary(folder, 'ggml')
  const functions: Record<string, KoffiFunction> = {}
  for (const [name, prototype] of Object.entries(BASE)) functions[name] = base.func(prototype)
  for (const [name, prototype] of Object.entries(REGISTRY)) functions[name] = registry.func(prototype)
  // Nameless, so that two copies of Shoal in one process do not meet in koffi's names.
  const initParams = koffi.struct({ mem_size: 'size_t', mem_buffer: 'void *', no_alloc: 'bool' })
  functions.ggml_init = base.func('ggml_init', 'void *', [initParams])
  const f = functions as GgmlFunctions
  // ggml writes its own lines to stderr. A JavaScript callback cannot be called from its threads, so the log goes to a
  // C function that ignores its arguments and does nothing: reading a clock.
  f.ggml_log_set(base.symbol('ggml_time_us'), null)
  f.ggml_backend_load_all_from_path(folder)
  const cpu: Pointer | null = f.ggml_backend_dev_by_type(0)
  if (cpu === null) throw new ShoalError('library_missing', `${folder} has no library for this processor`)
  return { functions: f, cpu }
}

/** Opens lib`name`, whose file name may carry a version: libggml.v0.4.0.so. */
export function openLibrary(folder: string, name: string): LibraryHandle {
  const pattern = new RegExp(`^(lib)?${name}(\\.v?[0-9.]+)?\\.(so|dylib|dll)$`)
  const file = readdirSync(folder).find((f) => pattern.test(f))
  if (file === undefined) throw new ShoalError('library_missing', `${folder} has no library ${name}`)
  try {
    return koffi.load(join(folder, file))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new ShoalError('library_missing', `${join(folder, file)} cannot be loaded: ${reason}`, { cause })
  }
}
