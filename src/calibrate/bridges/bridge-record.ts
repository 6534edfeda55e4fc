import { rowBytes } from '../../checkpoint/tensor-type.js'
import { BRIDGE_TYPES, type BridgeMatrix } from '../../depth/bridge.js'
import { isJsonObject, type JsonObject } from '../../json.js'
import type { FittedBridge } from './fit.js'

/** A fitted bridge as a line of a journal. */
export function bridgeRecord({ bridge, ridge, unexplained }: FittedBridge): JsonObject {
  const { from, to, on, factors, bias } = bridge
  return {
    from,
    to,
    on,
    ridge,
    unexplained,
    factors: factors.map(({ type, columns, rows, data }) => ({ type, columns, rows, data: base64(data) })),
    bias: base64(new Uint8Array(bias.buffer, bias.byteOffset, bias.byteLength)),
  }
}

/** Null where a record is none of a bridge of this width. */
export function readBridgeRecord(record: JsonObject, hidden: number): FittedBridge | null {
  const { from, to, on, ridge, unexplained, factors, bias } = record
  const numbers = [from, to, ridge, unexplained ?? 0]
  if (!numbers.every((value) => typeof value === 'number') || (on !== 'hidden' && on !== 'mlp')) return null
  if (!Array.isArray(factors) || typeof bias !== 'string') return null
  const matrices = factors.map(matrixOf)
  const values = Uint8Array.from(Buffer.from(bias, 'base64'))
  if (values.length !== 4 * hidden || matrices.length < 1 || matrices.length > 2) return null
  if (matrices.some((m) => m === null)) return null
  return {
    bridge: {
      from: from as number,
      to: to as number,
      on,
      factors: matrices as BridgeMatrix[],
      bias: new Float32Array(values.buffer),
    },
    ridge: ridge as number,
    unexplained: unexplained as number | null,
  }
}

function matrixOf(value: unknown): BridgeMatrix | null {
  if (!isJsonObject(value)) return null
  const { columns, rows, data } = value
  const type = BRIDGE_TYPES.find((name) => name === value.type)
  if (type === undefined || typeof columns !== 'number' || typeof rows !== 'number' || typeof data !== 'string') {
    return null
  }
  const bytes = Uint8Array.from(Buffer.from(data, 'base64'))
  return bytes.length === rows * rowBytes(type, columns) ? { type, columns, rows, data: bytes } : null
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
