import koffi, { type TypeObject } from 'koffi'
import { ShoalError } from '../errors.js'
import { ggml, type Pointer } from './library.js'

/** Address of a function that the device's own library gives out by name. */
export function procAddress(device: Pointer, name: string): Pointer {
  const { functions: f } = ggml()
  const address: Pointer | null = f.ggml_backend_reg_get_proc_address(f.ggml_backend_dev_backend_reg(device), name)
  if (address === null) throw new ShoalError('library_version', `ggml's CPU library has no ${name}`)
  return address
}

/** A nameless prototype for `koffi.call`: `void * (void *device)`. */
export function prototype(definition: string): TypeObject {
  const [result = '', rest = ''] = definition.split(' (')
  const argumentTypes = rest
    .slice(0, -1)
    .split(', ')
    .map((a) => a.replace(/\w+$/, '').trim())
  return koffi.proto(result.trim(), argumentTypes)
}
